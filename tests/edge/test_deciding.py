"""What is told of a request is what HAProxy does with it: on the real one, with B's whole configuration."""

import http.client
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeHealth, EdgeSettings, EdgeShop, EdgeShopSet
from shopset.core.placement.placements import Group, PlacedShop
from shopset.edge.configuration import configuration
from shopset.edge.deciding import Decision, Request, State, decide, turns
from shopset.edge.places import Place
from shopset.edge.routes import host_entries, parse_host_value, routes, slot_of
from support.edges import write_hosts
from support.haproxies import PATIENCE, ask, check, haproxy, running, wait_for_state, wait_until_ready
from support.origins import Origin, free_port, origins

__all__ = ["haproxy"]
NAMES = ("a-1", "b-1", "c-1", "d-1", "e-1")
UP, DOWN, EJECTED = State.UP, State.DOWN, State.EJECTED
CLASSES = {
    "standard": EdgeClass("standard", replicas=3),
    "spread": EdgeClass("spread", weights=(50, 30, 20), replicas=3),
    "daring": EdgeClass("daring", canaries=("d-1", "e-1"), canary_percent=30, replicas=2),
}


@dataclass(frozen=True)
class Edge:
    """An HAProxy that runs, and what it was made from."""

    port: int
    socket: Path
    facts: EdgeFacts
    values: Mapping[str, str]
    """Host -> what the map says."""
    shopsets: Mapping[str, Origin]

    def get(self, host: str, client: str, method: str) -> tuple[int, str]:
        """Ask from an address; the status and the ShopSet that answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE, source_address=(client, 0))
        try:
            connection.request(method, "/", headers={"Host": host})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers.get("X-ShopSet", "")
        finally:
            connection.close()

    def decide(self, host: str, client: str, method: str, states: Mapping[str, State]) -> Decision:
        text = self.values.get(host)
        found = None if text is None else parse_host_value(text)
        return decide(found, self.facts, states, Request(client, method))

    def set_states(self, states: Mapping[str, State]) -> None:
        for name, state in states.items():
            ask(self.socket, f"set server {name}/p state {'maint' if state is DOWN else 'ready'}")
        for name, state in states.items():
            wait_for_state(self.socket, f"{name}/p", "MAINT" if state is DOWN else "UP")

    def eject(self, states: Mapping[str, State]) -> None:
        """Let failures be counted as they would be, and no others."""
        for table in ("failures", "troubles"):
            ask(self.socket, f"clear table {table}")
        for name, state in states.items():
            if state is EJECTED:
                ask(self.socket, f"set table troubles key {name} data.gpc1_rate 5 data.gpc0_rate 5")


def placed(chance: random.Random) -> tuple[dict[str, Group], list[PlacedShop]]:
    """Return groups of every class with any lists, and two shops of each."""
    groups = {}
    for kind in CLASSES:
        for number in range(4):
            replicas = tuple(chance.sample(NAMES, chance.randint(2, 4)))
            spread = chance.choice((0, 0, 2, 3))
            groups[f"{kind}#{number}"] = Group(f"{kind}#{number}", kind, replicas, spread=spread)
    shops = [
        PlacedShop(f"{word}{number}", name, (f"{word}{number}.example.com",))
        for number, name in enumerate(groups)
        for word in ("one", "two")
    ]
    return groups, [*shops, PlacedShop("closed", "standard#0", ("closed.example.com",))]


@contextmanager
def edge(program: str, folder: Path, chance: random.Random) -> Iterator[Edge]:
    groups, shops = placed(chance)
    port = free_port()
    place = Place(str(folder), http=(f"127.0.0.1:{port}",), threads=1, connections=500)
    for each in ("maps", "run"):
        (folder / each).mkdir()
    with origins(*NAMES) as shopsets:
        facts = EdgeFacts(
            settings=EdgeSettings(health=EdgeHealth(slow_start=0)),
            shopsets={name: EdgeShopSet(name, f"http://{each.address}") for name, each in shopsets.items()},
            classes=CLASSES,
            shops={"closed": EdgeShop("closed", maintenance=True)},
        )
        values = dict(host_entries(shops, facts, routes(facts, groups, {"closed": "standard#0"})))
        write_hosts(Path(place.hosts_map), values.items())
        Path(place.moved_map).touch()
        Path(place.configuration).write_text(configuration(facts, place))
        check(program, Path(place.configuration))
        with running(program, Path(place.configuration), ready=Path(place.runtime_socket)) as haproxy_process:
            wait_until_ready(haproxy_process, port)
            for name in NAMES:
                wait_for_state(Path(place.runtime_socket), f"{name}/p", "UP")
            yield Edge(port, Path(place.runtime_socket), facts, values, shopsets)


def expected(decision: Decision, broken: frozenset[str] = frozenset()) -> set[tuple[int, str]]:
    """Return which status and ShopSet a safe request may get, where those in `broken` fail."""
    if decision.status is not None:
        return {(decision.status, "")}
    turn = [name for name in (decision.serving or "", *decision.then) if name not in broken]
    # Where all fail, the error is of the last or of the edge.
    return {(200, turn[0])} if turn else {(502, ""), (503, "")}


def test_who_answers_is_who_is_told(haproxy: str, tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311  # a test that can be repeated
    asked, seen = 0, set()
    with edge(haproxy, tmp_path, chance) as running_edge:
        hosts = [*running_edge.values, "nobody.example.com"]
        for number in range(18):
            # In the last round the edge does not believe it.
            choices = (UP, UP, UP, DOWN) if number < 17 else (DOWN,)
            states = {name: chance.choice(choices) for name in NAMES}
            running_edge.set_states(states)
            broken = frozenset(chance.sample(NAMES, number % 3))
            for name, shopset in running_edge.shopsets.items():
                shopset.behave("reset" if name in broken else "ok")
            for host in chance.sample(hosts, 14):
                client = f"127.0.{chance.randint(0, 3)}.{chance.randint(1, 250)}"
                running_edge.eject({})
                decision = running_edge.decide(host, client, "GET", states)
                wanted = expected(decision, broken)
                found = running_edge.get(host, client, "GET")
                assert found in wanted, (host, client, states, broken, decision)
                seen.add((found[0] // 100, len(decision.shares), decision.serving == found[1]))
                asked += 1
    # The dice gave every kind of answer: of the first ShopSet, of a later one, of none.
    assert asked > 200
    assert {
        (2, 1, True),
        (2, 1, False),
        (2, 2, True),
        (2, 2, False),
        (2, 3, True),
        (4, 0, False),
        (5, 1, False),
    } <= seen


def test_who_is_merely_ejected_is_left_where_there_is_another(haproxy: str, tmp_path: Path) -> None:
    chance = random.Random(11)  # noqa: S311  # a test that can be repeated
    last_resorts = avoided = 0
    with edge(haproxy, tmp_path, chance) as running_edge:
        for _ in range(12):
            states = {name: chance.choice((UP, DOWN, EJECTED, EJECTED)) for name in NAMES}
            running_edge.set_states(states)
            for host in chance.sample(list(running_edge.values), 8):
                client = f"127.0.0.{chance.randint(1, 250)}"
                running_edge.eject(states)
                # Some of the safe requests look whether an ejected ShopSet is well again; others never do.
                decision = running_edge.decide(host, client, "POST", states)
                found = running_edge.get(host, client, "POST")
                assert found in expected(decision), (host, client, states, decision)
                if decision.serving is not None:
                    first_up = next(name for name, state in decision.shopsets if state is not DOWN)
                    last_resorts += dict(decision.shopsets)[decision.serving] is EJECTED
                    avoided += decision.serving != first_up
    assert last_resorts
    assert avoided


@pytest.mark.parametrize(
    ("order", "first", "then"),
    [
        ("", None, ""),
        ("a:down", None, ""),
        ("a:up b:up", "a", "b"),
        ("a:unknown b:unknown", "a", "b"),
        ("a:down b:up c:ejected d:up", "b", "d"),
        ("a:ejected b:up", "b", ""),
        ("a:up b:ejected c:ejected", "a", "b"),
        ("a:down b:ejected c:ejected", "b", ""),
    ],
)
def test_turns(order: str, first: str | None, then: str) -> None:
    pairs = [(name, State(state)) for name, _, state in (each.partition(":") for each in order.split())]
    assert turns(pairs) == (first, tuple(then.split()))


def test_a_client_that_is_not_known_gets_the_largest_share() -> None:
    facts = EdgeFacts(
        shopsets={name: EdgeShopSet(name, "http://x") for name in NAMES},
        classes={"daring": EdgeClass("daring", canaries=("d-1",), canary_percent=40)},
    )
    groups = {"daring#": Group("daring#", "daring", ("a-1", "b-1"))}
    (_, value), *_ = host_entries([PlacedShop("one", "daring#", ("x.y",))], facts, routes(facts, groups, {}))
    decision = decide(parse_host_value(value), facts, {}, Request())
    assert [(each.percent, each.shopsets, each.canary, each.chosen) for each in decision.shares] == [
        (40, ("d-1", "a-1", "b-1"), True, False),
        (60, ("a-1", "b-1"), False, False),
    ]
    assert (decision.serving, decision.then, decision.slot) == ("a-1", ("b-1",), None)
    client = next(f"2001:db8:{n:x}::1" for n in range(999) if slot_of(f"2001:db8:{n:x}::1") < 40)
    assert decide(parse_host_value(value), facts, {}, Request(client)).serving == "d-1"
