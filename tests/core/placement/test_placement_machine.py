"""Weeks of random events: after every step shops are served, apart and in one group, and only what must move has moved."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shopset.core.fleets import Fleet
from shopset.core.placement.placements import Group, Placement
from shopset.core.placement.plans import PlacementPlan
from shopset.core.placement.requests import (
    DrainCluster,
    Isolate,
    LoseCluster,
    PlacementRequest,
    Rebalance,
    Release,
    ReturnCluster,
    Serve,
    Spread,
)
from shopset.core.release.refusals import RequestRefusedError
from support.placing import SINGLE, STANDARD, make_shops, placing_fleet
from support.placing_checks import (
    are_apart,
    between,
    check_rest,
    check_step,
    check_whole,
    live,
    must_leave,
    serves,
    takes,
    wanted,
    weights,
)
from support.placing_world import LostRaceError, PlacingWorld

CLUSTERS: Mapping[str, Mapping[str, str]] = {
    "a": {"region": "east"},
    "b": {"region": "east"},
    "c": {"region": "west"},
    "d": {"region": "north"},
}
CLASSES: Mapping[str, Mapping[str, Any]] = {
    "standard": STANDARD,
    "single": SINGLE,
    "wide": {**STANDARD, "across": ["cluster", "region"]},
}
CHOICE = st.integers(0, 11)
"""Picks a cluster, a shop or a ShopSet: taken modulo how many there are."""
CRASH = st.none() | st.none() | st.integers(0, 1)
"""Actions after which a process dies; mostly it does not."""
WHY: dict[str, Any] = {"reason": "chance"}


def make_fleet(shopsets: Mapping[str, float]) -> Fleet:
    """Return the fleet of some ShopSets, by name (as in `a-1`) -> requests a second."""
    specs = {
        name: {
            "cluster": name[0],
            "capacity": {"requestsPerSecond": size},
            "dedicated": name.endswith("-own"),
            "endpoint": f"http://{name}.example.com",
        }
        for name, size in shopsets.items()
    }
    waves = {"groupsPerShopset": 2, "waves": {"share": 20}}
    return placing_fleet(CLUSTERS, specs, CLASSES, ("cluster", "region"), placement=waves)


class PlacementMachine(RuleBasedStateMachine):
    """What shops, clusters, ShopSets and people may do, in any order, with two planners."""

    @initialize(shops=st.integers(0, 14), small=st.booleans())
    def begin(self, shops: int, small: bool) -> None:
        size = 8.0 if small else 60.0
        self.sizes = {f"{name}-{n}": size for name in CLUSTERS for n in (1, 2)} | {"c-own": 50.0, "d-own": 50.0}
        self.demand = {f"shop-{n}": ([*CLASSES][n % 3], 1.0 + n % 4) for n in range(shops)}
        self.count = shops
        self.world = PlacingWorld(make_fleet(self.sizes), self.shops())
        self.stale: PlacementPlan | None = None

    def shops(self) -> Any:
        return make_shops([(name, shop_class, demand) for name, (shop_class, demand) in self.demand.items()])

    def act(self, plan: PlacementPlan, crash: int | None) -> None:
        before, waiting = self.world.placement, between(self.world)
        try:
            self.world.act(plan, 99 if crash is None else crash)
        except LostRaceError:
            assert plan is self.stale
        check_step(self.world, before, self.world.placement)
        self.check_arrivals(before, plan)
        self.check_wave(before, waiting, plan)

    def check_arrivals(self, before: Placement, plan: PlacementPlan) -> None:
        """A replica comes only where it may, apart from those that stay, and not without need."""
        world, cured = (
            self.world,
            {each.group for each in plan.moves if "overloaded" in each.why or each.why == "rebalance"},
        )
        after = world.placement
        for name in after.groups.keys() & before.groups.keys():
            old, new = before.groups[name], after.groups[name]
            came = set(new.replicas) - set(old.replicas)
            if not came or self.asked(plan):
                continue
            base = old.replicas[: wanted(world.fleet, old)]
            must = [each for each in base if must_leave(world, old, each)]
            lacks = wanted(world.fleet, new) - len(base)
            returned = any(record.state == "Returning" for record in world.records.values())
            near = not are_apart(world.fleet, old, [each for each in base if each not in must])
            assert len(came) <= len(must) + lacks or near or returned or name in cured, f"{old} -> {new}"
            if not returned:
                assert all(takes(world, each) and serves(world.fleet, new, each) for each in came)
            stays = [each for each in new.replicas[: wanted(world.fleet, new)] if not must_leave(world, new, each)]
            assert are_apart(world.fleet, new, stays)

    def check_wave(self, before: Placement, waiting: int, plan: PlacementPlan) -> None:
        """Of what need not move at once only a share is between two ShopSets, or one group, or what people asked for."""
        count = between(self.world)
        if count <= waiting or self.asked(plan):
            return
        urgent = sum(each.shops for each in plan.moves if self.is_urgent(before, each.group))
        largest = max(weights(self.world.placement).values())
        assert count <= max(waiting, len(self.world.shops) * 20 // 100, largest) + urgent

    def is_urgent(self, before: Placement, name: str) -> bool:
        group = before.groups.get(name)
        if group is None:
            return True
        base = group.replicas[: wanted(self.world.fleet, group)]
        return len(live(self.world, base)) < wanted(self.world.fleet, group)

    def asked(self, plan: PlacementPlan) -> bool:
        return any("asked for it" in why for action in plan.actions for why in action.why)

    def cluster(self, choice: int) -> str:
        return [*CLUSTERS][choice % len(CLUSTERS)]

    def shop(self, choice: int) -> str:
        return [*self.demand][choice % len(self.demand)] if self.demand else "nobody"

    def ask(self, request: PlacementRequest, crash: int | None = None) -> None:
        try:
            plan = self.world.respond(request)
        except RequestRefusedError:
            return
        self.act(plan, crash)

    # -- planners

    @rule(crash=CRASH, rounds=st.integers(1, 4))
    def run(self, crash: int | None, rounds: int) -> None:
        for _ in range(rounds):
            self.act(self.world.plan(), crash)
            self.world.now += timedelta(seconds=16)

    @rule()
    def look(self) -> None:
        self.stale = self.world.plan()

    @precondition(lambda self: self.stale is not None)
    @rule()
    def act_late(self) -> None:
        """A slow planner does what it decided on long ago: it loses wherever anything was decided since."""
        assert self.stale is not None
        world = self.world
        same = all(
            commit.parent == (world.ledger_head if commit.branch == "ledger" else world.head)
            for action in self.stale.actions
            for commit in action.commits
        )
        files, records = world.files, dict(world.records)
        try:
            world.act(self.stale)
        except LostRaceError:
            assert not same
        if not same and len(self.stale.actions) == 1:
            assert (world.files, world.records) == (files, records)
        self.stale = None

    @rule()
    def rest(self) -> None:
        """Everybody waits until nothing is left to do."""
        for _ in range(80):
            plan = self.world.plan()
            self.act(plan, None)
            if not plan.actions:
                if plan.wake_at is None:
                    break
                self.world.now = plan.wake_at
        else:
            raise AssertionError(self.world.subjects[-6:])
        check_whole(self.world)
        assert set(self.world.placement.members) == set(self.demand)
        check_rest(self.world)
        self.check_capacity(plan)

    def check_capacity(self, plan: PlacementPlan) -> None:
        """No ShopSet has more than it bears unless people are told."""
        load = dict.fromkeys(self.sizes, 0.0)
        for shop, (_, demand) in self.demand.items():
            group = self.world.placement.groups[self.world.placement.members[shop]]
            serving = group.replicas[: max(group.spread, 1)]
            for name in serving:
                load[name] += demand / len(serving)
        over = [name for name, each in load.items() if each > self.sizes[name] + 1e-6]
        told = [each for each in plan.conditions if each.reason in ("CapacityShort", "NotProven")]
        assert told or not over

    # -- shops

    @rule(shop_class=st.sampled_from([*CLASSES]), demand=st.sampled_from([1.0, 3.0, 20.0]))
    def come(self, shop_class: str, demand: float) -> None:
        self.demand[f"shop-{self.count}"] = (shop_class, demand)
        self.count += 1
        self.world.shops = self.shops()

    @precondition(lambda self: self.demand)
    @rule(choice=CHOICE)
    def go(self, choice: int) -> None:
        del self.demand[self.shop(choice)]
        self.world.shops = self.shops()

    @precondition(lambda self: self.demand)
    @rule(choice=CHOICE, factor=st.sampled_from([0.2, 3.0]))
    def grow(self, choice: int, factor: float) -> None:
        shop = self.shop(choice)
        shop_class, demand = self.demand[shop]
        self.demand[shop] = (shop_class, min(max(demand * factor, 0.5), 60.0))
        self.world.shops = self.shops()

    @precondition(lambda self: self.demand)
    @rule(choice=CHOICE, shop_class=st.sampled_from([*CLASSES]))
    def change_class(self, choice: int, shop_class: str) -> None:
        shop = self.shop(choice)
        self.demand[shop] = (shop_class, self.demand[shop][1])
        self.world.shops = self.shops()

    # -- clusters and ShopSets

    @rule(choice=CHOICE, crash=CRASH)
    def lose(self, choice: int, crash: int | None) -> None:
        if sum(record.state == "Lost" for record in self.world.records.values()) < 2:
            self.ask(LoseCluster(cluster=self.cluster(choice), **WHY), crash)

    @rule(choice=CHOICE, crash=CRASH)
    def drain(self, choice: int, crash: int | None) -> None:
        self.ask(DrainCluster(cluster=self.cluster(choice), **WHY), crash)

    @rule(choice=CHOICE, crash=CRASH)
    def bring_back(self, choice: int, crash: int | None) -> None:
        self.ask(ReturnCluster(cluster=self.cluster(choice), **WHY), crash)

    @rule(name=st.sampled_from(["a-1", "b-2", "c-1", "d-2", "d-3"]), size=st.sampled_from([0.0, 6.0, 60.0]))
    def resize(self, name: str, size: float) -> None:
        """Add, resize or (without any size) remove a ShopSet."""
        self.sizes = {each: old for each, old in self.sizes.items() if each != name} | ({name: size} if size else {})
        self.world.unready.pop(name, None)
        self.world.unusable.discard(name)
        self.world.fleet = make_fleet(self.sizes)

    @rule(choice=CHOICE, state=st.sampled_from(["", "is Progressing", "is Degraded"]))
    def look_ill(self, choice: int, state: str) -> None:
        name = sorted(self.sizes)[choice % len(self.sizes)]
        self.world.unready.pop(name, None)
        self.world.unusable.discard(name)
        if state:
            self.world.unready[name] = state
        if state == "is Degraded":
            self.world.unusable.add(name)

    # -- people

    @rule(choice=CHOICE, one=CHOICE, two=CHOICE, pinned=st.booleans())
    def serve(self, choice: int, one: int, two: int, pinned: bool) -> None:
        names, found = sorted(self.sizes), self.world.placement.shop(self.shop(choice))
        number = wanted(self.world.fleet, found.group) if found else 1
        chosen = tuple(names[(one + n * (two + 1)) % len(names)] for n in range(number))
        self.ask(Serve(shop=self.shop(choice), replicas=chosen, pinned=pinned, **WHY))

    @rule(
        choice=CHOICE,
        kind=st.sampled_from([Isolate, Release, lambda **given: Spread(replicas=3, **given)]),
    )
    def regard(self, choice: int, kind: Callable[..., PlacementRequest]) -> None:
        self.ask(kind(shop=self.shop(choice), **WHY))

    @rule(most=st.integers(1, 5))
    def rebalance(self, most: int) -> None:
        self.ask(Rebalance(most=most, **WHY))

    # -- always

    @invariant()
    def edges_can_serve(self) -> None:
        """Whatever a group names is known to edges, also while the fleet has it no more."""
        placement = self.world.placement
        for group in placement.groups.values():
            assert group.shop_class in placement.edge.classes
            assert placement.edge.shopsets.keys() >= set(group.replicas)

    @invariant()
    def whole(self) -> None:
        if hasattr(self, "world"):
            groups: dict[str, Group] = dict(self.world.placement.groups)
            assert set(self.world.placement.members.values()) <= set(groups)


TestPlacementMachine = PlacementMachine.TestCase
TestPlacementMachine.settings = settings(max_examples=25, stateful_step_count=25)
