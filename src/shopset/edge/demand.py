"""How many requests each shop has, from the counters that HAProxy keeps of them.

A million shops are arrays and one text, and not a million objects.
"""

import math
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

WINDOW: Final = 300.0
"""Seconds over which rates are smoothed."""
COUNTERS: Final = ("requests", "refused", "failures")
"""Requests; those that were answered with 429; those that a ShopSet answered with 5xx."""
_FIELDS: Final = (b"http_req_cnt", b"gpc0", b"http_fail_cnt")
"""As the table calls COUNTERS. It need not store the last two."""
_KEY: Final = re.compile(rb"^0x[0-9a-f]+: key=.*", re.MULTILINE)
_NAMES: Final = re.compile(rb" (\w+)=")
_LINE: Final = '{"name":"%s",' + "".join(f'"{each}":%d,' for each in COUNTERS) + '"requestsPerSecond":%.4g}\n'
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
    counts: NDArray[np.uint32]
    """A row for each of COUNTERS."""


class Reader:
    """Takes the answer to `show table` in pieces as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._ended = False
        self._fields: list[bytes] = []
        self._entry: re.Pattern[bytes] | None = None
        self._names = bytearray()
        self._keys: list[NDArray[np.uint64]] = []
        self._lengths: list[NDArray[np.uint32]] = []
        self._counts: list[NDArray[np.uint32]] = []

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
        if self._entry is None and (first := _KEY.search(whole)):
            self._fields = [name for name in _NAMES.findall(first[0]) if name in _FIELDS]
            if _FIELDS[0] not in self._fields:
                raise BrokenTableError("the table does not store http_req_cnt")
            between = b"".join(rb".*? " + name + rb"=(\d+)" for name in self._fields)
            self._entry = re.compile(rb"^0x[0-9a-f]+: key=(\S+)" + between, re.MULTILINE)
        found = [] if self._entry is None else self._entry.findall(whole)
        if found:
            columns = list(zip(*found, strict=True))
            names = columns[0]
            self._names += b"\n".join(names) + b"\n"
            # Python's own hash is fast, keyed at random, and need not outlive the process.
            hashes = np.fromiter(map(hash, names), np.int64, len(names))
            self._keys.append(hashes.view(np.uint64))
            self._lengths.append(np.fromiter(map(len, names), np.uint32, len(names)) + np.uint32(1))
            counts = np.zeros((len(COUNTERS), len(names)), np.uint32)
            for field, column in zip(self._fields, columns[1:], strict=True):
                counts[_FIELDS.index(field)] = np.array(column).astype(np.uint32)
            self._counts.append(counts)

    def reading(self) -> Reading:
        """Return all of it. Raises BrokenTableError where the end is missing."""
        if not self._ended or self._rest:
            raise BrokenTableError("the answer was cut off")
        ends = np.cumsum(_joined(self._lengths, np.uint32), dtype=np.uint32)
        empty = np.zeros((len(COUNTERS), 0), np.uint32)
        counts = np.concatenate([empty, *self._counts], axis=1)
        return Reading(bytes(self._names), _joined(self._keys, np.uint64), ends, counts)


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
    """A row for each of COUNTERS: since the first reading of the shop, with what was counted before."""
    rates: NDArray[np.float32]
    """Requests per second, smoothed over WINDOW."""
    sums: tuple[int, ...]
    """COUNTERS of all shops together."""

    def __len__(self) -> int:
        """Return the number of shops."""
        return len(self.rates)

    def name(self, index: int) -> str:
        """Return the name of a shop."""
        start = int(self.reading.ends[index - 1]) if index else 0
        return self.reading.names[start : int(self.reading.ends[index]) - 1].decode()

    def lines(self) -> Iterator[bytes]:
        """Yield a line of JSON for each shop, in the order of the table, some thousands of lines at once."""
        step = 5000
        for first in range(0, len(self), step):
            start = int(self.reading.ends[first - 1]) if first else 0
            last = min(first + step, len(self))
            names = self.reading.names[start : int(self.reading.ends[last - 1])].decode().splitlines()
            columns = (each[first:last].tolist() for each in (*self.totals, self.rates))
            yield "".join(map(_LINE.__mod__, zip(names, *columns, strict=True))).encode()


def demand(reading: Reading, process: str, at: float, before: Demand | None = None) -> Demand:
    """Return what is known after a reading. `at` is a clock in seconds that only goes forward."""
    order = np.argsort(reading.keys)
    counts = reading.counts
    if before is None:
        totals = counts.astype(np.uint64)
        return Demand(process, at, reading, order, totals, np.zeros(counts.shape[1], np.float32), _sums(totals))
    place, known = _find(before, reading.keys)
    counted = _of(before.reading.counts, place, known)
    # A counter that is less than before has begun anew, and with it the others of its shop; those of another process all have.
    anew = (counts < counted).any(axis=0) | (process != before.process)
    fresh = np.where(anew, counts, counts - counted).astype(np.uint64)
    seconds = max(at - before.at, 1e-3)
    weight = 1 - math.exp(-seconds / WINDOW)
    rates = (_of(before.rates, place, known) * (1 - weight) + fresh[0] / seconds * weight).astype(np.float32)
    totals = _of(before.totals, place, known) + fresh
    sums = tuple(old + new for old, new in zip(before.sums, _sums(fresh), strict=True))
    return Demand(process, at, reading, order, totals, rates, sums)


def busiest(found: Demand, number: int, shown: AbstractSet[str] = frozenset()) -> dict[str, list[int]]:
    """Return the shops with most requests -> their totals as in COUNTERS, at most `number` of them.

    Those that were shown go on unless another has clearly more: a series that comes and goes is worth little.
    """
    scores = (found.rates if found.rates.any() else found.totals[0]).astype(np.float64)
    if shown:
        keys = np.fromiter((hash(name.encode()) for name in shown), np.int64, len(shown)).view(np.uint64)
        place, known = _find(found, keys)
        scores[place[known]] *= _LOYALTY
    count = min(number, len(scores))
    if count == 0:
        return {}
    chosen = np.argpartition(-scores, count - 1)[:count]
    return {found.name(index): found.totals[:, index].tolist() for index in chosen.tolist()}


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
    """Return the values of those that are known, and 0 for the others; shops are the last axis."""
    found = np.zeros((*values.shape[:-1], len(place)), values.dtype)
    found[..., known] = values[..., place[known]]
    return found


def _sums(counts: NDArray[np.uint64]) -> tuple[int, ...]:
    return tuple(counts.sum(axis=1, dtype=np.uint64).tolist())


def _joined(parts: list[NDArray[_Number]], kind: type[_Number]) -> NDArray[_Number]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)
