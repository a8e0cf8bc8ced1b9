"""What the demo knows of shoppers: real servers, real requests, and counts that are right."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shopset.cli.demo.children import Children
from shopset.cli.demo.edges import Edge, HAProxyMissingError, find_haproxy
from shopset.cli.demo.servers import Ports, Servers
from shopset.cli.demo.shoppers import Shoppers
from shopset.cli.demo.stages import StoryError
from shopset.cli.demo.tallies import Tally, Visit, tally
from shopset.cli.demo.visiting import Visiting
from shopset.core.placement.edges import EdgeHealth, EdgeSettings
from support.edge_agents import Repository, is_alive, placement
from support.worlds import ENVIRONMENT

PATIENCE = 60.0


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    found = Children(tmp_path / "logs", ENVIRONMENT)
    yield found
    found.close()


@pytest.fixture
def ports() -> Iterator[Ports]:
    found = Ports()
    yield found
    found.close()


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not listens(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def visit(shoppers: Shoppers, count: int, **stream: float) -> list[Visit]:
    """Let shoppers visit two shops until so many visits have ended."""
    began = time.monotonic()
    shoppers.visit("all", {"hoge": 3.0, "foo": 1.0}, **{"rate": 400.0, **stream})
    deadline = began + PATIENCE
    while len(shoppers.since(began)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shoppers.visit("all", {}, 0)
    return shoppers.since(began)


@pytest.mark.judges_requests
def test_shoppers_are_served_until_the_server_dies_and_when_it_is_back(
    tmp_path: Path, children: Children, ports: Ports
) -> None:
    (tmp_path / "Deployment-web.yaml").write_text("metadata:\n  annotations:\n    demo.shopset.dev/release: '3'\n")
    servers = Servers(children, ports)
    servers.start("a-2", "a", tmp_path)
    servers.start("b-1", "b")
    wait_until_it_listens(ports["a-2"])
    shoppers = Shoppers(children, ports["a-2"])
    told = tally(visit(shoppers, 200))
    assert (told.failed, told.told_to_wait, dict(told.shopsets)) == (0, 0, {"a-2": told.requests})
    assert told.safe > told.others > 0
    assert 0 < told.median < PATIENCE
    assert servers.kill("a") == ["a-2"]
    assert not listens(ports["a-2"])
    told = tally(visit(shoppers, 50))
    assert (told.failed, dict(told.statuses), dict(told.shopsets)) == (told.requests, {0: told.requests}, {})
    servers.revive("a")
    wait_until_it_listens(ports["a-2"])
    assert tally(visit(shoppers, 50, others=0.0)).failed == 0
    assert children.ended() == []


def test_shops_are_visited_by_their_shares(children: Children, ports: Ports) -> None:
    Servers(children, ports).start("a-2", "a")
    wait_until_it_listens(ports["a-2"])
    found = visit(Shoppers(children, ports["a-2"]), 400, others=0.5)
    counts = [sum(each.host == host for each in found) for host in ("hoge", "foo")]
    assert sum(counts) == len(found)
    assert 2 < counts[0] / counts[1] < 4.5
    assert 0.3 < sum(each.safe for each in found) / len(found) < 0.7


def test_a_server_and_shoppers_end_with_whoever_started_them(tmp_path: Path, ports: Ports) -> None:
    """Even where that one is killed: their input ends."""
    port = ports["a-2"]
    code = (
        "import os, sys, time; from pathlib import Path; from shopset.cli.demo.children import Children;"
        "children = Children(Path(sys.argv[1]), os.environ); module = 'shopset.cli.demo.'\n"
        "for name, words in (('origins', ['a-2', sys.argv[2]]), ('shopping', [sys.argv[2]])):\n"
        "    print(children.start(name, [sys.executable, '-m', module + name, *words], answers=True).pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(port)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        wait_until_it_listens(port)
        parent.kill()
    deadline = time.monotonic() + PATIENCE
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_dead_servers_port_is_given_to_nobody(children: Children, ports: Ports) -> None:
    Servers(children, ports).start("a-2", "a")
    wait_until_it_listens(ports["a-2"])
    children.kill("a-2")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", ports["a-2"]))


def test_who_ended_by_itself_is_told(children: Children) -> None:
    children.start("fine", [sys.executable, "-c", "import time; time.sleep(600)"])
    children.start("broken", [sys.executable, "-c", "raise SystemExit('no')"]).wait(PATIENCE)
    assert children.ended() == ["broken"]
    assert (children.logs / "broken.log").read_text() == "no\n"


def test_shoppers_that_are_gone_are_an_error(children: Children, ports: Ports) -> None:
    shoppers = Shoppers(children, ports["nobody"])
    children.kill("shoppers")
    with pytest.raises(StoryError, match="gone"):
        shoppers.visit("all", {"hoge": 1.0}, 1)


def test_outcomes_are_told_apart() -> None:
    def one(status: int, *, safe: bool = True, shopset: str = "") -> Visit:
        return Visit(1.0, 1.0 + status / 1024, "hoge", safe, status, shopset)

    told = tally([one(200, shopset="b-1"), one(200, safe=False, shopset="a-2"), one(503), one(429), one(0, safe=False)])
    assert told == Tally(
        safe=3,
        others=2,
        failed_safe=1,
        failed_others=1,
        told_to_wait=1,
        statuses={0: 1, 503: 1},
        shopsets={"a-2": 1, "b-1": 1},
        median=200 / 1024,
    )
    words = "5 requests; served by a-2 1, b-1 1; told to wait 1; failed 1 of 3 GET, 1 of 2 POST"
    assert (told.text, tally([]).text) == (
        words,
        "0 requests; served by nobody; failed 0 of 0 GET, 0 of 0 POST",
    )


def test_haproxy_is_the_one_that_is_named_or_the_machines(tmp_path: Path) -> None:
    program = tmp_path / "haproxy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_haproxy({"SHOPSET_HAPROXY": "/opt/haproxy", "PATH": str(tmp_path)}) == "/opt/haproxy"
    assert find_haproxy({"PATH": str(tmp_path)}) == str(program)


def test_a_missing_haproxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(HAProxyMissingError, match="apt-get install haproxy"):
        find_haproxy({})


CALM = EdgeSettings(EdgeHealth(interval=250, timeout=2000, rise=2, slow_start=1000))
HOGE, FOO = "hoge.example.com", "foo.example.com"


def place(repository: Repository, ports: Ports, foo: str) -> str:
    """Place hoge on two ShopSets, and foo on one."""
    groups = {"standard/two": ("a-2", "b-1"), "standard/one": (foo,)}
    endpoints = {name: ports.endpoint(name) for name in ("a-2", "b-1")}
    return repository.push(placement(groups, {"hoge": "standard/two", "foo": "standard/one"}, endpoints, settings=CALM))


@pytest.mark.judges_requests
def test_the_demo_tells_what_a_dead_cluster_means_and_fails_where_it_is_not_as_told(
    tmp_path: Path, children: Children, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopset.cli.demo.visiting._LOOK", 1.0)
    repository, said = Repository(tmp_path / "system.git"), list[str]()
    heads, port = [place(repository, ports, "a-2")], ports["http"]
    servers = Servers(children, ports)
    servers.start("a-2", "a")
    servers.start("b-1", "b")
    edge = Edge(children, ports, find_haproxy(os.environ), str(repository.path))
    visiting = Visiting(edge, servers, {HOGE: 60.0, FOO: 20.0}, lambda: heads[-1], lambda text, _: said.append(text))
    try:
        visiting.open()
        assert '"a-2"' in visiting.ask(HOGE)
        visiting.look("at first")
        began = time.monotonic()
        visiting.judge_loss(began, visiting.kill("a"), {HOGE}, {FOO})
        with pytest.raises(StoryError, match="shoppers felt it"):
            visiting.look("while foo is down", since=began)
        with pytest.raises(StoryError, match="not served: 503"):
            visiting.ask(FOO)
        heads.append(place(repository, ports, "b-1"))
        visiting.look("since foo is elsewhere", since=visiting.follow())
        visiting.total()
        began = time.monotonic()
        dead = visiting.kill("b")
        with pytest.raises(StoryError, match="shops with another replica failed"):
            visiting.judge_loss(began, dead, {HOGE}, set())
        with pytest.raises(StoryError, match="shops with two replicas failed"):
            visiting.total()
    finally:
        visiting.close(tmp_path / "edge")
    assert not listens(port)
    assert (tmp_path / "edge" / "haproxy.cfg").read_text()
    assert any(words.startswith("shops with one replica: ") and "status 503: " in words for words in said)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_ends_leaves_no_process_behind(
    how: signal.Signals, tmp_path: Path, children: Children, ports: Ports
) -> None:
    repository = Repository(tmp_path / "system.git")
    head = place(repository, ports, "b-1")
    for name, cluster in (("a-2", "a"), ("b-1", "b")):
        Servers(children, ports).start(name, cluster)
    code = (
        "import os, sys, time; from pathlib import Path; from shopset.cli.demo.children import *\n"
        "from shopset.cli.demo.edges import *; from shopset.cli.demo.servers import *; from shopset.cli.demo.visiting import *\n"
        "home, head = Path(sys.argv[1]), sys.argv[2]; ports = Ports(); children = Children(home / 'ended', os.environ)\n"
        "edge = Edge(children, ports, find_haproxy(os.environ), str(home / 'system.git'))\n"
        "visiting = Visiting(edge, Servers(children, ports), {'hoge.example.com': 20.0}, lambda: head, lambda *_: None)\n"
        "with ending_by_signals():\n"
        "    try:\n"
        "        visiting.open(); print(edge.state, flush=True); time.sleep(600)\n"
        "    finally:\n"
        "        visiting.close(home / 'kept')"
    )
    command = [sys.executable, "-c", code, str(tmp_path), head]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as demo:
        try:
            assert demo.stdout is not None
            state = demo.stdout.readline().decode().strip()
            # The keeper, the agent, and HAProxy's master and worker.
            assert len(processes(state)) == 4
            demo.send_signal(how)
            exit_code = demo.wait(PATIENCE)
        finally:
            demo.kill()
    if how == signal.SIGTERM:
        assert exit_code == 128 + signal.SIGTERM
        assert not Path(state).exists()
        assert (tmp_path / "kept" / "haproxy.cfg").exists()
    else:
        deadline = time.monotonic() + PATIENCE
        while processes(state):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        shutil.rmtree(state)
    assert not processes(state)


def processes(words: str) -> list[int]:
    """Return who has some words in its command."""
    found = []
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            if each.name.isdigit() and words.encode() in (each / "cmdline").read_bytes():
                found.append(int(each.name))
    return [pid for pid in found if is_alive(pid)]
