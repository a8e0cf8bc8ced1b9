"""Options and helpers that several families of verbs share."""

from typing import Annotated, Any

import typer

from shopset.cli.settings import Settings


def example(*lines: str) -> str:
    """Return the epilog of a verb's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _one_of(*forms: str) -> Any:
    """Return the option of the forms of output that a verb has: what it would not heed is refused."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in forms:
            raise typer.BadParameter(f"it is one of {', '.join(forms)}")
        return value

    told = f"{', '.join(forms[:-1])} or {forms[-1]}."
    return typer.Option("--output", "-o", callback=check, help=told, metavar="FORM")


OutputOption = Annotated[str, _one_of("table", "wide", "json", "yaml", "name")]
DataOption = Annotated[str, _one_of("table", "json", "yaml")]
"""Of verbs whose answer is no list of objects."""
ChangesOption = Annotated[str, _one_of("table", "name")]
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
