"""The way home: where the groups of clusters that return were before, as far as there is room for them."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from shopset.core.fleets import Fleet
from shopset.core.placement._keeping import kept
from shopset.core.placement._room import FULL, Room
from shopset.core.placement.evaluating import loads, worst
from shopset.core.placement.grouping import home_of
from shopset.core.placement.modelling import Model, apart_at
from shopset.core.placement.plans import Seen
from shopset.core.placement.problems import Ints, Problem


@dataclass(frozen=True)
class Homes:
    """Where the groups are once all that comes home is there."""

    legs: Ints
    """(G, K): as in the problem for those that do not come home."""
    why: Mapping[int, str]
    """Row -> why the group goes home now."""
    meanwhile: Mapping[int, Ints]
    """Row -> where a group stays as long as its cluster lacks something."""
    unfit: tuple[str, ...]
    """Groups that cannot go home."""


def homes(fleet: Fleet, seen: Seen, found: Model, pinned: Container[int]) -> Homes:
    """Return the way home of all clusters that return. Groups that are `pinned` go their own way."""
    legs = found.problem.legs.copy()
    why: dict[int, str] = {}
    meanwhile: dict[int, Ints] = {}
    unfit: list[str] = []
    returning = {name: bool(waits_for(fleet, seen, name)) for name in sorted(seen.homes) if _returns(seen, name)}
    if not returning or not len(found.shopsets):
        return Homes(legs, why, meanwhile, ())
    stay = kept(found.problem)
    room = Room(found.problem, stay, found.problem.capacity)
    for cluster, waits in sorted(returning.items(), key=itemgetter(1)):
        for row, there in _homeward(fleet, seen, found, cluster, stay, waits=waits):
            # What waits must be served meanwhile, and what has too few replicas is given others.
            if row in pinned or (waits and (stay[row] >= 0).sum() < found.problem.replicas[row]):
                continue
            before = stay[row].copy()
            shift = room.shift(row, before.tolist(), there.tolist())
            if not room.fits(room.of(shift, frozenset(there.tolist()).difference(before.tolist()))):
                if not waits:
                    unfit.append(found.groups[row].name)
                continue
            room.put(shift)
            stay[row] = legs[row] = there
            if waits:
                meanwhile.setdefault(row, before)
            else:
                why[row] = is_back(cluster)
    now = legs.copy()
    for row, there in meanwhile.items():
        now[row] = there
    if meanwhile and worst(found.problem, loads(found.problem, now)) > FULL:
        # They may wait for long.
        legs, meanwhile = now, {}
    return Homes(legs, why, meanwhile, tuple(unfit))


def _returns(seen: Seen, cluster: str) -> bool:
    record = seen.clusters.get(cluster)
    return record is not None and record.state == "Returning"


def is_back(cluster: str) -> str:
    """Return why groups go home."""
    return f"cluster {cluster} is back"


def row_of(legs: Ints, columns: Sequence[int]) -> Ints:
    """Return some ShopSets as a row of `legs`."""
    row = np.full(legs.shape[1], -1, np.int32)
    row[: len(columns)] = columns
    return row


def waits_for(fleet: Fleet, seen: Seen, cluster: str) -> str:
    """Return what a cluster that returns still lacks; empty where its shops may come."""
    record = seen.clusters.get(cluster)
    wanted, has = record.version if record else "", seen.versions.get(cluster, "")
    if wanted and wanted != has:
        return f"it runs version {has or 'unknown'}, not {wanted}"
    lagging = [f"{name} {seen.unready[name]}" for name in fleet.hosted(cluster) if name in seen.unready]
    return "; ".join(lagging)


def _homeward(
    fleet: Fleet, seen: Seen, found: Model, cluster: str, legs: Ints, *, waits: bool
) -> Iterator[tuple[int, Ints]]:
    """Yield the groups that were on a cluster and are not, with replicas there again; and those that only changed their order."""
    problem, home = found.problem, seen.homes[cluster]
    back = frozenset(
        found.numbers[name]
        for name in fleet.hosted(cluster)
        if (waits or name not in seen.unusable) and not problem.leaves[found.numbers[name]]
    )
    for row, group in enumerate(found.groups):
        before = home_of(home.groups, group.name)
        # Where a person decided otherwise since, that counts.
        if before is None or (group.pinned, group.dedicated) != (before.pinned, before.dedicated):
            continue
        wanted = int(problem.replicas[row])
        then = [found.numbers.get(name, -1) for name in before.replicas[:wanted]]
        there = row_of(legs, _returned(problem, row, then, legs[row, :wanted].tolist(), back))
        if not np.array_equal(there, row_of(legs, [leg for leg in legs[row, :wanted] if leg >= 0])):
            yield row, there


def _returned(problem: Problem, row: int, then: list[int], now: list[int], back: frozenset[int]) -> list[int]:
    """Return the replicas of a group with those on a cluster that is back, each in the place of one that stood in for it."""
    kind = int(problem.kind[row])
    for place, leg in enumerate(then):
        if leg not in back or leg in now or not (problem.allowed[kind, leg] or problem.fixed[row]):
            continue
        free = [each for each, other in enumerate(now) if other < 0 or other not in then]
        if not free:
            continue
        instead = place if place in free else min(free, key=lambda each: now[each] >= 0)
        after = [*now[:instead], leg, *now[instead + 1 :]]
        if apart_at(problem, kind, [each for each in after if each >= 0]):
            now = after
    return [leg for leg in (then if set(now) == set(then) else now) if leg >= 0]
