"""From where groups are to where they are to be, in steps: new replicas come first, and old ones go when those serve."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from shopset.core.fleets import Fleet
from shopset.core.placement._choosing import Option, Share, chosen
from shopset.core.placement._homing import row_of
from shopset.core.placement._targets import REBALANCE, Targets
from shopset.core.placement.modelling import Model, apart_at, wanted_replicas
from shopset.core.placement.placements import Group
from shopset.core.placement.plans import Move, Seen
from shopset.core.placement.problems import Ints


@dataclass(frozen=True)
class Step:
    """What is written now, and what waits."""

    groups: tuple[Group, ...]
    moves: tuple[Move, ...]
    later: tuple[Move, ...]
    wake_at: datetime | None = None
    """When old replicas may go."""
    stranded: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Row -> ShopSets that it is to leave and that serve it for want of another."""


def next_step(fleet: Fleet, seen: Seen, found: Model, goal: Targets) -> Step:
    """Return the next step.

    What is down is served at once. What still serves moves in waves: of all shops only a share is between two ShopSets at a
    time, and no group has fewer replicas alive than it had. What would give a ShopSet too much waits for what makes room.
    """
    return _Stepper(fleet, seen, found, goal).run()


class _Candidate(NamedTuple):
    """A change that may wait."""

    row: int
    after: Group
    move: Move
    settled: Group | None
    """The group without its old replicas, where those may go even if the change waits."""


