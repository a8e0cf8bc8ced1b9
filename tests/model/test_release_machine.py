"""Random fleets, pushes, failures, requests, crashes and races: whatever happens, the oracle finds no broken rule."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from model.bases import Behaviour
from model.fleets import CLUSTERS, TIERS, Design, designs, members
from model.repositories import NAMES
from model.wishes import Member
from model.worlds import PEOPLE, SOURCES, Process, World
from shopset.core.release.actions import Identity
from shopset.core.release.requests import Approve, Hold, Hotfix, Request, Resume, Retry, RollBack
from support.thoroughness import THOROUGH

CRASHES = st.none() | st.none() | st.integers(1, 9)
"""Steps after which an engine crashes; mostly it does not."""
CHOICES = st.integers(0, 11)
"""Picks a tier, a ShopSet or a process: taken modulo how many there are."""
BEHAVIOURS = st.one_of(
    st.just(Behaviour()),
    st.builds(Behaviour, starting=st.integers(0, 9)),
    st.builds(Behaviour, degraded=st.sampled_from(["*", *TIERS]).map(lambda tier: (tier,))),
    st.just(Behaviour(builds=False)),
)
COMPONENTS = st.sampled_from([("cart",), ("cart", "page"), ("page",)])
REQUESTS = st.sampled_from(["approve", "expedite", "hold", "resume", "roll back", "retry", "hotfix", "mend"])


class ReleaseMachine(RuleBasedStateMachine):
    """What developers, people who release, clusters, networks and two engines may do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="shopset-model-"))
        self.world: World

    @initialize(design=designs(), releases=st.sampled_from([2, 1, 2, 0]))
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

    @rule(
        behaviour=st.none() | BEHAVIOURS,
        rounds=st.integers(3, 9),
        choice=CHOICES,
        attended=st.booleans(),
        crash=CRASHES,
    )
    def climb(self, behaviour: Behaviour | None, rounds: int, choice: int, attended: bool, crash: int | None) -> None:
        if behaviour is not None:
            self.world.develop(behaviour)
        for _ in range(rounds):
            self.world.go_round(self.process(choice), attended=attended, crash_after=crash)

    @rule(choice=CHOICES, request=st.none() | REQUESTS, crash=CRASHES)
    def race(self, choice: int, request: str | None, crash: int | None) -> None:
        slow, fast = self.process(choice), self.process(choice + 1)
        self.world.develop(Behaviour())
        self.world.advance(20)
        self.world.prepare(slow)
        if request is None:
            self.world.run(fast, crash)
        else:
            self.ask_for(request, choice, PEOPLE[0], crash)
        self.world.carry_out(slow)

    @rule(choice=CHOICES, crash=CRASHES)
    def plan_or_act_late(self, choice: int, crash: int | None) -> None:
        process = self.process(choice)
        if process.prepared is None:
            self.world.prepare(process)
        else:
            self.world.carry_out(process, crash)

    @rule(choice=CHOICES)
    def do_by_hand(self, choice: int) -> None:
        self.world.do_by_hand(self.process(choice).engine.plan()[0].actions)

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    # -- people

    @rule(behaviour=BEHAVIOURS, components=COMPONENTS, configuration=st.booleans())
    def push(self, behaviour: Behaviour, components: tuple[str, ...], configuration: bool) -> None:
        self.world.components = components
        self.world.develop(behaviour, configuration=configuration)

    @rule(repository=st.sampled_from(SOURCES), choice=CHOICES, kind=st.sampled_from(["stray", "forward", "rewrite"]))
    def meddle(self, repository: str, choice: int, kind: str) -> None:
        names = list(self.world.design.levels)
        if kind == "stray":
            self.world.stray(repository, self.tier(choice))
        elif kind == "rewrite":
            self.world.rewrite(repository)
        elif len(names) > 1:
            lower = choice % (len(names) - 1)
            self.world.forward_by_hand(repository, names[lower], names[lower + 1])

    @rule(request=REQUESTS, choice=CHOICES, person=st.sampled_from(PEOPLE), crash=CRASHES)
    def ask(self, request: str, choice: int, person: Identity, crash: int | None) -> None:
        self.ask_for(request, choice, person, crash)

    @rule(choice=CHOICES, crash=CRASHES)
    def roll_back_and_resume(self, choice: int, crash: int | None) -> None:
        self.ask_for("roll back", choice, PEOPLE[0], crash)
        for _ in range(3):
            self.world.go_round(self.process(choice), attended=True)

    def ask_for(self, request: str, choice: int, person: Identity, crash: int | None) -> None:
        process, tier = self.process(choice), self.tier(choice)
        candidate = process.engine.plan()[0].outlooks[tier].candidate
        requests: dict[str, Request] = {
            "hold": Hold(tier=tier, reason="wait"),
            "resume": Resume(tier=tier, reason="go on"),
            "roll back": RollBack(tier=tier, reason="it is slow"),
            "retry": Retry(tier=tier, reason="once more"),
            "hotfix": Hotfix(tier=tier, reason="it burns"),
            "mend": Hotfix(tier=tier, reason="it diverged", discard=True),
        }
        if candidate is not None:
            requests["approve"] = Approve(tier=tier, revision=candidate.id, reason="tried it")
            requests["expedite"] = Approve(tier=tier, revision=candidate.id, reason="it burns", expedite=True)
        if request in requests:
            self.world.ask(process, requests[request], person, crash)

    @rule(choice=CHOICES, data=st.data())
    def change_the_fleet(self, choice: int, data: st.DataObject) -> None:
        names = [*self.world.design.shopsets, f"n-{len(self.world.design.shopsets)}"]
        member: Member | None = data.draw(st.none() | members(tuple(self.world.design.levels)))
        self.world.redesign(names[choice % len(names)], member)

    # -- what goes wrong

    @rule(choice=CHOICES, what=st.sampled_from(["sync", "ShopSet", "cluster", "Lost", "Upgrading", "repository"]))
    def lose(self, choice: int, what: str) -> None:
        names, cluster = list(self.world.design.shopsets), CLUSTERS[choice % len(CLUSTERS)]
        if what == "sync":
            self.world.clusters.lags = True
        elif what == "repository":
            self.world.take_away(NAMES[choice % len(NAMES)])
        elif what == "ShopSet":
            for name in names[: choice % 3]:
                self.world.clusters.shatter(name)
        else:
            self.world.clusters.lost.add(cluster)
            self.world.declare(cluster, None if what == "cluster" else what)

    @rule(rounds=st.integers(0, 4))
    def recover(self, rounds: int) -> None:
        self.world.recover()
        for _ in range(rounds):
            self.world.go_round(self.world.processes[0], attended=True)

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
    max_examples=40 if THOROUGH else 6,
    stateful_step_count=60 if THOROUGH else 20,
    deadline=None,
    derandomize=not THOROUGH,
    # Shrinking takes many minutes of real git: on demand only.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if THOROUGH else [])],
    suppress_health_check=list(HealthCheck),
)
TestRelease = pytest.mark.long(ReleaseMachine.TestCase)
