"""From where groups are to where they are to be, in steps: new replicas come first, and old ones go when those serve."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from shopset.core.fleets import Fleet
from shopset.core.placement._targets import Targets
from shopset.core.placement.modelling import Model, wanted_replicas
from shopset.core.placement.placements import Group
from shopset.core.placement.plans import Move, Seen


@dataclass(frozen=True)
class Step:
    """What is written now, and what waits."""

    groups: tuple[Group, ...]
    moves: tuple[Move, ...]
    later: tuple[Move, ...]
    wake_at: datetime | None = None
    """When old replicas may go."""


def next_step(fleet: Fleet, seen: Seen, found: Model, goal: Targets) -> Step:
    """Return the next step.

    What is down is served at once. What still serves moves in waves: of all shops only a share is between two ShopSets at a
    time, and no group has fewer replicas alive than it had.
    """
    return _Stepper(fleet, seen, found, goal).run()


@dataclass
class _Stepper:
    fleet: Fleet
    seen: Seen
    found: Model
    goal: Targets

    def __post_init__(self) -> None:
        self.waves = self.fleet.platform.spec.placement.waves
        self.groups: list[Group] = []
        self.moves: list[Move] = []
        self.later: list[Move] = []

    def run(self) -> Step:
        due_at = None if self.seen.head_at is None else self.seen.head_at + self.waves.pause
        due = due_at is None or self.seen.now >= due_at
        between, waiting = 0, False
        waves: list[tuple[Group, Group, Move]] = []
        for row, group in enumerate(self.found.groups):
            wanted = wanted_replicas(self.fleet, group)
            base, tail = group.replicas[:wanted], group.replicas[wanted:]
            weight = int(self.found.problem.weight[row])
            target = self._target(row, base)
            if target == base and tail:
                gone = [name for name in tail if self._is_lost(name)]
                if (due and not any(name in self.seen.unready for name in base)) or len(gone) == len(tail):
                    self.groups.append(replace(group, replicas=base))
                else:
                    waiting, between = True, between + weight
            elif target != base:
                old = base if due else group.replicas
                leaving = tuple(name for name in old if name not in target and not self._is_lost(name))
                after = replace(group, replicas=target + leaving)
                move = Move(group.name, weight, group.replicas, target, self._why(row, base))
                if self._is_urgent(base, target):
                    self._take(after, move)
                elif tail and not due:
                    waiting, between = True, between + weight
                    self.later.append(move)
                else:
                    waves.append((group, after, move))
        self._take_wave(waves, between)
        return Step(tuple(self.groups), tuple(self.moves), tuple(self.later), due_at if waiting and not due else None)

    def _target(self, row: int, base: tuple[str, ...]) -> tuple[str, ...]:
        """Return the replicas that a group is to have; those that serve stay where no other can be had."""
        target = self.found.replicas(self.goal.legs[row])
        if len(target) < len(base):
            target += tuple(name for name in base if name not in target and not self._is_lost(name))
            return target[: len(base)]
        return target

    def _is_urgent(self, base: tuple[str, ...], target: tuple[str, ...]) -> bool:
        """Whether something comes that replaces nothing that still serves, or only the order changes."""
        arrivals = sum(name not in base for name in target)
        leaving = sum(name not in target and not self._is_lost(name) for name in base)
        return arrivals > leaving or arrivals == 0

    def _is_lost(self, shopset: str) -> bool:
        found = self.fleet.shopsets.get(shopset)
        record = self.seen.clusters.get(found.spec.cluster) if found else None
        return record is not None and record.state == "Lost"

    def _why(self, row: int, base: tuple[str, ...]) -> str:
        if row in self.goal.why:
            return self.goal.why[row]
        cause = next(filter(None, (self._cause(row, name) for name in base)), "")
        if cause or not base:
            return cause or "new"
        arrives = any(name not in base for name in self._target(row, base))
        return "it is to have more replicas" if arrives else "another one serves first, so that any domain may be lost"

    def _cause(self, row: int, shopset: str) -> str:
        """Return why a replica has to leave; empty where it has not."""
        found = self.fleet.shopsets.get(shopset)
        if found is None:
            return f"the fleet has no ShopSet {shopset} any more"
        problem, group, column = self.found.problem, self.found.groups[row], self.found.numbers[shopset]
        if problem.leaves[column]:
            return self._departure(found.spec.cluster)
        if not problem.allowed[problem.kind[row], column] and not group.pinned:
            return f"{shopset} serves the class {group.shop_class} no more"
        return ""

    def _departure(self, cluster: str) -> str:
        record = self.seen.clusters.get(cluster)
        if record is None:
            return f"cluster {cluster} is to be empty"
        return (
            f"cluster {cluster} is lost" if record.state == "Lost" else f"cluster {cluster} is emptied: {record.reason}"
        )

    def _take(self, after: Group, move: Move) -> None:
        self.groups.append(after)
        self.moves.append(move)

    def _take_wave(self, waves: list[tuple[Group, Group, Move]], between: int) -> None:
        budget = int(self.found.problem.weight.sum() * self.waves.share / 100)
        for _, after, move in waves:
            if between and between + move.shops > budget:
                self.later.append(move)
                continue
            between += move.shops
            self._take(after, move)


def leftovers(found: Mapping[str, Group], shopsets: frozenset[str]) -> Iterator[str]:
    """Yield the groups that still have a replica on some ShopSets."""
    return (name for name, group in found.items() if not shopsets.isdisjoint(group.replicas))
