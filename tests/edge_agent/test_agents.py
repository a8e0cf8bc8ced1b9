"""The agent with real HAProxy and real git: what git says gets there, and stays there whatever happens around it."""

import resource
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from shopset.core.placement.edges import EdgeShop
from shopset.core.placement.formats import dump_placement
from shopset.core.placement.placements import Placement
from shopset.edge.hostmap import bucket_of
from shopset.edge_agent import folding
from shopset.edge_agent.agents import Agent
from shopset.edge_agent.folders import StateError, StateFolder
from shopset.edge_agent.statuses import Mode
from support.edge_agents import Edge, edge, placement
from support.haproxies import debian, haproxy
from support.origins import origins
from support.shoppers import shopping

__all__ = ["haproxy"]

GROUPS: Mapping[str, tuple[str, ...]] = {"standard#0": ("a-1", "b-1"), "standard#1": ("b-1", "a-1")}
SHOPS = {f"shop-{number}": f"standard#{number % 2}" for number in range(40)}
ENDPOINTS = {"a-1": "http://127.0.0.1:9", "b-1": "http://127.0.0.1:9"}


def first(**changes: object) -> Placement:
    given = {"groups": GROUPS, "shops": SHOPS, "endpoints": ENDPOINTS, **changes}
    return placement(**given)  # type: ignore[arg-type]  # as placement's


@pytest.fixture
def here(haproxy: str) -> Iterator[Edge]:
    with edge(haproxy) as made:
        yield made


@pytest.fixture
def debians() -> Iterator[Edge]:
    with edge(debian()) as made:
        yield made


def see_haproxy(of: Edge, agent: Agent) -> None:
    of.until(agent, lambda: agent.status.haproxy is not None)


def test_changes_reach_haproxy_without_a_reload(here: Edge) -> None:
    """Groups, shops that come, go and move, and what is special about one."""
    here.repository.push(first())
    agent = here.follow()
    assert (here.ask("shop-1.example.com"), here.ask("nobody.example.com")) == (503, 404), (
        "nobody listens at the endpoints"
    )
    pid = here.runtime.process().pid
    shops = {name: group for name, group in SHOPS.items() if name != "shop-7"} | {
        "shop-3": "standard#0",
        "new": "standard#1",
    }
    here.repository.push(
        first(
            shops=shops,
            groups={**GROUPS, "standard#1": ("a-1",)},
            special=[EdgeShop("shop-9", maintenance=True)],
        )
    )
    here.follow(agent)
    assert (here.ask("shop-7.example.com"), here.ask("new.example.com"), here.ask("shop-9.example.com")) == (
        404,
        503,
        503,
    )
    here.repository.push(first())
    here.follow(agent)
    assert agent.status.overlay == 0, "all is as it was in the large map"
    assert here.runtime.process().pid == pid


def test_twenty_thousand_hosts_are_swapped_at_once(here: Edge) -> None:
    hosts = {name: tuple(f"{name}-{number}.example.com" for number in range(500)) for name in SHOPS}
    here.repository.push(first(shops=dict.fromkeys(SHOPS, "standard#0"), hosts=hosts.__getitem__))
    agent = here.follow()
    pid = here.runtime.process().pid
    here.repository.push(first(shops=dict.fromkeys(SHOPS, "standard#1"), hosts=hosts.__getitem__))
    here.follow(agent)
    assert agent.status.overlay == 20_000
    assert here.runtime.process().pid == pid