class _Stepper:
    def __init__(self, fleet: Fleet, seen: Seen, found: Model, goal: Targets) -> None:
        self.fleet, self.seen, self.found, self.goal = fleet, seen, found, goal
        self.waves = fleet.platform.spec.placement.waves
        self.due_at = None if seen.head_at is None else seen.head_at + self.waves.pause
        self.due = self.due_at is None or seen.now >= self.due_at
        self.groups: list[Group] = []
        self.moves: list[Move] = []
        self.later: list[Move] = []
        self.stranded: dict[int, tuple[str, ...]] = {}
        self.legs = found.problem.legs.copy()
        """(G, K): as the step leaves them, without what may wait."""
        self.share = Share(int(found.problem.weight.sum() * self.waves.share / 100))
        self.waits = False

    def run(self) -> Step:
        orders: list[_Candidate] = []
        waves: list[_Candidate] = []
        for row, group in enumerate(self.found.groups):
            wanted = wanted_replicas(self.fleet, group)
            base, tail = group.replicas[:wanted], group.replicas[wanted:]
            target = self._target(row, base, wanted)
            if target == base:
                self._drop(row, group, base, tail)
            else:
                self._change(row, group, base, tail, target, orders, waves)
        self._take_fitting(self._due_orders(orders), waves)
        wake_at = self.due_at if self.waits and not self.due else None
        return Step(tuple(self.groups), tuple(self.moves), tuple(self.later), wake_at, self.stranded)

    def _drop(self, row: int, group: Group, base: tuple[str, ...], tail: tuple[str, ...]) -> None:
        """Let old replicas go when the new ones serve, or when nothing is left of the old ones."""
        if tail and (self._serves(base) or all(map(self._is_gone, tail))):
            self.groups.append(replace(group, replicas=base))
        elif tail:
            self._wait(row)

    def _change(
        self,
        row: int,
        group: Group,
        base: tuple[str, ...],
        tail: tuple[str, ...],
        target: tuple[str, ...],
        orders: list[_Candidate],
        waves: list[_Candidate],
    ) -> None:
        serves = self._serves(base)
        old = base if serves else group.replicas
        leaving = tuple(name for name in old if name not in target and not self._is_gone(name))
        after = replace(group, replicas=target + leaving)
        move = Move(group.name, int(self.found.problem.weight[row]), group.replicas, target, self._why(row, base))
        candidate = _Candidate(row, after, move, replace(group, replicas=base) if tail and serves else None)
        if self._is_urgent(base, target):
            self.share.between += candidate.move.shops if leaving else 0
            self._take(candidate)
            return
        if tail and not serves:
            self._wait(row)
        if set(base) == set(target):
            orders.append(candidate)
        elif serves or not tail:
            waves.append(candidate)
        elif self.due:
            # It is between two ShopSets anyway, and what it came to does not serve.
            self._take(candidate)
        else:
            self.later.append(move)

    def _wait(self, row: int) -> None:
        self.waits = True
        self.share.between += int(self.found.problem.weight[row])

    def _serves(self, base: tuple[str, ...]) -> bool:
        """Whether the replicas of a group have been there for a while, and run: nothing else has to serve it."""
        return self.due and not any(name in self.seen.unready or self._is_gone(name) for name in base)

    def _target(self, row: int, base: tuple[str, ...], wanted: int) -> tuple[str, ...]:
        """Return the replicas that a group is to have; those that serve stay where no other can be had."""
        target = self.found.replicas(self.goal.legs[row])
        spare = [name for name in base if name not in target and not self._is_gone(name)]
        if len(target) < wanted and spare:
            spare.sort(key=lambda name: not self._is_apart(row, name, target))
            kept = tuple(spare[: wanted - len(target)])
            self.stranded[row] = kept
            # One that is not to serve and may keeps its place: only what must move moves.
            return base if set(target + kept) == set(base) else target + kept
        return target

    def _is_apart(self, row: int, name: str, others: tuple[str, ...]) -> bool:
        columns = [self.found.numbers[each] for each in (name, *others)]
        return apart_at(self.found.problem, int(self.found.problem.kind[row]), columns)

    def _is_urgent(self, base: tuple[str, ...], target: tuple[str, ...]) -> bool:
        """Whether something comes that replaces nothing which still serves."""
        arrivals = sum(name not in base for name in target)
        leaving = sum(name not in target and not self._is_gone(name) for name in base)
        return arrivals > leaving or (arrivals == leaving == 0 and set(base) != set(target))

    def _is_gone(self, shopset: str) -> bool:
        """Whether a ShopSet serves nobody: its cluster is lost, or the fleet does not have it, so that no edge knows where it is."""
        found = self.fleet.shopsets.get(shopset)
        record = self.seen.clusters.get(found.spec.cluster) if found else None
        return found is None or (record is not None and record.state == "Lost")

    def _why(self, row: int, base: tuple[str, ...]) -> str:
        if row in self.goal.why:
            return self.goal.why[row]
        cause = next(filter(None, (self._cause(row, name) for name in base)), "")
        if cause or not base:
            return cause or "new"
        target = self.found.replicas(self.goal.legs[row])
        if any(name not in target for name in base):
            return "two of its replicas would fail together"
        arrives = any(name not in base for name in target)
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

    def _take(self, candidate: _Candidate) -> None:
        self.groups.append(candidate.after)
        self.moves.append(candidate.move)
        self.legs[candidate.row] = self._columns(candidate)

    def _columns(self, candidate: _Candidate) -> Ints:
        """Return the replicas that a group has after a change."""
        return row_of(self.legs, [self.found.numbers[name] for name in candidate.move.after])

    def _due_orders(self, orders: list[_Candidate]) -> list[_Candidate]:
        """Return where others of the same replicas may serve first: with what is urgent, or as rarely as waves, which each delays."""
        if self.due or self.moves:
            return orders
        late = [each.move for each in orders if each.move.why != REBALANCE]
        self.waits |= bool(late)
        self.later += late
        return [each for each in orders if each.move.why == REBALANCE]

    def _take_fitting(self, orders: list[_Candidate], waves: list[_Candidate]) -> None:
        """Take what may go now, and let what is left of it wait."""
        candidates = (*orders, *waves)
        options = {each.row: Option(self._columns(each), 0) for each in orders}
        options |= {each.row: Option(self._columns(each), each.move.shops) for each in waves}
        # What is under way makes room yet.
        rests = not self.groups and not self.waits
        pressing = [each.row for each in candidates if rests and each.move.why != REBALANCE]
        taken = chosen(self.found.problem, self.legs, options, self.share, pressing)
        for each in candidates:
            if each.row in taken:
                self._take(each)
                continue
            if each.move.why != REBALANCE:
                # Nobody remembers that somebody asked for it.
                self.later.append(each.move)
            if each.settled is not None:
                self.groups.append(each.settled)


def leftovers(found: Mapping[str, Group], shopsets: frozenset[str]) -> Iterator[str]:
    """Yield the groups that still have a replica on some ShopSets."""
    return (name for name, group in found.items() if not shopsets.isdisjoint(group.replicas))
