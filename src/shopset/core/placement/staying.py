"""Shops of which it is not known whether they are still there: a source that is away must not empty the placement. Pure."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from shopset.core.placement.placements import Placement
from shopset.core.placement.shops import Shops

_Demand = tuple[float, float]


def with_staying(
    shops: Shops, placement: Placement, unread: Collection[str], *, is_whole: bool, known: Shops | None = None
) -> Shops:
    """Return the shops that were read, and those of the placement that were not and may be there all the same.

    `unread` are shops that are there and cannot be read; where the reading is not whole, every shop of the placement may be.
    They stay as they are placed, with the demand that they had in `known`, an earlier reading, where that has them.
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


def _moved(
    pins: Mapping[int, tuple[str, ...]], order: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> dict[int, tuple[str, ...]]:
    if not pins:
        return {}
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return {int(places[row]): names for row, names in pins.items()}
