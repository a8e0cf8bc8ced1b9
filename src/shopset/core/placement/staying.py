"""Shops of which it is not known whether they are still there: a source that is away must not empty the placement. Pure."""

from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

import numpy as np

from shopset.core.placement.edges import EdgeShop
from shopset.core.placement.placements import Placement
from shopset.core.placement.shops import EdgeWish, Shops

_Demand = tuple[float, float]
_Value = TypeVar("_Value")


def with_staying(
    shops: Shops, placement: Placement, unread: Collection[str], *, is_whole: bool, known: Shops | None = None
) -> Shops:
    """Return the shops that were read, and those of the placement that were not and may be there all the same.

    `unread` are shops that are there and cannot be read; where the reading is not whole, every shop of the placement may be.
    They stay as they are placed and served, with the demand that they had in `known`, an earlier reading, where that has them.
    """
    staying = sorted(_missing(shops, placement, unread, is_whole=is_whole))
    if not staying:
        return shops
    groups = placement.groups
    classes = [groups[placement.members[name]].shop_class for name in staying]
    class_names = (*shops.class_names, *sorted(set(classes) - set(shops.class_names)))
    index = {name: number for number, name in enumerate(class_names)}
    names = [*shops.names, *staying]
    hosts = [*shops.hosts, *(tuple(placement.hosts.get(name, ())) for name in staying)]
    kinds = np.concatenate([shops.classes, np.array([index[each] for each in classes], np.int32)])
    demand = np.concatenate([shops.demand, np.array([_demand(known, name) for name in staying], float)])
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    return Shops(
        names=[names[row] for row in order],
        hosts=[hosts[row] for row in order],
        class_names=class_names,
        classes=kinds[order],
        demand=demand[order],
        pins=_moved(shops.pins, order),
        edge=_moved({**shops.edge, **_wishes(placement, len(shops), staying)}, order),
    )


def _missing(shops: Shops, placement: Placement, unread: Collection[str], *, is_whole: bool) -> Iterator[str]:
    if not is_whole:
        read = set(shops.names)
        return (name for name in placement.members if name not in read)
    return (name for name in unread if name in placement.members and shops.row(name) is None)


def _demand(known: Shops | None, name: str) -> _Demand:
    row = None if known is None else known.row(name)
    if known is None or row is None:
        return np.nan, np.nan
    requests, connections = known.demand[row]
    return float(requests), float(connections)


def _wishes(placement: Placement, start: int, staying: list[str]) -> dict[int, EdgeWish]:
    """Return how those that stay are served by the placement, as if their source had said so."""
    known = placement.edge.shops
    found = ((row, known[name]) for row, name in enumerate(staying, start) if name in known) if known else ()
    return {row: _wish(shop) for row, shop in found}


def _wish(shop: EdgeShop) -> EdgeWish:
    rate, burst = (None, None) if shop.limit is None else (shop.limit.requests_per_second, shop.limit.burst)
    return EdgeWish(rate, burst, shop.maintenance)


def _moved(column: Mapping[int, _Value], order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[int, _Value]:
    if not column:
        return {}
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return {int(places[row]): value for row, value in column.items()}
