"""docs/cli.md, from the verbs themselves."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from shopset.cli import exits
from shopset.cli.app import app


def reference() -> str:
    """Return the reference of all verbs and exit codes as Markdown."""
    parts = ["# shopctl", "", "Generated from the code by `scripts/generate`. Global options may stand anywhere.", ""]
    command: Any = get_command(app)
    context = typer.Context(command, info_name="shopctl", terminal_width=100, max_content_width=100)
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
    for name, verb, inner in _verbs(command, context):
        parts += ["", f"## {name}", "", "```", verb.get_help(inner), "```"]
    return "\n".join(parts) + "\n"


def _without_codes(text: str) -> str:
    return text.partition("  Exit codes:")[0].rstrip()


def _verbs(command: Any, context: typer.Context) -> Iterator[tuple[str, Any, typer.Context]]:
    for name, verb in sorted(command.commands.items()):
        inner = typer.Context(verb, parent=context, info_name=name, terminal_width=100, max_content_width=100)
        path = f"{context.command_path} {name}"
        if hasattr(verb, "commands"):
            yield from _verbs(verb, inner)
        else:
            yield path, verb, inner
