"""Which shops are taken: of several with one name or one host, one is; the others are told who has it. Pure."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress, islice
from operator import attrgetter, lt
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from shopset.core.placement.shops import Shops
from shopset.core.placement.tables import ShopProblem, Table

_MOST_TOLD: Final = 1000
"""Shops of one unknown class that are named one by one."""
_Value = TypeVar("_Value")
_Lost = dict[int, list[tuple[str, str]]]
"""Row -> (host, why another has it) of the hosts that it does not get."""


@dataclass(frozen=True)
class Settlement:
    """The shops that are taken, and what is wrong with the others."""

    shops: Shops
    problems: tuple[ShopProblem, ...] = ()
    """In the order of the sources and of their rows."""
    unread: frozenset[str] = frozenset()
    """Shops that a source has and that cannot be read: where they are placed already, they stay."""
    is_whole: bool = True
    """Whether a shop that is neither in `shops` nor in `unread` is really gone; False where a source could not be read."""


class _Rows:
    """The rows of all tables, one table after the other."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables = tables
        self.starts = np.cumsum([0, *(len(table) for table in tables)])
        # Copied, for what is lost is taken out of it.
        self.hosts = list(chain.from_iterable(table.shops.hosts for table in tables))
        self.names = list(chain.from_iterable(table.shops.names for table in tables))
        self.taken = np.ones(len(self.names), np.bool_)
        self.problems: list[tuple[int, ShopProblem]] = []

    def find(self, row: int) -> tuple[int, int]:
        """Return the table of a row, and which row of it it is."""
        index = int(np.searchsorted(self.starts, row, side="right")) - 1
        return index, row - int(self.starts[index])

    def place(self, row: int) -> str:
        index, own = self.find(row)
        return self.tables[index].place(own)

    def rank(self, row: int) -> tuple[int, float, str]:
        """Return what the better of two claims has the lesser of: the source, the creation time, the name."""
        index, own = self.find(row)
        created = self.tables[index].created
        at = np.nan if created is None else float(created[own])
        return index, np.inf if np.isnan(at) else at, self.names[row]

    def tell(self, row: int, field: str, message: str, advice: str) -> None:
        self.problems.append((row, ShopProblem(self.place(row), self.names[row], field, message, advice)))


def settle(
    tables: Sequence[Table], incumbents: Mapping[str, str], known_classes: Collection[str] | None = None
) -> Settlement:
    """Merge what the sources say, the first of them first.

    `incumbents` says which shop each host leads to by the present placement. One name twice: the first is taken. One
    host twice: the incumbent keeps it; else the first source, then the older, then the lesser name has it. A shop keeps
    the hosts that it did not lose, and is not taken without any. `known_classes` None: every class is known.

    A shop of a class that does not exist, or that cannot be read, still has its hosts: a slip in one line must not hand
    them to another shop.
    """
    rows = _Rows(tables)
    unread = frozenset(chain.from_iterable(table.unread for table in tables))
    is_whole = all(table.is_whole for table in tables)
    _drop_repeated(rows)
    _take_away(rows, _contested(rows, incumbents))
    if unread or not is_whole:
        _take_away(rows, _withheld(rows, incumbents, unread, is_whole))
    columns = _classes(tables)
    if known_classes is not None:
        _drop_unknown_classes(rows, *columns, frozenset(known_classes))
    shops = _gathered(rows, *columns)
    problems = tuple(problem for _, problem in sorted(rows.problems, key=lambda told: told[0]))
    return Settlement(shops, problems, unread.difference(shops.names) if unread else unread, is_whole)


def _is_ascending(names: Sequence[str]) -> bool:
    return all(map(lt, names, islice(names, 1, None)))


def _drop_repeated(rows: _Rows) -> None:
    """Take the first of each name."""
    if _is_ascending(rows.names) or len(set(rows.names)) == len(rows.names):
        return
    first: dict[str, int] = {}
    for row, name in enumerate(rows.names):
        other = first.setdefault(name, row)
        if other != row:
            rows.taken[row] = False
            message = f"there is a shop {name} already, at {rows.place(other)}"
            rows.tell(row, "name", message, "rename or remove one of them; the first is taken")


def _contested(rows: _Rows, incumbents: Mapping[str, str]) -> _Lost:
    """Return what each shop loses to another that is taken."""
    claimed = list(chain.from_iterable(compress(rows.hosts, rows.taken)))
    if len(set(claimed)) == len(claimed):
        return {}
    first: dict[str, int] = {}
    claims: dict[str, list[int]] = {}
    for row in np.flatnonzero(rows.taken).tolist():
        for host in rows.hosts[row]:
            other = first.setdefault(host, row)
            if other != row:
                claims.setdefault(host, [other]).append(row)
    lost: _Lost = defaultdict(list)
    for host, claimants in claims.items():
        winner, why = _winner(rows, claimants, incumbents.get(host))
        for row in claimants:
            if row != winner:
                lost[row].append((host, f"{rows.names[winner]}, {why} ({rows.place(winner)})"))
    return lost


