"""YAML that is hard to read: a flaw with its place, on one line that a terminal can show, and nothing thrown."""

from pathlib import Path

import pytest

from shopset.directory.documents import read_documents
from shopset.directory.fleets import read_fleet

TIER = "apiVersion: shopset.dev/v1alpha1\nkind: Tier\nmetadata:\n  name: qa\nspec:\n  level: 7\n"


@pytest.mark.parametrize(
    ("scalar", "words"),
    [
        ("!!bool abc", '"abc" cannot be read as "!!bool"'),
        ('!!int ""', '"" cannot be read as "!!int"'),
        ("!!python/name:os.system x", '"x" cannot be read as "!!python/name:os.system"'),
        ("!mine x", '"x" cannot be read as "!mine"'),
        ("9" * 5000, f'"{"9" * 60}…" cannot be read as "!!int"'),
        ("0x" + "f" * 6000, f'"0x{"f" * 58}…" cannot be read as "!!int"'),
        ("18446744073709551616", '"18446744073709551616" cannot be read as "!!int"'),
    ],
)
def test_a_scalar_that_is_not_what_it_says_is_a_flaw_at_its_place(tmp_path: Path, scalar: str, words: str) -> None:
    (tmp_path / "x.yaml").write_text(f"a: {scalar}\n")
    documents, flaw, _ = read_documents(tmp_path / "x.yaml")
    assert not documents
    assert flaw is not None
    assert (flaw.message, flaw.span.line, flaw.span.column) == (words, 1, 4)


@pytest.mark.parametrize("field", ["kind", "apiVersion", "level", "name"])
def test_a_number_of_any_length_is_told_wherever_it_stands(tmp_path: Path, field: str) -> None:
    lines = [f"{line.partition(':')[0]}: 0x{'f' * 6000}" if f"{field}:" in line else line for line in TIER.splitlines()]
    (tmp_path / "x.yaml").write_text("\n".join(lines))
    (found,) = [each for each in read_fleet(tmp_path).diagnostics if each.file == "x.yaml"]
    assert "cannot be read" in found.message
    assert len(found.message) < 100


@pytest.mark.parametrize("more", ['  "a\\nb\\e[31m": 1\n', '  "a\\nb\\e[31m": 1\n  "a\\nb\\e[31m": 2\n'])
def test_a_key_cannot_write_to_the_terminal(tmp_path: Path, more: str) -> None:
    (tmp_path / "x.yaml").write_text(TIER + more)
    (found,) = [each for each in read_fleet(tmp_path).diagnostics if each.file == "x.yaml"]
    assert found.field.isprintable()
    assert all(line.isprintable() for line in found.render().splitlines())
    assert '"a\\nb\\u001b[31m"' in found.render()


@pytest.mark.parametrize("name", [b"a\x1b[31m\n.yaml", b"\xff.yaml"])
def test_a_file_name_cannot_write_to_the_terminal(tmp_path: Path, name: bytes) -> None:
    (tmp_path / name.decode("utf-8", "surrogateescape")).write_text("a: [1\n")
    told = [found.render() for found in read_fleet(tmp_path).diagnostics]
    assert all(line.isprintable() for text in told for line in text.splitlines())
    assert any("no YAML" in text for text in told)
    assert "\n".join(told).encode()


def test_the_names_of_python_are_no_names_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"{TIER}  promotion:\n    failure_grace: 1m\n")
    (found,) = [each for each in read_fleet(tmp_path).diagnostics if each.file == "x.yaml"]
    assert (found.field, found.advice) == ("spec.promotion.failure_grace", "did you mean failureGrace?")
