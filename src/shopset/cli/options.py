"""Options and helpers that several families of verbs share."""

from typing import Annotated

import typer

from shopset.cli.settings import Settings


def example(*lines: str) -> str:
    """Return the epilog of a verb's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


_OUTPUTS = ("table", "wide", "json", "yaml", "name")


def _output(value: str | None) -> str | None:
    if value is not None and value not in _OUTPUTS:
        raise typer.BadParameter(f"it is one of {', '.join(_OUTPUTS)}")
    return value


OutputOption = Annotated[
    str, typer.Option("--output", "-o", callback=_output, help="table, wide, json, yaml or name.", metavar="FORM")
]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; it goes to the ledger.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and the commands, and do nothing.")]


def form(output: str) -> object:
    """Return the form of output that an option names."""
    from shopset.cli.printing import Output  # noqa: PLC0415  # --help must not pay for YAML

    return Output(output)


def settings_of(context: typer.Context) -> Settings:
    """Return what the global options say."""
    found: Settings = context.obj
    return found