def test_a_new_shopset_takes_a_spare_backend_and_then_gets_its_own(here: Edge) -> None:
    """No request fails while shops are handed to it, nor at the fold, which reloads HAProxy."""
    with origins("a-1", "b-1", "c-1") as there:
        endpoints = {name: f"http://{origin.address}" for name, origin in there.items()}
        here.repository.push(first(endpoints={name: endpoints[name] for name in ("a-1", "b-1")}))
        agent = here.follow()
        here.until(agent, lambda: here.ask("shop-0.example.com") == 200)
        pid = here.runtime.process().pid
        with shopping(here.port, rate=100, hosts=[f"{name}.example.com" for name in SHOPS]) as shoppers:
            shoppers.wait(20)
            here.repository.push(first(endpoints=endpoints, groups={**GROUPS, "standard#0": ("c-1", "b-1")}))
            here.follow(agent)
            assert agent.backends()["c-1"][1] == "spare-0"
            here.until(agent, lambda: there["c-1"].totals()["requests"] > 0)
            assert here.runtime.process().pid == pid
            # What settled is folded: an agent that was told to wait less.
            here.settings = replace(here.settings, settle=0)
            successor = here.follow(here.agent())
            here.until(successor, lambda: successor.backends()["c-1"][1] == "c-1")
            shoppers.wait(50)
            seen = shoppers.finish()
        assert here.runtime.process().pid != pid
        assert here.follow(successor).status.overlay == 0
    assert not seen.safe.failed, seen.outcomes()


def test_a_whole_change_is_folded_and_every_host_is_right_afterwards(debians: Edge) -> None:
    debians.settings = replace(debians.settings, overlay_most=10, overlay_collected=20)
    debians.repository.push(first())
    agent = debians.follow()
    pid = debians.runtime.process().pid
    debians.repository.push(
        first(shops=dict.fromkeys(SHOPS, "standard#0") | {f"new-{n}": "standard#1" for n in range(9)})
    )
    debians.follow(agent)
    assert (agent.status.overlay, agent.status.hosts) == (0, len(SHOPS) + 9)
    assert debians.runtime.process().pid != pid
    assert len(list((debians.folder.path / "generations").iterdir())) == 1, "what counts no more is removed"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"shops": {}}, ""),
        ({"groups": {**GROUPS, "standard#1": ("z-9",)}}, "20 of 40 hosts would have no ShopSet that this edge knows"),
        ({"endpoints": {}}, "40 of 40 hosts would have no ShopSet"),
    ],
)
def test_a_placement_that_takes_hosts_away_is_refused_until_a_person_accepts_it(
    debians: Edge, bad: dict[str, object], reason: str
) -> None:
    """A drop of few hosts is no reason; 40 are few."""
    good = debians.repository.push(first())
    debians.follow()
    wrong = debians.repository.push(first(**bad))
    for agent in (debians.agent(), debians.agent()):
        agent.look()
        see_haproxy(debians, agent)
        assert (agent.status.mode, agent.status.commit) == ((Mode.REFUSED, good) if reason else (Mode.FRESH, wrong))
        assert reason in agent.status.reason
    if reason:
        assert (agent.status.head, agent.is_due()) == (wrong, False)
        assert not debians.differing(agent)
        debians.folder.accept(wrong[:12])
        assert agent.is_due()
        debians.until(agent, lambda: agent.status.mode is Mode.FRESH and agent.status.commit == wrong)
        assert not debians.differing(agent)


def test_many_hosts_that_go_at_once_are_refused_and_the_next_good_commit_is_taken(debians: Edge) -> None:
    shops = {f"shop-{number}": "standard#0" for number in range(300)}
    debians.repository.push(first(shops=shops))
    agent = debians.follow()
    debians.repository.push(first(shops=dict(list(shops.items())[:199])))
    agent.look()
    agent.turn()
    assert (agent.status.mode, "101 of 300 hosts would be gone" in agent.status.reason) == (Mode.REFUSED, True)
    assert agent.status.behind is not None
    debians.repository.push(first(shops=dict(list(shops.items())[:201])))
    debians.follow(agent)
    status = agent.status
    assert (status.mode, status.hosts, status.behind) == (Mode.FRESH, 201, None)


@pytest.mark.parametrize("path", ["groups/standard.jsonl", "edge/shopsets.jsonl", "shops", "README"])
def test_a_placement_that_cannot_be_read_whole_is_refused(debians: Edge, path: str) -> None:
    good = debians.repository.push(first())
    debians.follow()
    files = dump_placement(first(shops={**SHOPS, "new": "standard#0"}))
    broken = next((name for name in files if name.startswith(path)), path)
    debians.repository.push_files({**files, broken: files.get(broken, b"") + b'{"name":"x"\n'})
    agent = debians.agent()
    agent.look()
    see_haproxy(debians, agent)
    assert (agent.status.mode, agent.status.commit) == (Mode.REFUSED, good)
    assert broken in agent.status.reason
    assert not debians.differing(agent)


