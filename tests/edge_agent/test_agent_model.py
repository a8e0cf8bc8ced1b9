"""Random histories: placements that change, agents and HAProxies that are killed, git that is away. All of it converges."""

from contextlib import ExitStack, suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from shopset.core.placement.edges import EdgeShop, RateLimit
from shopset.core.placement.placements import Placement
from shopset.edge_agent.agents import Agent
from shopset.edge_agent.settings import Settings
from shopset.edge_agent.statuses import Mode
from support.edge_agents import Edge, edge, placement
from support.haproxies import debian
from support.thoroughness import THOROUGH

NAMES = [f"shop-{number}" for number in range(10)]
GROUPS = ["standard#00", "standard#01", "standard#1"]
SHOPSETS = ["a-1", "b-1", "c-1", "d-1"]


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    known = [*SHOPSETS[:2], *draw(st.sets(st.sampled_from(SHOPSETS[2:])))]
    port = draw(st.sampled_from([9, 9, 9, 10]))
    owners = draw(st.permutations(range(len(NAMES))))
    return placement(
        {name: draw(st.permutations(known))[: draw(st.integers(1, 3))] for name in GROUPS},
        draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(GROUPS), min_size=1)),
        {name: f"http://127.0.0.1:{port if name == 'a-1' else 9}" for name in known},
        special=[
            EdgeShop(name, RateLimit(draw(st.sampled_from([1.0, 50.0]))))
            for name in draw(st.sets(st.sampled_from(NAMES)))
        ],
        hosts=lambda shop: (f"h{owners[NAMES.index(shop)]}.example.com", f"{shop}.example.com"),
    )


class Killed(BaseException):
    """The agent is gone."""


class Edges(RuleBasedStateMachine):
    """One edge, and what happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.edge: Edge = self.stack.enter_context(
            edge(debian(), Settings(poll=0.05, settle=0.2, overlay_most=15, overlay_collected=25))
        )
        self.agent: Agent = self.edge.agent()

    @initialize(first=placements())
    def start(self, first: Placement) -> None:
        self.edge.repository.push(first)
        self.edge.follow(self.agent)

    @rule(after=placements(), looks=st.booleans())
    def change(self, after: Placement, looks: bool) -> None:
        self.edge.repository.push(after)
        if looks:
            self.agent.look()
            self.agent.turn()

    @rule(after=placements(), step=st.integers(0, 6))
    def change_and_kill(self, after: Placement, step: int) -> None:
        left = [step]

        def die(_: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        self.edge.repository.push(after)
        agent = self.edge.agent(die)
        with suppress(Killed):
            agent.look()
            agent.turn()
        self.agent = self.edge.agent()

    @rule()
    def kill_haproxy(self) -> None:
        self.edge.kill_haproxy()

    @rule()
    def lose_git(self) -> None:
        away = self.edge.repository.path.rename(self.edge.repository.path.with_name("away"))
        self.agent = self.edge.agent()
        self.agent.look()
        self.agent.turn()
        away.rename(self.edge.repository.path)

    @rule()
    def converge(self) -> None:
        self.agent.look()
        head = self.agent.status.head
        self.edge.until(
            self.agent, lambda: self.agent.status.haproxy is not None and not self.edge.differing(self.agent)
        )
        assert (self.agent.status.mode, self.agent.status.commit) == (Mode.FRESH, self.agent.status.head), head

    def teardown(self) -> None:
        try:
            self.agent = self.edge.agent()
            self.converge()
        finally:
            self.stack.close()


class TestEdges(Edges.TestCase):  # type: ignore[misc,valid-type]  # hypothesis makes it
    settings = settings(
        max_examples=40 if THOROUGH else 4,
        stateful_step_count=20 if THOROUGH else 10,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