def _winner(rows: _Rows, claimants: Sequence[int], incumbent: str | None) -> tuple[int, str]:
    """Return who of several has a host, and why."""
    for row in claimants:
        if rows.names[row] == incumbent:
            return row, "which is placed with it"
    ranks = sorted((rows.rank(row), row) for row in claimants)
    (best, winner), (second, _) = ranks[:2]
    reasons = ("whose source comes first", "which is older", "whose name comes first")
    return winner, next(why for why, a, b in zip(reasons, best, second, strict=True) if a != b)


def _withheld(rows: _Rows, incumbents: Mapping[str, str], unread: Collection[str], is_whole: bool) -> _Lost:
    """Return what each shop loses to one that has it by the placement, and of which it is not known whether it is gone."""
    seen = set(rows.names)
    lost: _Lost = defaultdict(list)
    for row in np.flatnonzero(rows.taken).tolist():
        for host in rows.hosts[row]:
            owner = incumbents.get(host)
            if owner is not None and owner not in seen and (not is_whole or owner in unread):
                lost[row].append((host, f"{owner}, which is placed with it and cannot be read now"))
    return lost


def _take_away(rows: _Rows, lost: _Lost) -> None:
    for row, found in lost.items():
        gone = {host for host, _ in found}
        hosts = rows.hosts[row]
        left = tuple(host for host in hosts if host not in gone)
        rows.hosts[row] = left
        rows.taken[row] = bool(left)
        end = "" if left else "; this one has no other, and is not placed"
        for host, owner in found:
            rows.tell(row, "hosts", f"the host {host} is taken by the shop {owner}", f"a host leads to one shop{end}")


def _classes(tables: Sequence[Table]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the names of all classes, sorted, and the class of every row."""
    names = sorted(set(chain.from_iterable(table.shops.class_names for table in tables)))
    index = {name: number for number, name in enumerate(names)}
    parts = [np.zeros(0, np.int32)]
    for table in tables:
        known = np.array([index[name] for name in table.shops.class_names], np.int32)
        parts.append(known[table.shops.classes] if len(table) else parts[0])
    return tuple(names), np.concatenate(parts)


def _drop_unknown_classes(rows: _Rows, names: Sequence[str], classes: NDArray[np.int32], known: frozenset[str]) -> None:
    there = f"there are {', '.join(sorted(known))}" if known else "there is none yet"
    for number, name in enumerate(names):
        if name in known:
            continue
        found = np.flatnonzero((classes == number) & rows.taken)
        rows.taken[found] = False
        for row in found[:_MOST_TOLD].tolist():
            rows.tell(row, "class", f"there is no ShopClass {name}", f"add it, or name another: {there}")
        if len(found) > _MOST_TOLD:
            row = int(found[_MOST_TOLD])
            rows.tell(
                row, "class", f"this and {len(found) - _MOST_TOLD - 1:,} more have the ShopClass {name}", "add it"
            )


def _gathered(rows: _Rows, class_names: tuple[str, ...], classes: NDArray[np.int32]) -> Shops:
    """Return the rows that are taken, sorted by name."""
    order = np.flatnonzero(rows.taken)
    is_ascending = _is_ascending(rows.names)
    if not is_ascending:
        order = np.array(sorted(order.tolist(), key=rows.names.__getitem__), np.int64)
    demand = np.concatenate([np.zeros((0, 2)), *(table.shops.demand for table in rows.tables)])
    if len(order) == len(rows.names) and is_ascending:
        names, hosts = rows.names, rows.hosts
    else:
        picked = order.tolist()
        names, hosts = [rows.names[row] for row in picked], [rows.hosts[row] for row in picked]
        classes, demand = classes[order], demand[order]
    pins, edge = (_moved(rows, order, column) for column in (attrgetter("pins"), attrgetter("edge")))
    return Shops(names, hosts, class_names, classes, demand, pins, edge)


def _moved(rows: _Rows, order: NDArray[np.int64], column: Callable[[Shops], Mapping[int, _Value]]) -> dict[int, _Value]:
    """Return what a column that few shops have says of those that are taken."""
    if not any(column(table.shops) for table in rows.tables):
        return {}
    position = np.full(len(rows.names), -1, np.int64)
    position[order] = np.arange(len(order))
    found = {
        int(position[int(start) + row]): value
        for table, start in zip(rows.tables, rows.starts, strict=False)
        for row, value in column(table.shops).items()
    }
    found.pop(-1, None)
    return found
