"""What would be, if domains were lost or demand grew: judged by the planner itself on a copy of the problem. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from shopset.core.capacity.reporting import Note, enumerated, stated, unstated
from shopset.core.errors import ShopsetError
from shopset.core.fleets import Fleet
from shopset.core.placement.evaluating import Loads, Scenarios, loads, moves, role_changes, scenarios, utilisation
from shopset.core.placement.modelling import Model
from shopset.core.placement.problems import Bools, Floats, Ints, Problem
from shopset.core.placement.shops import RESOURCES
from shopset.core.placement.solving import packed, solve

_FULL: Final = 1 + 1e-9
_MOST_ADDED: Final = 64
"""ShopSets that are tried to be added at most, to say how many would do."""
_PLACES: Final = 4
"""Clusters that are tried for them."""
_FACTOR: Final = re.compile(r"x?([0-9]+(?:\.[0-9]+)?)\Z", re.ASCII)


class UnknownDomainError(ShopsetError):
    """What is to be lost, or whose demand is to grow, is not there."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is supposed to happen."""

    lose: tuple[tuple[str, str], ...] = ()
    """Level and domain, as in ("cluster", "a")."""
    demand: float = 1.0
    """By what demand is multiplied."""
    classes: tuple[str, ...] = ()
    """Of which classes; all, where none is named."""


@dataclass(frozen=True, slots=True)
class Load:
    """How loaded one ShopSet is in the resource in which it is loaded most; only what somebody stated a capacity of counts."""

    shopset: str
    resource: str
    load: float
    capacity: float
    lost: str = ""
    """The domain that is lost then, as in `cluster b`; empty where none is."""

    @property
    def share(self) -> float:
        """Load over capacity."""
        return self.load / self.capacity


@dataclass(frozen=True, slots=True)
class State:
    """How a placement stands."""

    worst: Load | None
    """None where no capacity is stated."""
    worst_after_loss: Load | None
    is_safe: bool | None
    """Whether any one more domain may be lost without overload, and without a shop that is down though its class asks for
    replicas apart in such domains; None where that is not known."""
    down_after_loss: int = 0
    """The most such shops."""


