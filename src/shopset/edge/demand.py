"""How many requests each shop has, from the counters that HAProxy keeps of them.

A million shops are arrays and one text, and not a million objects.
"""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

WINDOW: Final = 300.0
"""Seconds over which rates are smoothed."""
_ENTRY: Final = re.compile(rb"^0x[0-9a-f]+: key=(\S+) .*?\bhttp_req_cnt=(\d+)", re.MULTILINE)
_LOYALTY: Final = 1.25
_Number = TypeVar("_Number", bound=np.generic)


class BrokenTableError(Exception):
    """HAProxy's answer is no table, or not all of one."""


@dataclass(frozen=True)
class Reading:
    """What the table held at one time: a name a line, and the same order everywhere."""

    names: bytes
    keys: NDArray[np.uint64]
    """What the name hashes to."""
    ends: NDArray[np.uint32]
    """Where in `names` each ends."""
    counts: NDArray[np.uint64]


class Reader:
    """Takes the answer to `show table` in pieces as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._ended = False
        self._names = bytearray()
        self._keys: list[NDArray[np.uint64]] = []
        self._lengths: list[NDArray[np.uint32]] = []
        self._counts: list[NDArray[np.uint64]] = []

    def feed(self, piece: bytes) -> None:
        """Take one more piece. Raises BrokenTableError where it is no table."""
        text = self._rest + piece
        cut = text.rfind(b"\n") + 1
        whole, self._rest = text[:cut], text[cut:]
        if not whole:
            return
        if not self._begun and not whole.startswith(b"# table:"):
            raise BrokenTableError(whole.splitlines()[0].decode(errors="replace"))
        self._begun = True
        # An empty line ends the table; what is cut off ends in an entry.
        self._ended = whole.endswith(b"\n\n") or (whole == b"\n")
        found = _ENTRY.findall(whole)
        if found:
            names = [name for name, _ in found]
            self._names += b"\n".join(names) + b"\n"
            # Python's own hash is fast, keyed at random, and need not outlive the process.
            hashes = np.fromiter(map(hash, names), np.int64, len(names))
            self._keys.append(hashes.view(np.uint64))
            self._lengths.append(np.fromiter(map(len, names), np.uint32, len(names)) + np.uint32(1))
            self._counts.append(np.fromiter((int(count) for _, count in found), np.uint64, len(found)))

    def reading(self) -> Reading:
        """Return all of it. Raises BrokenTableError where the end is missing."""
        if not self._ended or self._rest:
            raise BrokenTableError("the answer was cut off")
        ends = np.cumsum(_joined(self._lengths, np.uint32), dtype=np.uint32)
        return Reading(bytes(self._names), _joined(self._keys, np.uint64), ends, _joined(self._counts, np.uint64))


@dataclass(frozen=True)
class Demand:
    """What is known of each shop in the table; one that is idle until its entry expires is forgotten."""

    process: str
    """Whose counters these are: another process counts anew."""
    at: float
    reading: Reading
    order: NDArray[np.intp]
    """Which entry has the least key, and so on."""
    totals: NDArray[np.uint64]
    """Requests since the first reading of the shop, with those that were counted before."""
    rates: NDArray[np.float32]
    """Requests per second, smoothed over WINDOW."""
    served: int
    """Requests of all shops."""

    def name(self, index: int) -> str:
        """Return the name of a shop."""
        start = int(self.reading.ends[index - 1]) if index else 0
        return self.reading.names[start : int(self.reading.ends[index]) - 1].decode()

    def lines(self) -> Iterator[bytes]:
        """Yield a line of JSON for each shop, in the order of the table, some thousands at once."""
        step = 5000
        for first in range(0, len(self.totals), step):
            start = int(self.reading.ends[first - 1]) if first else 0
            last = min(first + step, len(self.totals))
            names = self.reading.names[start : int(self.reading.ends[last - 1])].decode().splitlines()
            rows = zip(names, self.totals[first:last].tolist(), self.rates[first:last].tolist(), strict=True)
            yield "".join(
                f'{{"name":"{name}","requests":{total},"requestsPerSecond":{rate:.4g}}}\n' for name, total, rate in rows
            ).encode()


def demand(reading: Reading, process: str, at: float, before: Demand | None = None) -> Demand:
    """Return what is known after a reading. `at` is a clock in seconds that only goes forward."""
    order = np.argsort(reading.keys)
    counts = reading.counts
    if before is None:
        rates = np.zeros(len(counts), np.float32)
        return Demand(process, at, reading, order, counts, rates, int(counts.sum()))
    place, known = _find(before, reading.keys)
    counted = _of(before.reading.counts, place, known)
    # A counter that is less than before has begun anew; those of another process all have.
    anew = (counts < counted) if process == before.process else np.ones(len(counts), bool)
    fresh = np.where(anew, counts, counts - counted).astype(np.uint64)
    seconds = max(at - before.at, 1e-3)
    weight = 1 - np.exp(-seconds / WINDOW)
    rates = (_of(before.rates, place, known) * (1 - weight) + fresh / seconds * weight).astype(np.float32)
    totals = _of(before.totals, place, known) + fresh
    return Demand(process, at, reading, order, totals, rates, before.served + int(fresh.sum()))


def busiest(found: Demand, number: int, shown: AbstractSet[str] = frozenset()) -> dict[str, int]:
    """Return the shops with most requests -> their totals, at most `number`.

    Those that were shown go on unless another has clearly more: a series that comes and goes is worth little.
    """
    scores = (found.rates if found.rates.any() else found.totals).astype(np.float64)
    if shown:
        keys = np.fromiter((hash(name.encode()) for name in shown), np.int64, len(shown)).view(np.uint64)
        place, known = _find(found, keys)
        scores[place[known]] *= _LOYALTY
    count = min(number, len(scores))
    if count == 0:
        return {}
    chosen = np.argpartition(-scores, count - 1)[:count]
    return {found.name(index): int(found.totals[index]) for index in chosen.tolist()}


def _find(found: Demand, keys: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return for each key where it stands, and whether it does."""
    place, known = np.zeros(len(keys), np.intp), np.zeros(len(keys), bool)
    if len(found.order):
        # Looking up in the order of the keys is many times faster than at random.
        order = np.argsort(keys)
        nearest = np.searchsorted(found.reading.keys[found.order], keys[order])
        place[order] = found.order[np.minimum(nearest, len(found.order) - 1)]
        known = found.reading.keys[place] == keys
    return place, known


def _of(values: NDArray[_Number], place: NDArray[np.intp], known: NDArray[np.bool_]) -> NDArray[_Number]:
    """Return the values of those that are known, and 0 for the others."""
    found = np.zeros(len(place), values.dtype)
    found[known] = values[place[known]]
    return found


def _joined(parts: list[NDArray[_Number]], kind: type[_Number]) -> NDArray[_Number]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)
