"""The agent of an edge with a real HAProxy and a real repository, and what tests do with them."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pygit2

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeSettings, EdgeShop, EdgeShopSet, RateLimit
from shopset.core.placement.formats import BRANCH, dump_placement
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.edge.changes import COMMIT_KEY, GENERATION_KEY, SPARE_KEY
from shopset.edge.hostmap import unpacked
from shopset.edge.places import Place
from shopset.edge.routes import GONE, ROUTE_PREFIX, HostValue, host_entries, parse_host_value, parse_route, routes
from shopset.edge_agent.agents import Agent
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.following import Branch
from shopset.edge_agent.haproxies import Haproxy
from shopset.edge_agent.metrics import Metrics
from shopset.edge_agent.runtime import Runtime, RuntimeApiError
from shopset.edge_agent.settings import Settings
from shopset.gitops.placements import PlacementReader
from support.origins import free_port
from support.worlds import ENVIRONMENT

PATIENCE = 30.0
SIGNATURE = pygit2.Signature("shopset", "shopset@example.com")


class Repository:
    """A system repository with the branch `placement`; commits are made at once, without git."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._repository = pygit2.init_repository(str(path), bare=True)

    def push(self, placement: Placement) -> str:
        """Make a placement the branch's head."""
        return self.push_files(dump_placement(placement))

    def push_files(self, files: Mapping[str, bytes], *, orphan: bool = False) -> str:
        """Make some files the branch's head; `orphan` forgets all commits before."""
        tree = self._tree({tuple(path.split("/")): content for path, content in files.items()})
        name = f"refs/heads/{BRANCH}"
        known = name in self._repository.references
        parents = [self._repository.references[name].target] if known and not orphan else []
        commit = self._repository.create_commit(None, SIGNATURE, SIGNATURE, "a step", tree, parents)
        self._repository.references.create(name, commit, force=True)
        return str(commit)

    def _tree(self, files: Mapping[tuple[str, ...], bytes]) -> pygit2.Oid:
        builder = self._repository.TreeBuilder()
        folders: dict[str, dict[tuple[str, ...], bytes]] = {}
        for path, content in files.items():
            if len(path) == 1:
                builder.insert(path[0], self._repository.create_blob(content), pygit2.enums.FileMode.BLOB)
            else:
                folders.setdefault(path[0], {})[path[1:]] = content
        for name, inside in folders.items():
            builder.insert(name, self._tree(inside), pygit2.enums.FileMode.TREE)
        return builder.write()


def placement(
    groups: Mapping[str, Iterable[str]],
    shops: Mapping[str, str],
    endpoints: Mapping[str, str],
    *,
    special: Iterable[EdgeShop] = (),
    limit: RateLimit | None = None,
    settings: EdgeSettings | None = None,
    hosts: Callable[[str], tuple[str, ...]] = lambda shop: (f"{shop}.example.com",),
) -> Placement:
    """Return a placement: group -> ShopSets, shop -> group, ShopSet -> endpoint."""
    facts = EdgeFacts(
        settings or EdgeSettings(),
        {name: EdgeShopSet(name, endpoints[name]) for name in sorted(endpoints)},
        {"standard": EdgeClass("standard", limit or RateLimit())},
        {each.name: each for each in sorted(special, key=lambda each: each.name)},
    )
    made = (Group(name, "standard", tuple(replicas)) for name, replicas in groups.items())
    return Placement.of(made, (PlacedShop(name, group, hosts(name)) for name, group in shops.items()), facts)


