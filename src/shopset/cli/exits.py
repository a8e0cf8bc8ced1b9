"""Exit codes, documented in `shopctl --help` and docs/cli.md."""

from typing import Final

OK: Final = 0
FAILURE: Final = 1
SOMETHING_TO_DO: Final = 2
INVALID_FLEET: Final = 3
REFUSED: Final = 4
UNREACHABLE: Final = 5
LOST_RACE: Final = 6
USAGE: Final = 64
BUG: Final = 70
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "done; for plan: nothing to do",
    FAILURE: "something could not be done; the message says what and why",
    SOMETHING_TO_DO: "plan and --dry-run: there is something to do",
    INVALID_FLEET: "the fleet has errors; nothing was read from it or written",
    REFUSED: "the request can't be met as things stand, or a push was refused",
    UNREACHABLE: "a repository could not be read; what is shown lacks what is in it",
    LOST_RACE: "others were faster, again and again; nothing was lost, run it again",
    USAGE: "wrong words or options",
    BUG: "a bug in shopset; SHOPSET_DEBUG=1 shows where",
    INTERRUPTED: "interrupted; the same command goes on from there",
}
