"""Runbooks: what they tell people to type is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from shopset.cli.app import app as shopctl
from shopset.edge_agent.app import app as shopset_edge

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *sorted((ROOT / "docs" / "runbooks").glob("edge-*.md")),
    *(ROOT / "docs" / f"edge-{name}.md" for name in ("observability", "installation")),
]
PROGRAMS: dict[str, Any] = {
    "shopctl": typer.main.get_command(shopctl),
    "shopset-edge": typer.main.get_command(shopset_edge),
}


def commands(text: str) -> Iterator[str]:
    """Yield the commands of code blocks and of words in code."""
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            yield from line.removeprefix("$ ").split("#")[0].split(";")
    yield from re.findall(r"`((?:shopctl|shopset-edge) [^`]+)`", text)


def missing(command: str) -> str:
    """Return what is not there of a command of ours; nothing where all is."""
    if command.partition(" ")[0] not in PROGRAMS:
        return ""
    words = shlex.split(command.partition(" | ")[0])
    found = PROGRAMS[words[0]]
    rest = words[1:]
    while hasattr(found, "commands"):
        if not rest:
            return ""
        if rest[0] not in found.commands:
            return f"{words[0]} has no command {rest[0]}"
        found, rest = found.commands[rest[0]], rest[1:]
    known = {option for each in found.params for option in (*each.opts, *each.secondary_opts)}
    return ", ".join(word for word in rest if word.startswith("-") and word.split("=")[0] not in known)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_commands_and_their_options_are_there(path: Path) -> None:
    assert [found for each in commands(path.read_text()) if (found := missing(each.strip()))] == []


def test_what_is_not_there_is_noticed() -> None:
    assert missing("shopctl no-such-thing") == "shopctl has no command no-such-thing"
    assert missing("shopset-edge accept --state X --force COMMIT") == "--force"
    assert missing("shopctl shop where hoge") == ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_links_lead_to_files(path: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / link).exists(), link
