"""Applications as they were applied."""

from pathlib import Path

import pytest

from shopset.core.release.revisions import blob_id
from shopset.directory.applications import Application, read_applications

TEXT = """\
metadata: {name: shop-a-1, labels: {shopset.dev/shopset: a-1}}
spec:
  source: {repoURL: /git/system.git, targetRevision: tier-0, path: overlays/a-1}
  destination: {namespace: shopset-a-1}
"""


def test_an_application_is_read_with_the_id_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "shop-a-1.yaml").write_text(TEXT)
    (found,) = read_applications(tmp_path)
    names = ("shop-a-1", "a-1", "/git/system.git", "tier-0", "overlays/a-1", "shopset-a-1")
    assert found == Application(*names, manifest=blob_id(TEXT.encode()))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"when: 2026-99-99",
        TEXT[:80].encode(),
        TEXT.replace("tier-0", "0").encode(),
        TEXT.replace("name: shop-a-1", "name: ../x").encode(),
        TEXT.replace("spec:", "spec: null\nother:").encode(),
    ],
)
def test_what_is_no_application_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shop-a-1.yaml").write_bytes(content)
    (tmp_path / "shop-a-2.yaml").write_text(TEXT.replace("shop-a-1", "shop-a-2"))
    (tmp_path / ".half").write_text(TEXT)
    assert [found.name for found in read_applications(tmp_path)] == ["shop-a-2"]


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert list(read_applications(tmp_path / "none")) == []
