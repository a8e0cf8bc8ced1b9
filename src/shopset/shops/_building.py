"""From rows as a source has them to a table: each row checked as a Shop resource would be, a million in seconds."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from shopset.api import InvalidValueError, Shop, normalise_host
from shopset.api.errors import quoted
from shopset.api.names import NAME_LENGTH, NAME_PATTERN
from shopset.core.explaining import explain
from shopset.core.placement.shops import EdgeWish, Shops
from shopset.core.placement.tables import ShopProblem, Table
from shopset.shops._plain import are_counts, are_lists_of_hosts, are_names, are_numbers, odd_rows

MOST_TOLD: Final = 1000
"""Bad rows of one file or table that are told one by one."""
_NAME: Final = re.compile(NAME_PATTERN.rstrip("$") + r"\Z")
_LABEL: Final = r"(?!xn--)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PLAIN_HOST: Final = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)+(?!(?:[0-9]+|0x[0-9a-f]*)\Z){_LABEL}\Z")
"""Hosts that are what normalise_host would make of them, but for their length."""
_HOST_LENGTH: Final = 253
_NUMBER: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z", re.ASCII)
_COUNT: Final = re.compile(r"[0-9]{1,15}\Z", re.ASCII)
_TRUTHS: Final = {"": False, "false": False, "true": True}
"""How texts say whether something is so."""
_FIELDS: Final = {"metadata.name": "name", "spec.class": "class", "spec.hosts": "hosts", "spec.pins": "pins"}
_NUMBERS: Final = {
    "requestsPerSecond": "number",
    "connections": "whole number",
    "limitRequestsPerSecond": "number",
    "limitBurst": "whole number",
}
"""Columns of numbers, and what they hold."""
Texts = Sequence[str]
Numbers = Texts | Sequence[float | None] | None
"""A column of numbers, as text or not; None where the source has no such column."""
Hosts = tuple[str, ...]
"""Hosts of one shop, as its source has them."""


def host_of(text: str) -> str:
    """Return what `normalise_host` returns, sooner where the text is plain. Raises InvalidValueError."""
    if _PLAIN_HOST.match(text) and len(text) <= _HOST_LENGTH:
        return text
    lowered = text.lower()
    # Outside of ASCII, lower case is more than a letter for a letter.
    if text.isascii() and _PLAIN_HOST.match(lowered) and len(lowered) <= _HOST_LENGTH:
        return lowered
    return normalise_host(text)


class EdgeColumns(NamedTuple):
    """How the edge is to serve shops, in columns as long as the others; nearly all of it is empty."""

    requests: Numbers = None
    burst: Numbers = None
    maintenance: Texts | Sequence[bool] | None = None

    def row(self, row: int) -> tuple[str | float | None, ...]:
        """Return the numbers of a row."""
        return tuple(None if column is None else column[row] for column in (self.requests, self.burst))


_NO_EDGE: Final = EdgeColumns()


class Builder:
    """Gathers rows of one source. Bad ones become problems; the others go on."""

    def __init__(self, source: str, place: Callable[[int], str], names_of: dict[str, str]) -> None:
        """`place` says where a line is; `names_of` how the source calls `requestsPerSecond` and so on."""
        self.source = source
        self.place = place
        self.problems: list[ShopProblem] = []
        self.unread: set[str] = set()
        self.is_whole = True
        self._called = names_of
        self._names: list[str] = []
        self._hosts: list[Hosts] = []
        self._classes: dict[str, int] = {}
        self._pins: dict[int, tuple[str, ...]] = {}
        self._edge: dict[int, EdgeWish] = {}
        self._kinds: list[NDArray[np.int32]] = []
        self._demand: list[NDArray[np.float64]] = []
        self._lines: list[NDArray[np.int32]] = []
        self._created: list[NDArray[np.float64]] = []
        self._bad = 0

    def __len__(self) -> int:
        return len(self._names)

    def add(
        self,
        names: Sequence[str],
        classes: Sequence[str],
        hosts: Sequence[Hosts],
        requests: Numbers,
        connections: Numbers,
        pins: Sequence[Sequence[str] | str] | None,
        lines: NDArray[np.int32],
        created: NDArray[np.float64] | None = None,
        edge: EdgeColumns = _NO_EDGE,
    ) -> None:
        """Take rows, in columns of one length; None is a column that the source does not have."""
        tidy, bad = _tidied(hosts)
        demand = np.full((len(names), 2), np.nan)
        bad.update(row for row in odd_rows(names, are_names) if not _is_name(names[row]))
        bad.update(_read_numbers(requests, are_numbers, _NUMBER, demand[:, 0]))
        bad.update(_read_numbers(connections, are_counts, _COUNT, demand[:, 1]))
        wrong = {name for name in set(classes).difference(self._classes) if not _is_name(name)}
        if wrong:
            bad.update(row for row, name in enumerate(classes) if name in wrong)
        wanted = {row: _split(each) for row, each in enumerate(pins) if each} if pins is not None and any(pins) else {}
        bad.update(row for row, each in wanted.items() if not all(map(_is_name, each)))
        wishes, odd = _wishes(edge, len(names))
        bad.update(odd)
        if bad:
            for row in sorted(bad):
                numbers = [None if column is None else column[row] for column in (requests, connections)]
                numbers += edge.row(row)
                truth = edge.maintenance[row] if edge.maintenance else ""
                self._refuse(int(lines[row]), names[row], classes[row], hosts[row], numbers, wanted.get(row, ()), truth)
            kept = [row for row in range(len(names)) if row not in bad]
            names, classes = [names[row] for row in kept], [classes[row] for row in kept]
            tidy = [tidy[row] for row in kept]
            wanted = {at: wanted[row] for at, row in enumerate(kept) if row in wanted}
            wishes = {at: wishes[row] for at, row in enumerate(kept) if row in wishes}
            demand, lines = demand[kept], lines[kept]
            created = None if created is None else created[kept]
        start = len(self._names)
        self._names.extend(names)
        self._hosts.extend(tidy)
        for name in sorted(set(classes)):
            self._classes.setdefault(name, len(self._classes))
        self._kinds.append(np.fromiter(map(self._classes.__getitem__, classes), np.int32, len(classes)))
        self._demand.append(demand)
        self._lines.append(lines)
        if created is not None:
            self._created.append(created)
        self._pins.update((start + row, each) for row, each in wanted.items())
        self._edge.update((start + row, each) for row, each in wishes.items())

    def note_unread(self, name: str) -> bool:
        """Note a shop that is there and cannot be read; return whether it is known which."""
        known = _is_name(name)
        if known:
            self.unread.add(name)
        else:
            self.is_whole = False
        return known

    def complain(self, problem: ShopProblem) -> None:
        """Note what is wrong with a row; of very many, only how many there are."""
        self._bad += 1
        if self._bad <= MOST_TOLD:
            self.problems.append(problem)

    def table(self, files: Sequence[tuple[int, str]] = ()) -> Table:
        """Return what was read."""
        if self._bad > MOST_TOLD:
            message = f"{self._bad - MOST_TOLD:,} more shops cannot be read"
            self.problems.append(ShopProblem(self.source, "", "", message, "mend those above first"))
        shops = Shops(
            self._names,
            self._hosts,
            tuple(self._classes),
            np.concatenate([np.zeros(0, np.int32), *self._kinds]),
            np.concatenate([np.zeros((0, 2)), *self._demand]),
            self._pins,
            self._edge,
        )
        lines = np.concatenate([np.zeros(0, np.int32), *self._lines]) if files else None
        created = np.concatenate(self._created) if self._created else None
        return Table(self.source, shops, files, lines, created, frozenset(self.unread), self.is_whole)

    def _refuse(
        self,
        line: int,
        name: str,
        shop_class: str,
        hosts: Hosts,
        numbers: Sequence[str | float | None],
        pins: Sequence[str],
        maintenance: str | bool,
    ) -> None:
        """Say of a bad row what is wrong with it, in the words of the resource that it would be."""
        known = self.note_unread(name)
        spec = {"class": shop_class, "hosts": hosts, "pins": tuple(pins)}
        found = list(_refusals(name, spec))
        for (field, kind), value in zip(_NUMBERS.items(), numbers, strict=True):
            found += [(field, *words) for words in _number_refusal(value, kind)]
        if isinstance(maintenance, str) and maintenance not in _TRUTHS:
            found.append(("maintenance", f"{quoted(maintenance)} is neither true nor false", "write one of the two"))
        for field, message, advice in found:
            told = self._called.get(field, field)
            self.complain(ShopProblem(self.place(line), name if known else "", told, message, advice))


def words_of(texts: Sequence[str]) -> list[Hosts]:
    """Return the words of each text."""
    whole = "".join(texts)
    if not all(texts) or not whole.isascii() or not whole.isprintable():
        return [tuple(text.split()) for text in texts]
    # Nearly all are one word, and no space is anything but a space.
    found: list[Hosts] = list(zip(texts, strict=True))
    if " " in whole:
        for row in [row for row, text in enumerate(texts) if " " in text]:
            found[row] = tuple(texts[row].split())
    return found


def _tidied(hosts: Sequence[Hosts]) -> tuple[list[Hosts], set[int]]:
    """Return the hosts of each shop, normalised, and the rows where something is wrong with them."""
    bad: set[int] = set()
    tidy = list(hosts)
    for row in odd_rows(hosts, are_lists_of_hosts):
        try:
            tidy[row] = found = tuple(map(host_of, hosts[row]))
        except InvalidValueError:
            found = ()
        if not found or len(set(found)) < len(found):
            bad.add(row)
    return tidy, bad


def _split(values: Sequence[str] | str) -> tuple[str, ...]:
    return tuple(values.split()) if isinstance(values, str) else tuple(values)


def _is_name(text: str) -> bool:
    return len(text) <= NAME_LENGTH and _NAME.match(text) is not None


def _wishes(edge: EdgeColumns, number: int) -> tuple[dict[int, EdgeWish], set[int]]:
    """Return what is said of the edge, by rows, and the rows where something is wrong with that."""
    bad: set[int] = set()
    rows: set[int] = set()
    limits = np.full((number, 2), np.nan) if any(edge.requests or ()) or any(edge.burst or ()) else None
    if limits is not None:
        bad.update(_read_numbers(edge.requests, are_numbers, _NUMBER, limits[:, 0]))
        bad.update(_read_numbers(edge.burst, are_counts, _COUNT, limits[:, 1]))
        rows.update(np.flatnonzero(~np.isnan(limits).all(1)).tolist())
    truths = edge.maintenance or ()
    if odd := set(truths) - {"", "false", False}:
        bad.update(row for row, text in enumerate(truths) if text in odd and text not in _TRUTHS and text is not True)
        rows.update(row for row, text in enumerate(truths) if text in odd)
    found = {}
    for row in rows - bad:
        rate, burst = (np.nan, np.nan) if limits is None else limits[row].tolist()
        is_down = bool(truths) and truths[row] in ("true", True)
        found[row] = EdgeWish(None if np.isnan(rate) else rate, None if np.isnan(burst) else int(burst), is_down)
    return found, bad


def _read_numbers(
    values: Numbers,
    are_plain: Callable[[Sequence[str]], bool],
    pattern: re.Pattern[str],
    column: NDArray[np.float64],
) -> Iterable[int]:
    """Write what is stated into a column; return the rows where it is no positive number."""
    if values is None or not any(values):
        return ()
    bad = set()
    if isinstance(values[0], str):
        texts: Sequence[str] = values  # type: ignore[assignment]  # a source has all of them in one way
        bad = {row for row in odd_rows(texts, are_plain) if texts[row] and pattern.match(texts[row]) is None}
        if not bad and all(texts):
            column[:] = np.fromiter(map(float, texts), np.float64, len(texts))
        else:
            column[:] = [float(text) if text and row not in bad else np.nan for row, text in enumerate(texts)]
    else:
        column[:] = np.array(values, np.float64)
    bad.update(np.flatnonzero((column <= 0) | np.isinf(column)).tolist())
    return bad


def _refusals(name: str, spec: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Yield (field, message, advice) of all that a Shop resource with these fields would be refused for."""
    shop = {"apiVersion": "shopset.dev/v1alpha1", "kind": "Shop", "metadata": {"name": name}, "spec": spec}
    missing = {"metadata.name": not name, "spec.class": not spec["class"], "spec.hosts": not spec["hosts"]}
    yield from ((_FIELDS[field], "is missing", "add it") for field, absent in missing.items() if absent)
    try:
        Shop.model_validate(shop)
    except ValidationError as error:
        for found in explain(Shop, error):
            field = ".".join(map(str, found.field[:2]))
            if not missing.get(field, False):
                yield _FIELDS.get(field, field), found.message, found.advice


def _number_refusal(value: str | float | None, kind: str) -> Iterable[tuple[str, str]]:
    if value is None or value == "":
        return
    pattern = _NUMBER if kind == "number" else _COUNT
    if isinstance(value, str) and pattern.match(value) is None:
        negative = value.startswith("-") and pattern.match(value[1:]) is not None
        what = "is not more than 0" if negative else f"is not a {kind}"
        example = "12.5" if kind == "number" else "12"
        yield f"{quoted(value)} {what}", f"write one as in {example}, or leave it empty"
    elif not 0 < float(value) < math.inf:
        size = "is not more than 0" if float(value) <= 0 else "is too large"
        yield f"{quoted(str(value))} {size}", "write what the shop needs at its busiest, or leave it empty"