@dataclass
class Edge:
    """One edge: a state folder, an HAProxy that the agent starts, and the agent in this process."""

    repository: Repository
    program: str | None
    folder: StateFolder
    place: Place
    settings: Settings
    started: list[Agent] = field(default_factory=list)
    starters: list[Haproxy] = field(default_factory=list)

    @property
    def port(self) -> int:
        """For shoppers."""
        return int(self.place.http[0].rpartition(":")[2])

    @property
    def runtime(self) -> Runtime:
        return Runtime(Path(self.place.runtime_socket))

    def agent(self, effect: Callable[[str], None] = lambda _: None, metrics: Metrics | None = None) -> Agent:
        """Return an agent that was just started, as after a crash of the one before."""
        branch = Branch(str(self.repository.path), self.folder.path / "git" / "system.git", ENVIRONMENT, 60)
        haproxy = Haproxy(self.folder, self.place, self.program)
        made = Agent(self.folder, self.place, branch, haproxy, self.settings, metrics, effect)
        self.started.append(made)
        self.starters.append(haproxy)
        return made

    def follow(self, agent: Agent | None = None) -> Agent:
        """Have an agent look at git, and work until HAProxy holds what it says."""
        agent = agent or self.agent()
        agent.look()
        self.until(agent, lambda: agent.status.haproxy is not None and not self.differing(agent))
        return agent

    def until(self, agent: Agent, holds: Callable[[], bool]) -> None:
        """Give an agent turns until something holds."""
        deadline = time.monotonic() + PATIENCE
        agent.turn()
        while not holds():
            assert time.monotonic() < deadline, (agent.status, self.differing(agent))
            time.sleep(0.05)
            agent.turn()

    def differing(self, agent: Agent) -> str:
        """Say what HAProxy holds otherwise than the commit that the agent says it routes by."""
        commit = agent.status.commit
        return self.differing_from(commit) if commit else "nothing is routed by"

    def differing_from(self, commit: str) -> str:
        """Say what HAProxy holds otherwise than a commit says."""
        try:
            wanted, held = self.expected(commit), self.held()
        except RuntimeApiError as error:
            return str(error)
        unlike = sorted(host for host in wanted.keys() | held.keys() if wanted.get(host) != held.get(host))
        return "" if not unlike else f"{unlike[0]}: {held.get(unlike[0])}, not {wanted.get(unlike[0])}"

    def expected(self, commit: str) -> dict[str, tuple[str, str]]:
        """Return host -> shop and route, as the pure rules have it for a commit, with nothing but the whole of it."""
        read = PlacementReader(pygit2.Repository(str(self.repository.path))).read(commit).placement
        made = routes(read.edge, read.groups, read.members)
        shops = (PlacedShop(name, group, tuple(read.hosts.get(name, ()))) for name, group in read.members.items())
        found: dict[str, tuple[str, str]] = {}
        for host, text in host_entries(shops, read.edge, made):
            value = parse_host_value(text)
            assert value is not None
            found[host] = (value.shop, text.split(":", 2)[2])
        return found

    def held(self) -> dict[str, tuple[str, str]]:
        """Return host -> shop and route, as HAProxy's two maps have it together; spare backends by their ShopSets' names."""
        hosts = {
            host: said
            for key, value in self.runtime.entries(self.place.hosts_map)
            for host, said in unpacked(key, value)
        }
        moved = dict(self.runtime.entries(self.place.moved_map))
        spares = {key.removeprefix(SPARE_KEY): name for key, name in moved.items() if key.startswith(SPARE_KEY)}
        changed = {key: text for key, text in moved.items() if key.startswith(ROUTE_PREFIX)}
        marks = (COMMIT_KEY, GENERATION_KEY, SPARE_KEY, ROUTE_PREFIX)
        together = {host: text for host, text in (hosts | moved).items() if not host.startswith(marks)}
        found = {}
        for host, text in together.items():
            if text != GONE:
                value = parse_host_value(text)
                assert isinstance(value, HostValue)
                route = changed.get(f"{ROUTE_PREFIX}{value.route_id}", text.split(":", 2)[2])
                found[host] = (value.shop, re.sub(r"spare-\d+", lambda name: spares.get(name[0], name[0]), route))
        return found

    def ask(self, host: str, path: str = "/") -> int:
        """Be one shopper, and return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().status
        finally:
            connection.close()

    def kill_haproxy(self) -> None:
        """SIGKILL to HAProxy, master and workers."""
        for pid in self.haproxies():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while any(map(is_alive, self.haproxies())):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # Whoever started it takes notice.
        while any([starter.is_alive() for starter in self.starters]):  # noqa: C419  # each of them
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def haproxies(self) -> list[int]:
        """Return the processes that were started with this state folder's configuration."""
        wanted = os.fsencode(self.folder.configuration)
        found = []
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                with suppress(OSError):
                    if wanted in (each / "cmdline").read_bytes().split(b"\0"):
                        found.append(int(each.name))
        return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody waits for does not any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def edge(program: str | None, settings: Settings | None = None, **place: Any) -> Iterator[Edge]:
    """Return an edge whose agent is not started yet; at the end nothing of it runs any more."""
    # Paths of Unix sockets are short, so this is no folder of pytest.
    folder = Path(tempfile.mkdtemp(prefix="edge-"))
    try:
        state = StateFolder.at(folder / "s")
        made = Edge(
            Repository(folder / "system.git"),
            program,
            state,
            Place(str(state.path), http=(f"127.0.0.1:{free_port()}",), threads=1, connections=1000, **place),
            settings or Settings(poll=0.2, settle=3600),
        )
        try:
            yield made
        finally:
            made.kill_haproxy()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class RunningAgent:
    """An agent in a process of its own."""

    def __init__(self, of: Edge, *options: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "shopset.edge_agent", "run", "--state", str(of.folder.path)]
        command += ["--haproxy", str(of.program), "--http", of.place.http[0], "--listen", self.url[7:], *options]
        command += ["--threads", "1", "--connections", "1000"]
        self.process = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )

    def get(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310  # its own address
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def status(self) -> dict[str, Any]:
        code, text = self.get("/status")
        return dict(json.loads(text)) if code == 200 else {}

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, "the agent ended"
            assert time.monotonic() < deadline, self.get("/status")
            time.sleep(0.05)


@contextmanager
def running_agent(of: Edge, *options: str) -> Iterator[RunningAgent]:
    """Run an agent in a process of its own until the block ends."""
    running = RunningAgent(of, *options)
    try:
        yield running
    finally:
        end(running.process)
        assert running.process.stderr is not None
        running.process.stderr.close()


def end(process: "subprocess.Popen[Any]") -> None:
    """End a process, whatever it does."""
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


__all__ = ["Edge", "Repository", "RunningAgent", "edge", "end", "parse_route", "placement", "running_agent"]
