"""docs/cli.md, from the verbs themselves."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from shopset.cli import exits
from shopset.cli.app import app

_WIDTH = 100


def reference() -> str:
    """Return the reference of all verbs and exit codes as Markdown."""
    command, context = _root()
    parts = ["# shopctl", "", "Generated from the code by `scripts/generate`. Global options may stand anywhere.", ""]
    parts += [
        "```",
        _without_codes(command.get_help(context)),
        "```",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
    ]
    parts += [f"| {code} | {meaning} |" for code, meaning in exits.MEANINGS.items()]
    for path, text in verbs():
        parts += ["", f"## {path}", "", "```", text, "```"]
    return "\n".join(parts) + "\n"


def verbs() -> Iterator[tuple[str, str]]:
    """Yield each verb with its help: `("shopctl release diff", "Usage: ...")`."""
    yield from _below(*_root())


def _root() -> tuple[Any, typer.Context]:
    command: Any = get_command(app)
    return command, typer.Context(command, info_name="shopctl", terminal_width=_WIDTH, max_content_width=_WIDTH)


def _without_codes(text: str) -> str:
    return text.partition("  Exit codes:")[0].rstrip()


def _below(command: Any, context: typer.Context) -> Iterator[tuple[str, str]]:
    for name, verb in sorted(command.commands.items()):
        inner = typer.Context(verb, parent=context, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH)
        if hasattr(verb, "commands"):
            yield from _below(verb, inner)
        else:
            yield inner.command_path, verb.get_help(inner)