def test_it_starts_with_what_is_on_disk_while_git_is_away(here: Edge) -> None:
    here.repository.push(first())
    here.follow()
    last = here.repository.push(first(shops={**SHOPS, "new": "standard#0"}))
    here.follow(here.started[0])
    here.kill_haproxy()
    away = here.repository.path.rename(here.repository.path.with_name("away"))
    agent = here.agent()
    see_haproxy(here, agent)
    agent.look()
    agent.turn()
    assert (agent.status.mode, agent.status.commit) == (Mode.STALE, last)
    assert "cannot be read" in agent.status.reason
    assert (here.ask("new.example.com"), here.ask("nobody.example.com")) == (503, 404)
    away.rename(here.repository.path)
    here.follow(agent)
    assert agent.status.mode is Mode.FRESH


def test_it_starts_with_what_is_on_disk_when_the_copy_of_git_is_gone_too(debians: Edge) -> None:
    debians.repository.push(first())
    debians.follow()
    debians.kill_haproxy()
    away = debians.repository.path.rename(debians.repository.path.with_name("away"))
    for each in sorted((debians.folder.path / "git").rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() else each.unlink()
    agent = debians.agent()
    agent.look()
    see_haproxy(debians, agent)
    assert agent.status.mode is Mode.STALE
    assert debians.ask("shop-1.example.com") == 503
    away.rename(debians.repository.path)
    # History was written anew meanwhile, so nothing of what is routed by is there any more.
    debians.repository.push_files(dump_placement(first(shops={**SHOPS, "new": "standard#0"})), orphan=True)
    debians.follow(agent)
    assert (agent.status.mode, debians.ask("new.example.com")) == (Mode.FRESH, 503)


def test_without_anything_it_waits_and_says_so(debians: Edge) -> None:
    agent = debians.agent()
    agent.look()
    agent.turn()
    assert (agent.status.mode, "no branch placement" in agent.status.reason) == (Mode.WAITING, True)
    assert debians.haproxies() == []
    debians.repository.push(first())
    debians.follow(agent)


@pytest.mark.parametrize("garbage", ["hosts.map", "moved.map", "applied.json", "haproxy.cfg", "current"])
def test_garbage_in_the_state_folder_is_made_good(debians: Edge, garbage: str) -> None:
    """HAProxy was killed too: it may have started with the garbage, or not at all."""
    debians.repository.push(first())
    debians.repository.push(first(shops={**SHOPS, "new": "standard#0"}))
    debians.follow()
    debians.kill_haproxy()
    current = debians.folder.path / "current"
    if garbage == "current":
        current.unlink()
    else:
        path = current / "maps" / garbage if garbage.endswith(".map") else current / garbage
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + b"\xff\x00 garbage")
    agent = debians.follow(debians.agent())
    assert agent.status.mode is Mode.FRESH
    assert debians.folder.generation() is not None


