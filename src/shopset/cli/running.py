"""Running a verb: its implementation is imported only now, and its errors become messages and exit codes."""

import gc
import importlib
import sys
import traceback
from typing import Any, NoReturn

from shopset.cli import exits
from shopset.cli.settings import Settings


class Ended(SystemExit):
    """A verb ended with its exit code; any other exit is about the words of the command."""


def run(settings: Settings, module: str, function: str, **options: Any) -> NoReturn:
    """Call `shopset.cli.<module>.<function>(settings, **options)` and exit with its code."""
    try:
        verb = getattr(importlib.import_module(f"shopset.cli.{module}"), function)
        _collect_garbage()
        code = verb(settings, **options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: what was done is done; the same command goes on from here\n")
        code = exits.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        code = exits.OK
    except Exception as error:  # noqa: BLE001  # the boundary: nothing may reach a person as a traceback
        code = _explain(error, settings)
    raise Ended(code)


def _collect_garbage() -> None:
    """Let garbage be collected from now on, if `main` began without, but never be looked for among what was imported."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _explain(error: Exception, settings: Settings) -> int:
    from shopset.cli import failures  # noqa: PLC0415  # only a failing run pays for knowing every error

    if settings.environment.get("SHOPSET_DEBUG"):
        traceback.print_exception(error)
    return failures.explain(error)
