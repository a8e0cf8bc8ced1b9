"""Random fleets, pushes, failures, requests, crashes and races: whatever happens, the oracle finds no broken rule."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from model.bases import Behaviour
from model.fleets import CLUSTERS, TIERS, Design, designs, members
from model.repositories import NAMES
from model.wishes import Member
from model.worlds import PEOPLE, Process, World
from shopset.core.release.actions import Identity
from shopset.core.release.requests import Approve, Hold, Hotfix, Request, Resume, Retry, RollBack

THOROUGH = os.environ.get("SHOPSET_THOROUGH") == "1"
CRASHES = st.none() | st.none() | st.integers(0, 9)
"""Steps after which an engine crashes; mostly it does not."""
CHOICES = st.integers(0, 11)
"""Picks a tier, a ShopSet or a process: taken modulo how many there are."""
BEHAVIOURS = st.one_of(
    st.just(Behaviour()),
    st.builds(Behaviour, starting=st.integers(0, 9)),
    st.builds(Behaviour, degraded=st.sampled_from(["*", *TIERS]).map(lambda tier: (tier,))),
    st.just(Behaviour(builds=False)),
)
people = st.sampled_from(PEOPLE)
sources = st.sampled_from(["apps", "configuration"])


class ReleaseMachine(RuleBasedStateMachine):
    """What developers, people who release, clusters, networks and two engines may do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="shopset-model-"))
        self.world: World

    @initialize(design=designs(), releases=st.integers(0, 3))
    def begin(self, design: Design, releases: int) -> None:
        self.world = World(self.folder, design)
        self.world.develop(Behaviour())
        for _ in range(releases):
            self.world.settle()

    def tier(self, choice: int) -> str:
        names = list(self.world.design.levels)
        return names[choice % len(names)]

    def process(self, choice: int) -> Process:
        return self.world.processes[choice % 2]

    # -- engines

    @rule(choice=CHOICES, crash=CRASHES, seconds=st.integers(1, 8))
    def run(self, choice: int, crash: int | None, seconds: int) -> None:
        self.world.run(self.process(choice), crash)
        self.world.advance(seconds)

    @rule(rounds=st.integers(2, 9), choice=CHOICES)
    def go_on(self, rounds: int, choice: int) -> None:
        for _ in range(rounds):
            self.world.run(self.process(choice))
            self.world.check()
            self.world.advance(4)

    @rule(behaviour=BEHAVIOURS, rounds=st.integers(4, 14))
    def release(self, behaviour: Behaviour, rounds: int) -> None:
        self.world.develop(behaviour)
        self.go_on(rounds, 0)

    @precondition(lambda self: any(process.prepared is None for process in self.world.processes))
    @rule()
    def plan_ahead(self) -> None:
        self.world.prepare(next(process for process in self.world.processes if process.prepared is None))

    @rule(meanwhile=st.sampled_from(["run", "hold", "resume", "push", "roll back"]), choice=CHOICES, crash=CRASHES)
    def race(self, meanwhile: str, choice: int, crash: int | None) -> None:
        slow, fast = self.world.processes
        tier = self.tier(choice)
        requests: dict[str, Request] = {
            "hold": Hold(tier=tier, reason="stop"),
            "resume": Resume(tier=tier, reason="go"),
            "roll back": RollBack(tier=tier, reason="it is slow"),
        }
        self.world.prepare(slow)
        if meanwhile == "push":
            self.world.develop(Behaviour())
        if meanwhile in requests:
            self.world.ask(fast, requests[meanwhile], PEOPLE[0])
        else:
            self.world.run(fast, crash)
        self.world.carry_out(slow)

    @precondition(lambda self: any(process.prepared for process in self.world.processes))
    @rule(crash=CRASHES)
    def act_late(self, crash: int | None) -> None:
        self.world.carry_out(next(process for process in self.world.processes if process.prepared), crash)

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    # -- developers

    @rule(behaviour=BEHAVIOURS, configuration=st.booleans())
    def push(self, behaviour: Behaviour, configuration: bool) -> None:
        self.world.develop(behaviour, configuration=configuration)

    @rule(components=st.sampled_from([("cart",), ("cart", "page"), ("page",)]))
    def push_other_components(self, components: tuple[str, ...]) -> None:
        self.world.components = components
        self.world.develop(Behaviour())

    @rule(repository=sources, choice=CHOICES)
    def push_astray(self, repository: str, choice: int) -> None:
        self.world.stray(repository, self.tier(choice))

    @precondition(lambda self: len(self.world.design.levels) > 1)
    @rule(repository=sources, choice=CHOICES)
    def fast_forward_by_hand(self, repository: str, choice: int) -> None:
        names = list(self.world.design.levels)
        lower = choice % (len(names) - 1)
        self.world.forward_by_hand(repository, names[lower], names[lower + 1])

    @rule(repository=sources)
    def rewrite_history(self, repository: str) -> None:
        self.world.rewrite(repository)

    # -- people who release

    @rule(choice=CHOICES, person=people, crash=CRASHES, expedite=st.booleans())
    def approve(self, choice: int, person: Identity, crash: int | None, expedite: bool) -> None:
        process, tier = self.process(choice), self.tier(choice)
        candidate = process.engine.plan()[0].outlooks[tier].candidate
        if candidate is not None:
            request = Approve(tier=tier, revision=candidate.id, reason="tried it", expedite=expedite)
            self.world.ask(process, request, person, crash)

    @rule(choice=CHOICES, person=people, crash=CRASHES)
    def hold_or_resume(self, choice: int, person: Identity, crash: int | None) -> None:
        process, tier = self.process(choice), self.tier(choice)
        if not self.world.ask(process, Resume(tier=tier, reason="go on"), person, crash):
            self.world.ask(process, Hold(tier=tier, reason="wait"), person, crash)

    @rule(choice=CHOICES, person=people, crash=CRASHES)
    def roll_back(self, choice: int, person: Identity, crash: int | None) -> None:
        self.world.ask(self.process(choice), RollBack(tier=self.tier(choice), reason="it is slow"), person, crash)

    @rule(choice=CHOICES, person=people)
    def retry(self, choice: int, person: Identity) -> None:
        self.world.ask(self.process(choice), Retry(tier=self.tier(choice), reason="once more"), person)

    @rule(choice=CHOICES, person=people, crash=CRASHES, discard=st.booleans())
    def hotfix(self, choice: int, person: Identity, crash: int | None, discard: bool) -> None:
        request = Hotfix(tier=self.tier(choice), reason="it burns", discard=discard)
        self.world.ask(self.process(choice), request, person, crash)

    # -- the fleet

    @rule(data=st.data(), choice=CHOICES)
    def add_or_change_a_shopset(self, data: st.DataObject, choice: int) -> None:
        names = [*self.world.design.shopsets, f"n-{len(self.world.design.shopsets)}"]
        member: Member = data.draw(members(tuple(self.world.design.levels)))
        self.world.redesign(names[choice % len(names)], member)

    @precondition(lambda self: bool(self.world.design.shopsets))
    @rule(choice=CHOICES)
    def remove_a_shopset(self, choice: int) -> None:
        names = list(self.world.design.shopsets)
        self.world.redesign(names[choice % len(names)], None)

    # -- what goes wrong

    @precondition(lambda self: bool(self.world.design.shopsets))
    @rule(choice=CHOICES)
    def break_a_shopset(self, choice: int) -> None:
        names = list(self.world.design.shopsets)
        self.world.clusters.shatter(names[choice % len(names)])

    @rule(cluster=st.sampled_from(CLUSTERS), declared=st.sampled_from([None, "Lost", "Upgrading"]))
    def lose_a_cluster(self, cluster: str, declared: str | None) -> None:
        self.world.clusters.lost.add(cluster)
        self.world.declare(cluster, declared)

    @rule(repository=st.sampled_from(NAMES))
    def lose_a_repository(self, repository: str) -> None:
        self.world.take_away(repository)

    @rule()
    def recover(self) -> None:
        self.world.recover()

    # -- the judgement

    @invariant()
    def no_rule_is_broken(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                with self.world:
                    self.world.settle()
        finally:
            shutil.rmtree(self.folder)


ReleaseMachine.TestCase.settings = settings(
    max_examples=2000 if THOROUGH else 15,
    stateful_step_count=60 if THOROUGH else 25,
    deadline=None,
    derandomize=not THOROUGH,
    suppress_health_check=list(HealthCheck),
)
TestRelease = ReleaseMachine.TestCase
