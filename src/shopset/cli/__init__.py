"""shopctl: the command line, and the only package that prints and reads the environment."""

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

_GLOBAL = {
    "--fleet": True,
    "-f": True,
    "--cache": True,
    "--as": True,
    "--timeout": True,
    "--no-color": False,
    "--kubeconfig": True,
    "--context": True,
    "--namespace": True,
    "-n": True,
}
"""Global options, and whether they take a value. They may stand anywhere, as kubectl's do."""
_OWN = {"logs": "-f"}
"""Verbs with an option of their own that is called like a global one, which then stands before the verb."""


_CLICK_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run shopctl (or `kubectl shopset`)."""
    if arguments is None:
        # What is imported stays. Looking through it for garbage, over and over, costs a quarter of a start.
        gc.disable()
    # Looking for plugins of pydantic costs a tenth of a start, and none may change what shopctl accepts.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from shopset.cli.exits import USAGE  # noqa: PLC0415  # importing the package must cost nothing
    from shopset.cli.running import Ended  # noqa: PLC0415

    given = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stdout is None or sys.stderr is None:
        _give_streams()
    unreadable = next((word for word in given if not _is_text(word)), None)
    if unreadable is not None:
        sys.stderr.write(f"error: {unreadable!a} is not UTF-8: write it in UTF-8, in a locale as C.UTF-8\n")
        raise SystemExit(USAGE)
    if given == ["check-push"] and "_SHOPCTL_COMPLETE" not in os.environ:
        _check_push()
    from shopset.cli.app import app  # noqa: PLC0415

    if "_SHOPCTL_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init  # noqa: PLC0415  # only a shell that completes needs it

        # typer does that only for its own options of completion, which shopctl has as a verb.
        completion_init()
    name = "kubectl shopset" if sys.argv[0].endswith("kubectl-shopset") else "shopctl"
    try:
        app(args=hoisted(given), prog_name=name)
    except Ended:
        raise
    except SystemExit as ended:
        # Wrong words must not look like "there is something to do".
        raise SystemExit(USAGE if ended.code == _CLICK_USAGE else ended.code) from None


def _check_push() -> NoReturn:
    """Be the pre-receive hook, which starts at each push: the words of all verbs would cost as much as what it does."""
    from shopset.cli.running import run  # noqa: PLC0415
    from shopset.cli.settings import Settings  # noqa: PLC0415

    run(Settings(environment=dict(os.environ)), "pushes", "check", repository=None)


def _give_streams() -> None:
    """Let what is written to a closed stream go nowhere."""
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # it stays open with the process; pathlib costs a start
    sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere


def _is_text(word: str) -> bool:
    # Bytes that the locale cannot read arrive as lone surrogates.
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with global options before the verb."""
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif rest and word == _OWN.get(rest[0]):
            rest.append(word)
        elif word.partition("=")[0] in _GLOBAL and (word.startswith("--") or "=" not in word):
            first.append(word)
            if _GLOBAL[word.partition("=")[0]] and "=" not in word:
                first += [value for value in [next(words, None)] if value is not None]
        else:
            rest.append(word)
    return first + rest
