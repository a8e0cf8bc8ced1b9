"""The three repositories that most tests of `gitops` begin with."""

from pathlib import Path

import pytest

from support.git import make_bare


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """Return a folder with the three repositories, empty."""
    make_bare(tmp_path)
    return tmp_path
