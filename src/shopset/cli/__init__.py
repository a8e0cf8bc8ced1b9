"""shopctl: the command line, and the only package that prints and reads the environment."""

import os
import sys
from collections.abc import Sequence

_GLOBAL = {"--fleet": True, "-f": True, "--cache": True, "--as": True, "--timeout": True, "--no-color": False}
"""Global options, and whether they take a value. They may stand anywhere, as kubectl's do."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run shopctl (or `kubectl shopset`)."""
    # Looking for plugins of pydantic costs a tenth of a start, and none may change what shopctl accepts.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from shopset.cli.app import app  # noqa: PLC0415  # importing the package must cost nothing

    given = list(sys.argv[1:] if arguments is None else arguments)
    app(args=hoisted(given), prog_name="kubectl shopset" if sys.argv[0].endswith("kubectl-shopset") else "shopctl")


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with global options before the verb."""
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word.partition("=")[0] in _GLOBAL and (word.startswith("--") or "=" not in word):
            first.append(word)
            if _GLOBAL[word.partition("=")[0]] and "=" not in word:
                first += [value for value in [next(words, None)] if value is not None]
        else:
            rest.append(word)
    return first + rest
