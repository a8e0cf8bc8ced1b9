"""The Kubernetes version that a directory cluster says it has."""

from datetime import UTC, datetime
from pathlib import Path

from shopset.directory.clusters import DirectoryClusters


def clusters(folder: Path, *names: str) -> DirectoryClusters:
    return DirectoryClusters(folder, names, lambda _: ("", ""), lambda: datetime(2026, 11, 23, tzinfo=UTC), {})


def test_the_version_is_what_the_file_says(tmp_path: Path) -> None:
    for name, text in (("a", "v1.36.2\n"), ("b", "  v1.37.0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "VERSION").write_text(text)
    found = clusters(tmp_path, "a", "b", "c")
    assert found.versions(["a", "b", "c"]) == {"a": "v1.36.2", "b": "v1.37.0"}
    assert found.versions(["b"]) == {"b": "v1.37.0"}
    (tmp_path / "a" / "VERSION").write_text("v1.37.0\n")
    assert found.versions(["a"]) == {"a": "v1.37.0"}


def test_a_cluster_that_does_not_answer_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "VERSION").write_text("v1.36.2\n")
    (tmp_path / "a" / "LOST").touch()
    found = clusters(tmp_path, "a")
    assert found.versions(["a"]) == {}
    (tmp_path / "a" / "LOST").unlink()
    assert found.versions(["a"]) == {"a": "v1.36.2"}


def test_a_version_that_is_no_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "a" / "VERSION").mkdir(parents=True)
    assert clusters(tmp_path, "a").versions(["a"]) == {}
