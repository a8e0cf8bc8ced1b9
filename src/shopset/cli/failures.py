"""What each error means to a person, and its exit code."""

import sys

from shopset.cli import exits
from shopset.cli.kinds import UnknownKindError
from shopset.cli.unseen import UnseenError
from shopset.cli.wiring import InvalidFleetError
from shopset.core.errors import ShopsetError
from shopset.core.release.requests import RequestRefusedError
from shopset.engine import TooManyRacesError
from shopset.gitops import LostRaceError, RefusedError, UnreachableError

_SHOWN = 10
"""Diagnostics that are shown of a fleet with many."""

_CODES: tuple[tuple[type[ShopsetError], int], ...] = (
    (InvalidFleetError, exits.INVALID_FLEET),
    (UnknownKindError, exits.USAGE),
    (RequestRefusedError, exits.REFUSED),
    (RefusedError, exits.REFUSED),
    (UnreachableError, exits.UNREACHABLE),
    (UnseenError, exits.UNREACHABLE),
    (TooManyRacesError, exits.LOST_RACE),
    (LostRaceError, exits.LOST_RACE),
)


def explain(error: Exception) -> int:
    """Write what is wrong to standard error, and return the exit code."""
    if isinstance(error, InvalidFleetError):
        found = error.reading.diagnostics
        for diagnostic in found[:_SHOWN]:
            sys.stderr.write(f"{diagnostic.render()}\n")
        more = f" (shopctl validate shows all {len(found)})" if len(found) > _SHOWN else ""
        number = error.reading.errors
        sys.stderr.write(
            f"error: the fleet has {number} error{'s' if number > 1 else ''}{more}. Nothing was written.\n"
        )
    elif isinstance(error, ShopsetError):
        sys.stderr.write(f"error: {error}\n")
    elif isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        sys.stderr.write(f"error: {error.strerror or error}{where}. Mend that and run the same command again.\n")
        return exits.FAILURE
    else:
        sys.stderr.write(f"error: this is a bug in shopset: {type(error).__name__}: {error}\n")
        sys.stderr.write(
            "SHOPSET_DEBUG=1 shows where. Nothing is lost: the same command goes on from what is in git.\n"
        )
        return exits.BUG
    return code_of(error)


def code_of(error: ShopsetError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), exits.FAILURE)
