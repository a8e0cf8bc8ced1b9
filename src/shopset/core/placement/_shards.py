"""Shops in 4,096 shards by the hash of their names, so that a million are cheap to look up, to change and to compare."""

import hashlib
from bisect import bisect_left
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass
from itertools import chain
from typing import Final, Generic, NamedTuple, Self, TypeVar

_DIGITS: Final = 3
_Value = TypeVar("_Value")


class PlacedShop(NamedTuple):
    """A shop as the placement has it."""

    name: str
    group: str
    hosts: tuple[str, ...] = ()


def shard_of(shop: str) -> str:
    """Return the shard of a shop: the first three hex digits of the SHA-256 of its name."""
    return hashlib.sha256(shop.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


def shards_of(shops: Iterable[str]) -> set[str]:
    """Return the shards of some shops, as `shard_of` has them: a call for each would take twice as long."""
    return {hashlib.sha256(shop.encode(errors="surrogatepass")).hexdigest()[:_DIGITS] for shop in shops}


@dataclass(frozen=True, slots=True)
class Shard:
    """The shops of one shard in columns, sorted by name."""

    names: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    hosts: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, shops: Iterable[PlacedShop]) -> Self:
        """Return the shard of some shops, whose names differ."""
        return cls(*map(tuple, zip(*sorted(shops), strict=True)))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[PlacedShop]:
        return map(PlacedShop, self.names, self.groups, self.hosts)

    def row(self, shop: str) -> int | None:
        """Return where a shop is in the columns; None where it is not there."""
        row = bisect_left(self.names, shop)
        return row if row < len(self.names) and self.names[row] == shop else None


Shards = Mapping[str, Shard]
"""By their names, sorted; empty ones are left out."""


def sharded(shops: Iterable[PlacedShop]) -> dict[str, Shard]:
    """Return the shards of some shops, whose names differ."""
    parts: dict[str, list[PlacedShop]] = {}
    for shop in shops:
        parts.setdefault(shard_of(shop.name), []).append(shop)
    return {key: Shard.of(parts[key]) for key in sorted(parts)}


def changed(shards: Shards, shops: Iterable[PlacedShop], without: Iterable[str]) -> dict[str, Shard]:
    """Return the shards with some shops put in and others taken out. What does not change is shared."""
    edits: dict[str, dict[str, PlacedShop | None]] = {}
    for name in without:
        edits.setdefault(shard_of(name), {})[name] = None
    for shop in shops:
        edits.setdefault(shard_of(shop.name), {})[shop.name] = shop
    after = dict(shards)
    for key, edit in edits.items():
        rows = {shop.name: shop for shop in shards.get(key, Shard())} | edit
        after[key] = Shard.of(shop for shop in rows.values() if shop is not None)
    return {key: after[key] for key in sorted(after) if after[key]}


class _Column(Mapping[str, _Value], Generic[_Value]):
    """One column of all shards as a mapping from shops. Its items come by shard, and by name within a shard.

    `dict(column.items())` is fast; `dict(column)` hashes every name.
    """

    __slots__ = ("shards",)

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    def _values(self, shard: Shard) -> tuple[_Value, ...]:
        raise NotImplementedError

    def __getitem__(self, shop: str) -> _Value:
        shard = self.shards.get(shard_of(shop), Shard())
        row = shard.row(shop)
        if row is None:
            raise KeyError(shop)
        return self._values(shard)[row]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Column) or type(other) is not type(self):
            return Mapping.__eq__(self, other)
        mine, theirs = self.shards, other.shards
        return mine is theirs or (
            mine.keys() == theirs.keys() and all(self._has_like(mine[key], theirs[key]) for key in mine)
        )

    __hash__ = None  # type: ignore[assignment]  # as any mapping

    def _has_like(self, one: Shard, other: Shard) -> bool:
        return one is other or (one.names == other.names and self._values(one) == self._values(other))

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(shard.names for shard in self.shards.values())

    def __len__(self) -> int:
        return sum(map(len, self.shards.values()))

    def items(self) -> ItemsView[str, _Value]:
        return _Items(self)

    def values(self) -> ValuesView[_Value]:
        return _Values(self)

    def keys(self) -> KeysView[str]:
        return KeysView(self)


class _Items(ItemsView[str, _Value]):
    _mapping: _Column[_Value]

    def __iter__(self) -> Iterator[tuple[str, _Value]]:
        column = self._mapping
        return chain.from_iterable(
            zip(each.names, column._values(each), strict=True) for each in column.shards.values()
        )


class _Values(ValuesView[_Value]):
    _mapping: _Column[_Value]

    def __iter__(self) -> Iterator[_Value]:
        return chain.from_iterable(map(self._mapping._values, self._mapping.shards.values()))


class Members(_Column[str]):
    """Shop -> group."""

    __slots__ = ()

    def _values(self, shard: Shard) -> tuple[str, ...]:
        return shard.groups


class Hosts(_Column[tuple[str, ...]]):
    """Shop -> hosts."""

    __slots__ = ()

    def _values(self, shard: Shard) -> tuple[tuple[str, ...], ...]:
        return shard.hosts
