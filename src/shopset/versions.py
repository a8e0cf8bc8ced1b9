"""The version, as each command of shopset shows it."""

from typing import Any

import typer

from shopset import __version__


def show_version(program: str) -> None:
    """Write the version."""
    typer.echo(f"{program} {__version__}")


def version_option(program: str) -> Any:
    """Return the option --version."""

    def show(wanted: bool) -> None:  # the shape that typer calls
        if wanted:
            show_version(program)
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Show the version.")
