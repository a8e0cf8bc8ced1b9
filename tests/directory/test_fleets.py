"""Bad input in a fleet's folder: refused with file, line, column, field and advice; nothing else is thrown."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.cli.scaffolding import Layout
from shopset.directory.documents import read_documents
from shopset.directory.fleets import read_fleet
from support.worlds import COPIES, TIERS

TIER = "apiVersion: shopset.dev/v1alpha1\nkind: Tier\nmetadata:\n  name: qa\nspec:\n  level: 7\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    layout = Layout(
        parent="/srv/git",
        clusters="../clusters",
        tiers=TIERS,
        configurations=("staging", "production"),
        copies=COPIES,
        topology={name: {} for name in ("a", "b", "c")},
    )
    for name, content in layout.files().items():
        (tmp_path / name).write_text(content.replace("topology:\n", "topology: {}\n"))
    return tmp_path


def test_a_good_folder_is_read(folder: Path) -> None:
    reading = read_fleet(folder)
    assert reading.diagnostics == ()
    assert reading.fleet is not None
    assert sorted(reading.fleet.shopsets) == ["a-1", "b-1", "b-2", "c-1"]


def test_json_lists_and_several_documents_are_read(folder: Path) -> None:
    domain = {
        "apiVersion": "shopset.dev/v1alpha1",
        "kind": "FailureDomain",
        "metadata": {"name": "r"},
        "spec": {"topologyKey": "r"},
    }
    (folder / "more.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [domain]}))
    (folder / "sub").mkdir()
    (folder / "sub" / "x.yml").write_text(f"---\n# nothing\n---\n{TIER}---\n")
    reading = read_fleet(folder)
    assert reading.diagnostics == ()
    assert reading.fleet is not None
    assert "r" in reading.fleet.failure_domains


@pytest.mark.parametrize(
    ("text", "place", "field", "words"),
    [
        ("a: [1\n", (2, 1), "", "no YAML"),
        ("\tkey: x\n", (1, 1), "", "no YAML"),
        (TIER.replace("level: 7", "level: 7\n  level: 8"), (7, 3), "", "twice"),
        (TIER.replace("level: 7", "level: 7\n  leve: 7"), (7, 3), "spec.leve", "no such field"),
        (TIER.replace("level: 7", "level: seven"), (6, 10), "spec.level", "not a whole number"),
        (TIER.replace("level: 7", 'level: "7"'), (6, 10), "spec.level", "not a whole number"),
        (TIER.replace("  level: 7", "  {}"), (6, 3), "spec.level", "is missing"),
        (TIER.replace("spec:\n  level: 7\n", "spec: 7\n"), (5, 7), "spec", "not an object"),
        (TIER.replace("name: qa", "name: ../x"), (4, 9), "metadata.name", "not a name"),
        (TIER.replace("name: qa", f"name: {'x' * 300}"), (4, 9), "metadata.name", "300 characters"),
        (TIER.replace("name: qa", "name: ショップ"), (4, 9), "metadata.name", "not a name"),
        (TIER.replace("kind: Tier", "kind: Teir"), (2, 7), "kind", "no kind"),
        (TIER.replace("shopset.dev/v1alpha1", "apps/v1"), (1, 13), "apiVersion", "not shopset.dev/v1alpha1"),
        (TIER.replace("level: 7", "level: 1"), (6, 10), "spec.level", "taken by the tier beta"),
        (TIER + "  promotion:\n    bake: 30 min\n", (8, 11), "spec.promotion.bake", "not a duration"),
        (TIER + "  promotion:\n    mode: Auto\n", (8, 11), "spec.promotion.mode", '"Auto" is not one'),
        (TIER.replace("level: 7", "level: 700"), (6, 10), "spec.level", "700 is more than 99"),
        (TIER.replace("name: qa", "name: qa\n  labels: {'a b': x}"), (5, 12), "metadata.labels.a b", "key of a label"),
        ("- 1\n- 2\n", (1, 1), "", "no object"),
        ("just words\n", (1, 1), "", "no object"),
        ("? [a, b]\n: c\n", (1, 3), "", "no plain word"),
        (
            "a: &a [x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
            + "".join(
                f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("bcdefgh", "cdefghi", strict=True)
            ),
            None,
            "",
            "unfolds",
        ),
    ],
)
def test_each_error_is_at_its_place(
    folder: Path, text: str, place: tuple[int, int] | None, field: str, words: str
) -> None:
    (folder / "bad.yaml").write_text(text)
    reading = read_fleet(folder)
    assert reading.fleet is None
    (found,) = [each for each in reading.diagnostics if each.file == "bad.yaml"]
    assert words in found.message
    assert found.field == field
    assert place is None or (found.span.line, found.span.column) == place
    assert found.advice
    assert found.render().startswith(f"bad.yaml:{found.span.line}:{found.span.column}: ")


def test_the_place_is_underlined_as_a_compiler_does(folder: Path) -> None:
    (folder / "bad.yaml").write_text(TIER + "  promotion:\n    bake: 30 min\n")
    (found,) = read_fleet(folder).diagnostics
    assert found.render() == (
        'bad.yaml:8:11: spec.promotion.bake: "30 min" is not a duration\n'
        "    8 |     bake: 30 min\n"
        "      |           ^^^^^^ write a number and a unit, as in 30m, 1h30m"
    )


@pytest.mark.parametrize(
    ("content", "words"), [(b"a: \xff\xfe\n", "UTF-8"), (b"a: \x00\n", "no YAML"), (b"x" * (5 << 20), "larger than")]
)
def test_what_is_no_text_is_told(folder: Path, content: bytes, words: str) -> None:
    (folder / "bad.yaml").write_bytes(content)
    (found,) = read_fleet(folder).diagnostics
    assert words in found.message


def test_a_dangling_link_is_told(folder: Path) -> None:
    (folder / "bad.yaml").symlink_to(folder / "nowhere.yaml")
    (found,) = read_fleet(folder).diagnostics
    assert "cannot be read" in found.message


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "bad.yaml")
    (found,) = read_fleet(folder).diagnostics
    assert "no plain file" in found.message


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_cannot_be_listed_makes_no_fleet(folder: Path) -> None:
    for parent in (folder, *folder.parents):
        if parent.stat().st_mode & 0o055 == 0:
            parent.chmod(0o755)
    (folder / "sub").mkdir(mode=0o700)
    assert read_fleet(folder).fleet is not None  # which also imports what a child may not be allowed to read
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.setuid(65534)
            reading = read_fleet(folder)
            told = [found.message for found in reading.diagnostics if found.file == "sub"]
            code = 0 if reading.fleet is None and "cannot be read" in "".join(told) else 1
        finally:
            # Whatever happens, the child must not go on with the tests.
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_fleet_that_cannot_be_reached_is_told(folder: Path) -> None:
    assert read_fleet(folder).fleet is not None  # which also imports what a child may not be allowed to read
    hidden = folder / "hidden" / "fleet"
    hidden.mkdir(parents=True)
    hidden.parent.chmod(0o700)
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.setuid(65534)
            told = [found.message for found in read_fleet(hidden).diagnostics]
            code = 0 if "cannot be read: Permission denied" in "".join(told) else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_link_to_a_folder_makes_no_fleet(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "more").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    reading = read_fleet(folder)
    (found,) = reading.diagnostics
    assert (reading.fleet, found.file) == (None, "more")
    assert "not followed" in found.message


def test_the_folder_of_the_directory_clusters_and_dot_folders_are_skipped(folder: Path) -> None:
    platform = (folder / "platform.yaml").read_text()
    (folder / "platform.yaml").write_text(platform.replace("path: ../clusters", "path: clusters"))
    for name in ("clusters/a", ".git"):
        (folder / name).mkdir(parents=True)
        (folder / name / "x.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\n")
    reading = read_fleet(folder)
    assert reading.diagnostics == ()
    assert reading.fleet is not None


def test_many_small_bombs_in_one_file_are_bounded_together(folder: Path) -> None:
    bomb = f"a: &a [x]\nb: &b [{', '.join(['*a'] * 300)}]\nc: [{', '.join(['*b'] * 300)}]\n"
    (folder / "bad.yaml").write_text("---\n".join([bomb] * 100))
    assert "unfolds" in read_fleet(folder).diagnostics[-1].message


def test_what_follows_from_a_refused_resource_is_no_news(folder: Path) -> None:
    text = (folder / "tiers.yaml").read_text()
    (folder / "tiers.yaml").write_text(text.replace("name: dev\nspec:\n", "name: dev\nspec:\n  colour: red\n"))
    (found,) = read_fleet(folder).diagnostics
    assert found.field == "spec.colour"


def test_a_long_or_wide_line_is_cut_and_underlined_in_place(folder: Path) -> None:
    blob = json.dumps({"apiVersion": "shopset.dev/v1alpha1", "kind": "Tier", "x" * 500: 1, "metadata": {"name": "ー"}})
    (folder / "bad.json").write_text(blob.encode().decode("unicode_escape"))
    found = next(each for each in read_fleet(folder).diagnostics if each.field == "metadata.name")
    _, line, marks = found.render().splitlines()
    assert len(line) < 180
    assert '{"name": "ー"}' in line
    assert "^^^^ use" in marks  # two quotes, and two columns of the one wide character


def test_an_empty_folder_and_none_at_all_say_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert any("shopctl init" in found.advice for found in read_fleet(folder).diagnostics)


def test_a_credential_never_shows(folder: Path) -> None:
    text = (
        (folder / "platform.yaml")
        .read_text()
        .replace("/srv/git/shopset-system.git", "https://me:hunter2@git.example.com/x.git")
    )
    (folder / "platform.yaml").write_text(text)
    told = "\n".join(found.render() for found in read_fleet(folder).diagnostics)
    assert "hunter2" not in told
    assert "credential" in told


@given(st.binary(max_size=300) | st.text("abc:-[]{}&*!|>'\"%@`#?,\n \t0.~<=", max_size=120).map(str.encode))
def test_no_file_makes_the_reader_fail(content: bytes) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"shopset-fuzz-{os.getpid()}.yaml"  # noqa: S108
    path.write_bytes(content)
    try:
        documents, flaw, _ = read_documents(path)
    finally:
        path.unlink()
    assert flaw is None or flaw.advice
    assert all(document.place(("spec", "x")) for document in documents)
