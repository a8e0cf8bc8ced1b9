"""shopctl in the test's own process, as a person meets it."""

from pathlib import Path
from typing import Final, NamedTuple

import pytest

from shopset.cli import main
from support.worlds import ENVIRONMENT

YAMADA: Final = "Yamada <yamada@example.com>"


class Said(NamedTuple):
    """What it ended with, and what it wrote."""

    code: int
    out: str
    err: str


def run(capfd: pytest.CaptureFixture[str], *words: str) -> Said:
    """Run shopctl, which never shows a traceback."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = Said(int(ended.value.code or 0), *capfd.readouterr())
    assert "Traceback" not in said.out + said.err
    return said


def settle_in(monkeypatch: pytest.MonkeyPatch, fleet: Path, cache: Path) -> None:
    """Let the environment be that of a developer with a fleet."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SHOPSET_FLEET", str(fleet))
    monkeypatch.setenv("SHOPSET_CACHE", str(cache))