def test_a_full_disk_keeps_nobody_from_routing(debians: Edge) -> None:
    """What fits into the overlay gets to HAProxy; and when there is room again, to the disk."""
    debians.repository.push(first())
    agent = debians.follow()
    debians.repository.push(first(shops={**SHOPS, "new": "standard#0"}))
    agent.look()
    debians.repository.push(first(shops=SHOPS, endpoints={**ENDPOINTS, "a-1": "http://127.0.0.1:10"}))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        debians.until(agent, lambda: not debians.differing(agent) and debians.ask("new.example.com") == 503)
        assert "moved.map cannot be written" in agent.status.troubles[0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    agent.turn()
    assert agent.status.troubles == ()
    assert debians.folder.overlay()["new.example.com"].startswith("new:")
    agent.look()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        agent.turn()
        assert (agent.status.mode, "cannot be written" in agent.status.reason) == (Mode.STALE, True)
        assert debians.ask("new.example.com") == 503, "what can't be brought without a file is as it was"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    debians.follow(agent)


def test_whatever_haproxy_is_told_by_others_is_put_right(here: Edge) -> None:
    here.repository.push(first())
    agent = here.follow()
    here.repository.push(first(shops={**SHOPS, "new": "standard#0"}))
    here.follow(agent)
    here.runtime.ask(f"clear map {here.place.moved_map}")
    here.until(agent, lambda: not here.differing(agent))
    hosts = here.place.hosts_map
    said = "Ashop-1.example.comBshop-2:R=standard#0::::a-1"
    here.runtime.ask(f"set map {hosts} {bucket_of('shop-1.example.com')} {said}")
    here.until(agent, lambda: not here.differing(agent))
    here.runtime.ask(f"del map {hosts} {bucket_of('shop-2.example.com')}")
    here.until(agent, lambda: not here.differing(agent))
    here.runtime.ask(f"add map {here.place.moved_map} shop-2.example.com :")
    here.until(agent, lambda: not here.differing(agent))


def test_files_of_another_shopset_are_left_alone_until_they_are_written_anew(
    debians: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a large map of another form no host is found, and that is no reason to reload HAProxy over and over."""
    with monkeypatch.context() as older:
        older.setattr(folding, "__version__", "0")
        older.setattr(folding, "line_of", lambda host, value: f"{host} {value}\n".encode())
        older.setattr(folding, "packed", lambda lines: lines)
        debians.repository.push(first())
        debians.follow()
    before = debians.runtime.process()
    debians.repository.push(first(endpoints={}))
    agent = debians.agent()
    agent.look()
    see_haproxy(debians, agent)
    assert (agent.status.mode, agent.status.troubles) == (Mode.REFUSED, ())
    assert debians.runtime.process() == before
    debians.repository.push(first())
    shared = bucket_of("shop-1.example.com")
    agent.look()
    debians.until(agent, lambda: shared in dict(debians.runtime.entries(debians.place.hosts_map)))
    debians.follow(agent)
    assert (agent.status.mode, agent.status.troubles) == (Mode.FRESH, ())


def test_a_host_that_two_shops_have_is_told_and_stays_with_the_first(debians: Edge) -> None:
    debians.repository.push(first(hosts=lambda shop: ("one.example.com", f"{shop}.example.com")))
    agent = debians.agent()
    agent.look()
    debians.until(agent, lambda: bool(agent.status.troubles))
    assert "another shop has it too" in agent.status.troubles[0]
    assert agent.status.mode is Mode.FRESH
    # Put right, and with files made anew, for another endpoint asks for that.
    debians.repository.push(first(endpoints={**ENDPOINTS, "a-1": "http://127.0.0.1:10"}))
    debians.follow(agent)
    assert (agent.status.mode, agent.status.troubles) == (Mode.FRESH, ())


def test_only_one_agent_has_a_state_folder(debians: Edge) -> None:
    with debians.folder.locked(), pytest.raises(StateError, match="another agent has"), debians.folder.locked():
        pass
    with debians.folder.locked():
        pass


def test_a_state_folder_with_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 90), tmp_path / "with blanks"):
        with pytest.raises(StateError, match="short path"):
            StateFolder.at(path)


def test_a_configuration_that_haproxy_refuses_changes_nothing(debians: Edge) -> None:
    """The files stay as they were, and it is said; what needs no other configuration is brought all the same."""
    debians.repository.push(first())
    debians.follow()
    generation = debians.folder.generation()
    debians.place = replace(debians.place, log="no address at all/:x")
    debians.repository.push(first(shops={**SHOPS, "new": "standard#0"}))
    successor = debians.agent()
    successor.look()
    debians.until(successor, lambda: "refuses" in successor.status.reason)
    assert successor.status.mode is Mode.STALE
    assert debians.folder.generation() == generation
    assert not debians.differing(successor)
