"""Plans of a million shops one after the other: nothing changed, one shop more, a cluster lost. CPU seconds.

The peer of each is the same plan by a process that knows nothing yet: the first round of a controller, or a command.
`python bench/bench_placement_rounds.py [SHOPS]`.
"""

import gc
import sys
import time
from dataclasses import replace
from datetime import timedelta
from zlib import crc32

import numpy as np

from measuring import ratio, spread
from shopset.core.fleets import Fleet
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.placement.planning import plan_placement
from shopset.core.placement.plans import PlacementPlan, Seen
from shopset.core.placement.shops import Shops
from shopset.core.release.records import ClusterRecord
from support.placing import STANDARD, placing_fleet
from support.pure import START

CLUSTERS, EACH, RUNS = "abcdefgh", 25, 3
NEW = "shop-0005000-new"


def bits(shops: int) -> int:
    """Return how many bits make groups of about 60 shops."""
    return (shops // 60).bit_length() - 1


def large_fleet(shops: int) -> Fleet:
    """Return eight clusters of 25 ShopSets that bear half as much again as there is."""
    capacity = {"requestsPerSecond": 1.5 * shops / (len(CLUSTERS) * EACH)}
    shopsets = {f"{name}-{n}": {"cluster": name, "capacity": capacity} for name in CLUSTERS for n in range(EACH)}
    classes = {"standard": STANDARD}
    grains = {"groupsPerShopset": 2 ** bits(shops) // len(shopsets)}
    return placing_fleet({name: {} for name in CLUSTERS}, shopsets, classes, placement=grains)


def read(names: list[str]) -> Shops:
    """Return shops as a source has them that is read anew: no string is that of another reading."""
    count, names = len(names), sorted(name.encode().decode() for name in names)
    demand = np.column_stack([np.ones(count), np.full(count, np.nan)])
    return Shops(names, [(f"{name}.example.com",) for name in names], ("standard",), np.zeros(count, np.int32), demand)


def placed(fleet: Fleet, names: list[str]) -> Placement:
    """Return a placement in which nothing is to be done."""
    depth = bits(len(names))
    shopsets, groups = [*fleet.shopsets], [f"standard#{number:0{depth}b}" for number in range(2**depth)]
    size = len(shopsets)
    made = [
        Group(name, "standard", (shopsets[n % size], shopsets[(n + EACH * (1 + n // size % 7)) % size]))
        for n, name in enumerate(groups)
    ]
    rows = (
        PlacedShop(name.encode().decode(), groups[crc32(name.encode()) >> (32 - depth)], (f"{name}.example.com",))
        for name in names
    )
    return Placement.of(made, rows)


def timed(fleet: Fleet, seen: Seen) -> tuple[float, PlacementPlan]:
    """Return the CPU seconds of a plan, and the plan."""
    start = time.process_time()
    made = plan_placement(fleet, seen)
    return time.process_time() - start, made


def main() -> None:
    """Print the seconds of each round beside those of a plan that knows nothing."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    fleet, names = large_fleet(count), [f"shop-{number:07}" for number in range(count)]
    shops, more, placement = read(names), read([*names, NEW]), placed(fleet, names)
    lost = ClusterRecord.model_validate(
        {"cluster": "a", "state": "Lost", "since": START, "by": "X <x@y>", "reason": "fire", "home": f"{0:040x}"}
    )
    seen = Seen(START, shops, placement, head=f"{0:040x}", head_at=START - timedelta(days=1))
    known = plan_placement(fleet, seen).seats
    with_it = replace(seen, shops=more, placement=plan_placement(fleet, replace(seen, shops=more)).placement)
    after = plan_placement(fleet, with_it).seats
    # As in a process that has read them: without the collector going through them.
    gc.collect()
    gc.freeze()
    rounds = (
        ("nothing changed", seen, known, 0),
        ("one shop more, its source read anew", replace(seen, shops=more), known, 1),
        ("once it is placed", with_it, known, 0),
        ("a cluster lost", replace(with_it, clusters={"a": lost}), after, 1),
    )
    for what, given, before, actions in rounds:
        ours, peer = [], []
        for _ in range(RUNS):
            seconds, made = timed(fleet, replace(given, known=before))
            ours.append(seconds)
            seconds, alone = timed(fleet, given)
            peer.append(seconds)
            assert made == alone
            assert len(made.actions) == actions
        print(f"{what:36} {spread(ours)}; by a process that knows nothing {spread(peer)}; {ratio(ours, peer):.2f}")


if __name__ == "__main__":
    main()