@dataclass(frozen=True, slots=True)
class OfClass:
    """What the change means for the shops of one class, in numbers of shops."""

    name: str
    shops: int
    touched: int
    down: int
    degraded: int
    """Served, with fewer replicas than the class asks for, once all are re-placed."""
    unplaced: int
    """Not served even then."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests per second of one ShopSet."""

    before: float
    during: float
    after: float
    capacity: float | None
    """None where nobody stated it."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """What is short once all are re-placed."""

    tier: str
    message: str
    advice: str


@dataclass(frozen=True)
class Outcome:
    """What a change would mean."""

    change: Change
    lost: tuple[str, ...]
    """ShopSets, sorted."""
    shops: int
    """All that are placed."""
    touched: int
    """Shops with a replica on a ShopSet that is lost."""
    down: int
    """Shops with no other, until they are re-placed. Those that had none before do not count."""
    classes: tuple[OfClass, ...]
    down_groups: tuple[str, ...]
    before: State
    during: State
    """After the change, before anything is re-placed."""
    after: State
    """Once all are re-placed."""
    moves: int
    """Replicas of shops that would move."""
    least_moves: int
    """Without these it cannot be done."""
    role_changes: int
    requests: Mapping[str, Requests] = field(default_factory=dict)
    """Of each ShopSet."""
    shortages: tuple[Shortage, ...] = ()
    notes: tuple[Note, ...] = ()


def parse_factor(text: str) -> float:
    """Return the factor of `x2` or `1.5`. Raises UnknownDomainError."""
    found = _FACTOR.match(text)
    factor = float(found[1]) if found else 0.0
    if not 0 < factor <= 1e6:
        raise UnknownDomainError(f"{text!r} is no factor of demand: write it as in x2 or x1.5")
    return factor


def parse_loss(text: str) -> tuple[str, str]:
    """Return level and domain of `cluster=a`. Raises UnknownDomainError."""
    level, equals, domain = text.partition("=")
    if not (level and equals and domain):
        raise UnknownDomainError(
            f"{text!r} names nothing to lose: write it as in cluster=a, region=tokyo or shopset=a-1"
        )
    return level, domain


def lost_shopsets(fleet: Fleet, lose: Collection[tuple[str, str]]) -> frozenset[str]:
    """Return the ShopSets that are lost with some domains. Raises UnknownDomainError."""
    return frozenset(name for level, domain in lose for name in _lost_with(fleet, level, domain))


def simulate(fleet: Fleet, model: Model, change: Change) -> Outcome:
    """Return what a change would mean for a placement. Raises UnknownDomainError."""
    _check_classes(fleet, change.classes)
    lost = lost_shopsets(fleet, change.lose)
    gone = np.isin(np.array(model.shopsets, dtype=object), list(lost))
    was = model.problem
    during = _changed(model, change, gone)
    legs = packed(np.where(np.append(gone, False)[was.legs], np.int32(-1), was.legs))
    solution = solve(during)
    judge = _Judge(model, during)
    after = judge.state(solution.legs, solution.bound_n1)
    found = _Changed(model, during, legs, solution.legs, gone)
    return Outcome(
        change=change,
        lost=tuple(sorted(lost)),
        shops=int(was.weight[(was.legs >= 0).any(1)].sum()),
        touched=int(was.weight[found.touched].sum()),
        down=int(was.weight[found.down].sum()),
        classes=found.classes(),
        down_groups=tuple(each.name for each, down in zip(model.groups, found.down, strict=True) if down),
        before=_Judge(model, was).state(was.legs),
        during=judge.state(legs),
        after=after,
        moves=moves(during, solution.legs),
        least_moves=found.least_moves,
        role_changes=role_changes(during, solution.legs),
        requests=_requests(model, during, legs, solution.legs),
        shortages=_shortages(fleet, model, during, solution.legs, change, solution.bound_n1),
        notes=tuple(unstated(fleet, [name for name in model.shopsets if _serves(model, name) and name not in lost])),
    )


def _changed(model: Model, change: Change, gone: Bools) -> Problem:
    problem = model.problem
    chosen = np.array([not change.classes or each.shop_class in change.classes for each in model.groups], bool)
    # A shop remains one shop, however many people visit it.
    factors = np.where(problem.follows_traffic, change.demand, 1.0)
    demand = np.where(chosen[:, None], problem.demand * factors, problem.demand)
    return replace(problem, demand=demand, takes=problem.takes & ~gone, leaves=problem.leaves | gone)


def _serves(model: Model, name: str) -> bool:
    return bool(model.problem.allowed[:, model.numbers[name]].any())


def _lost_with(fleet: Fleet, level: str, domain: str) -> tuple[str, ...]:
    if level == "shopset":
        if domain not in fleet.shopsets:
            raise UnknownDomainError(f"there is no ShopSet {domain!r}; there are {enumerated(tuple(fleet.shopsets))}")
        return (domain,)
    key = fleet.failure_domains[level].spec.topology_key if level in fleet.failure_domains else level
    of_clusters = {name: each.topology.get(key) for name, each in fleet.clusters.items()}
    known = sorted({value for value in of_clusters.values() if value is not None})
    if not known:
        levels = sorted({"cluster", "shopset", *fleet.failure_domains, *_topology_keys(fleet)})
        raise UnknownDomainError(f"no cluster has a {level}; what can be lost is a {', a '.join(levels)}")
    if domain not in known:
        raise UnknownDomainError(f"there is no {level} {domain!r}; there are {enumerated(known)}")
    return tuple(name for name, each in fleet.shopsets.items() if of_clusters[each.spec.cluster] == domain)


def _topology_keys(fleet: Fleet) -> set[str]:
    return {key for each in fleet.clusters.values() for key in each.topology}


def _check_classes(fleet: Fleet, classes: Sequence[str]) -> None:
    for name in classes:
        if name not in fleet.shop_classes:
            raise UnknownDomainError(
                f"there is no ShopClass {name!r}; there are {enumerated(tuple(fleet.shop_classes))}"
            )


def _requests(model: Model, during: Problem, legs: Ints, after: Ints) -> dict[str, Requests]:
    known = stated(model)[:, 0]
    found = np.column_stack(
        [
            loads(model.problem, model.problem.legs).normal[:, 0],
            loads(during, legs).normal[:, 0],
            loads(during, after).normal[:, 0],
        ]
    )
    capacity = model.problem.capacity[:, 0]
    return {
        name: Requests(float(was), float(now), float(then), float(capacity[number]) if known[number] else None)
        for number, (name, (was, now, then)) in enumerate(zip(model.shopsets, found, strict=True))
    }


@dataclass(frozen=True)
class _Changed:
    """What the change does to each group: by rows of the problem."""

    model: Model
    problem: Problem
    legs: Ints
    """What is left at once."""
    after: Ints
    gone: Bools

    @property
    def touched(self) -> Bools:
        """(G,): a replica is lost."""
        return np.asarray(np.append(self.gone, False)[self.model.problem.legs].any(1))

    @property
    def down(self) -> Bools:
        """(G,): all replicas are lost."""
        return np.asarray(self.touched & (self.legs < 0).all(1))

    @property
    def unplaced(self) -> Bools:
        """(G,): no ShopSet takes it."""
        return np.asarray((self.after < 0).all(1))

    @property
    def degraded(self) -> Bools:
        """(G,): served, with fewer replicas than it is to have."""
        return np.asarray(~self.unplaced & ((self.after >= 0).sum(1) < self.problem.replicas))

    @property
    def least_moves(self) -> int:
        """How many replicas of shops must come to other ShopSets, for there to be as many of each as there are."""
        staying = (self.problem.legs >= 0) & ~self.problem.leaves[self.problem.legs]
        needed = np.maximum((self.after >= 0).sum(1) - staying.sum(1), 0)
        return int((needed * self.problem.weight).sum())

    def classes(self) -> tuple[OfClass, ...]:
        """Return the numbers of each class that has shops."""
        found = []
        for name in self.model.classes:
            here = np.array([each.shop_class == name for each in self.model.groups], bool)
            if here.any():
                rows = (np.ones_like(here), self.touched, self.down, self.degraded, self.unplaced)
                found.append(OfClass(name, *(int(self.problem.weight[here & row].sum()) for row in rows)))
        return tuple(found)


@dataclass(frozen=True)
class _Judge:
    """Says how loaded ShopSets are, by what was stated of them."""

    model: Model
    problem: Problem

    def state(self, legs: Ints, bound: float = 0.0) -> State:
        """Judge some replicas. `bound` is what no placement is below after a loss."""
        found, losses = loads(self.problem, legs), scenarios(self.problem)
        down = self._down(found, losses)
        worst, after = self._worst(found.rows[:1], losses), self._worst(found.rows, losses)
        if after is None:
            return State(None, None, False if down else None, down)
        safe = True if after.share <= _FULL else False if bound > _FULL or bound == 0.0 else None
        return State(worst, after, False if down else safe, down)

    def _down(self, found: Loads, losses: Scenarios) -> int:
        """Return how many shops at most would be down, though their class asks for replicas apart at that level."""
        problem = self.problem
        asked = (problem.apart[problem.kind] & (problem.replicas > 1)[:, None])[:, losses.level].T
        return int(((found.down[1:] & ~found.down[0] & asked) @ problem.weight).max(initial=0))

    def shares(self, rows: Floats) -> Floats:
        """Return load over capacity where one is stated, else 0."""
        return np.asarray(utilisation(self.problem, rows) * stated(self.model))

    def _worst(self, rows: Floats, losses: Scenarios) -> Load | None:
        if not stated(self.model).any():
            return None
        shares = self.shares(rows)
        row, column, resource = (int(each) for each in np.unravel_index(int(shares.argmax()), shares.shape))
        if not stated(self.model)[column, resource]:
            # Nothing is loaded anywhere: the first that is stated stands for all.
            column, resource = (int(each) for each in np.argwhere(stated(self.model))[0])
        return Load(
            self.model.shopsets[column],
            RESOURCES[resource],
            float(rows[row, column, resource]),
            float(self.problem.capacity[column, resource]),
            _domain(self.model, losses, row - 1) if row else "",
        )


def _domain(model: Model, losses: Scenarios, scenario: int) -> str:
    level = int(losses.level[scenario])
    return f"{model.levels[level]} {model.domains[level][int(losses.domain[scenario])]}"


# -- what is short


def _shortages(
    fleet: Fleet, model: Model, problem: Problem, legs: Ints, change: Change, bound: float
) -> tuple[Shortage, ...]:
    """Return what is short in each pool of ShopSets, and what would do: it is tried with the planner."""
    judge, state = _Judge(model, problem), loads(problem, legs)
    over = np.asarray((judge.shares(state.rows) > _FULL).any(2))
    missing = (legs >= 0).sum(1) < problem.replicas
    found = []
    for key in sorted({_pool_of(fleet, name) for name in model.shopsets}):
        columns = np.array([_pool_of(fleet, name) == key for name in model.shopsets], bool)
        short = missing & np.asarray(problem.allowed[:, columns].any(1))[problem.kind]
        if over[:, columns].any() or short.any():
            words = _words(model, problem, state, over & columns, short, bound)
            found.append(Shortage(key[0], words, _Adviser(fleet, model, problem, legs, columns, key).advice(change)))
    return tuple(found)


def _pool_of(fleet: Fleet, name: str) -> tuple[str, str, bool]:
    spec = fleet.shopsets[name].spec
    return spec.tier, spec.configuration, spec.dedicated


def _words(model: Model, problem: Problem, state: Loads, over: Bools, short: Bools, bound: float) -> str:
    """Say who would be overloaded, when, and by how much; and whose replicas are missing."""
    said = []
    if over.any():
        losses, counted = scenarios(problem), over[:, :, None] & stated(model)
        excess = np.where(counted, np.maximum(state.rows - problem.capacity, 0), 0.0)
        # What is so already comes before what would be so after one more loss.
        rows = excess[:1] if excess[0].any() else excess
        row, resource = (int(each) for each in np.unravel_index(int(rows.sum(1).argmax()), rows.sum(1).shape))
        names = enumerated([model.shopsets[column] for column in np.flatnonzero(rows[row, :, resource])])
        when = f" if {_domain(model, losses, row - 1)} were lost too" if row else ""
        unit = RESOURCES[resource] + ("/s" if RESOURCES[resource] == "requests" else "")
        proven = "" if bound > _FULL or row == 0 else " (not proven: another placement might do)"
        said.append(f"{names} would overload by {rows[row, :, resource].sum():,.0f} {unit}{when}{proven}")
    if short.any():
        shops = int(problem.weight[short].sum())
        said.append(f"{shops:,} shop{'' if shops == 1 else 's'} would lack a replica in a domain of its own")
    return "; ".join(said)


@dataclass(frozen=True)
class _Adviser:
    """Tries how many ShopSets more, and where, would do for one pool."""

    fleet: Fleet
    model: Model
    problem: Problem
    legs: Ints
    columns: Bools
    """(S,): the pool."""
    key: tuple[str, str, bool]

    def advice(self, change: Change) -> str:
        """Say what to add where: the fewest ShopSets like the others with which the planner finds nothing short."""
        alone = self._too_large()
        if alone:
            verb, words = ("takes", "it") if len(alone) == 1 else ("take", "each of them")
            return f"{enumerated(alone)} {verb} more than one ShopSet bears: spread {words} over more replicas (shopctl shop spread)"
        count = self._fewest()
        if count is None:
            return (
                f"{_MOST_ADDED} ShopSets more would not do: ask for fewer replicas, or for fewer domains that are apart"
            )
        if count == 0:
            return "no ShopSet is missing: shopctl rebalance evens out the loads (tried, and enough)"
        what = f"{self.key[0]} ShopSet{'' if count == 1 else 's'}"
        if any(each.spec.configuration != self.key[1] for each in self.fleet.members(self.key[0])):
            what += f" of configuration {self.key[1]}"
        if stated(self.model)[self.columns, 0].any():
            what += f" of {self._typical()[0]:,.0f} requests/s{' each' if count > 1 else ''}"
        return f"add {count} {what} {self._where(count, change)} (tried, and enough)"

    def _too_large(self) -> list[str]:
        """Return groups that no ShopSet of the pool bears, so that more of them would not help."""
        problem, known = self.problem, stated(self.model)[self.columns]
        most = np.where(known, problem.capacity[self.columns], np.inf).max(0, initial=0.0)
        each = problem.demand / np.where(problem.follows_traffic, np.maximum(problem.active, 1)[:, None], 1)
        here = np.asarray(problem.allowed[:, self.columns].any(1))[problem.kind]
        return [self.model.groups[row].name for row in np.flatnonzero(here & (each > most).any(1))]

    def _where(self, count: int, change: Change) -> str:
        """Say on which clusters they would do, and whether shops have to be moved to them then."""
        clusters = self._places()
        choices = [[name] for name in clusters[:_PLACES]] if count == 1 else [clusters]
        places = [each for each in choices if each and self._does(count, each, free=True)]
        then = "" if self._does(count, places[0] if places else [], free=False) else ", then shopctl rebalance"
        if places and count == 1:
            return f"on {_either([each[0] for each in places])}{then}"
        if places:
            return f"spread over {enumerated(places[0])}{then}"
        more = next(
            (count + n for n in range(1, _PLACES) if clusters and self._does(count + n, clusters, free=True)), 0
        )
        beside = f", or {more} spread over {enumerated(clusters)}" if more else ""
        outside = enumerated([f"{level} {domain}" for level, domain in change.lose])
        beyond = f", outside {outside}" if outside else ""
        return f"on a cluster in a domain of its own{' each' if count > 1 else ''}{beyond}{beside}{then}"

    def _places(self) -> list[str]:
        """Return clusters that take shops, those with the fewest ShopSets of the pool first."""
        hosts: dict[str, int] = {}
        for number, name in enumerate(self.model.shopsets):
            cluster = self.fleet.shopsets[name].spec.cluster
            if self.problem.takes[number]:
                hosts[cluster] = hosts.get(cluster, 0) + int(self.columns[number])
        return sorted(hosts, key=lambda name: (hosts[name], name))

    def _fewest(self) -> int | None:
        """Return the fewest that do, each on a cluster of its own: from those without which it cannot be, by doubling."""
        least = self._needed() - 1
        most = least + 1
        while not self._does(most, [], free=True):
            least, most = most, most + max(most - self._needed(), 1)
            if most > _MOST_ADDED:
                return None
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (least, middle) if self._does(middle, [], free=True) else (middle, most)
        return most

    def _needed(self) -> int:
        """Return how many there have to be for the loads to fit in the pool at all, whatever is lost."""
        problem, state = self.problem, loads(self.problem, self.legs)
        lost = np.vstack([np.zeros(len(problem.capacity), bool), scenarios(problem).lost])
        there = np.where((self.columns & ~problem.leaves & ~lost)[:, :, None], problem.capacity, 0.0).sum(1)
        missing = np.maximum(state.rows[:, self.columns].sum(1) - there, 0.0)
        return int(np.ceil((missing / self._typical()).max(initial=0.0) - 1e-9))

    def _does(self, count: int, clusters: Sequence[str], *, free: bool) -> bool:
        """Whether so many more, spread over clusters or each on one of its own, leave nothing short in the pool.

        Where moves are `free` all shops are placed anew, but those that a person pinned.
        """
        wider, known = self._with(count, clusters)
        if free:
            stays = wider.fixed[:, None] & ~wider.leaves[wider.legs]
            wider = replace(wider, legs=packed(np.where(stays, wider.legs, np.int32(-1))))
        legs = solve(wider).legs
        shares = utilisation(wider, loads(wider, legs).rows) * known
        pool = np.append(self.columns, np.ones(count, bool))
        short = (legs >= 0).sum(1) < wider.replicas
        of_pool = np.asarray(wider.allowed[:, pool].any(1))[wider.kind]
        return not ((shares[:, pool] > _FULL).any() or (short & of_pool).any())

    def _with(self, count: int, clusters: Sequence[str]) -> tuple[Problem, Bools]:
        """Return the problem with more ShopSets, and which capacities are stated then."""
        problem, template = self.problem, int(np.flatnonzero(self.columns)[0])
        capacity = np.tile(self._typical(), (count, 1))
        if clusters:
            of_clusters = {self.fleet.shopsets[name].spec.cluster: at for at, name in enumerate(self.model.shopsets)}
            fresh = problem.domains[:, [of_clusters[clusters[n % len(clusters)]] for n in range(count)]]
        else:
            fresh = problem.domains.max(1, initial=-1)[:, None] + 1 + np.arange(count)
        known = np.vstack([stated(self.model), np.isfinite(capacity)])
        wider = replace(
            problem,
            capacity=np.vstack([problem.capacity, capacity]),
            domains=np.hstack([problem.domains, fresh.astype(np.int32)]),
            takes=np.append(problem.takes, np.ones(count, bool)),
            leaves=np.append(problem.leaves, np.zeros(count, bool)),
            allowed=np.hstack([problem.allowed, np.repeat(problem.allowed[:, template : template + 1], count, axis=1)]),
        )
        return wider, known

    def _typical(self) -> Floats:
        return np.asarray(np.median(self.problem.capacity[self.columns], axis=0))


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
