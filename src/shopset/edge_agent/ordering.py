"""Ordering the lines of the large map by their keys, in parts on disk, so that they never are in memory at once.

Those of one key can then be packed, and HAProxy reads an ordered map several times as fast: each key goes into its tree beside
the one before, where memory is warm.
"""

from bisect import bisect
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from shopset.edge.hostmap import key_of

HELD: Final = 50_000
"""Lines that are kept in memory; of more, these say where the parts begin."""
_PARTS: Final = 64


def ordered(pieces: Iterable[list[bytes]], folder: Path) -> Iterator[list[bytes]]:
    """Yield lines (`key value`) in the order of their keys, many at once; of one key all at once, as they came. Raises OSError.

    The lines that come first must be a fair sample of all, as shards are. What is on disk is gone at the end.
    """
    source = iter(pieces)
    held: list[bytes] = []
    for lines in source:
        held += lines
        if len(held) >= HELD:
            break
    else:
        yield sorted(held, key=key_of)
        return
    with TemporaryDirectory(dir=folder) as beside:
        paths = [Path(beside, str(number)) for number in range(_PARTS)]
        _divide(held, source, paths)
        for path in paths:
            yield sorted(path.read_bytes().splitlines(keepends=True), key=key_of)
            path.unlink()


def _divide(held: list[bytes], source: Iterable[list[bytes]], paths: list[Path]) -> None:
    """Write each line to the part that it belongs to."""
    sample = sorted(held)
    bounds = [key_of(sample[len(sample) * number // len(paths)]) for number in range(1, len(paths))]
    with ExitStack() as opened:
        files = [opened.enter_context(path.open("wb")) for path in paths]
        for lines in chain([held], source):
            parts: list[list[bytes]] = [[] for _ in files]
            for line in lines:
                # A line comes after its own key, and before whatever its key is only the beginning of.
                parts[bisect(bounds, line)].append(line)
            for file, part in zip(files, parts, strict=True):
                file.writelines(part)
