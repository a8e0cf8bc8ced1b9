"""What the benches of the edge share: its world, HAProxy on one core, and what makes requests on the other.

CPU per request is that of the HAProxy process over the answers that wrk counted: it is steadier than requests per second.
"""

import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeHealth, EdgeSettings, EdgeShopSet
from shopset.core.placement.placements import Group, PlacedShop
from shopset.edge.configuration import Place, configuration
from shopset.edge.hostmap import lines_of
from shopset.edge.routes import host_entries, routes
from shopset.edge_agent.haproxies import environment
from support.haproxies import Running, start, wait_until_ready
from support.origins import free_port

CLUSTERS = "abcdefgh"
EDGE_CORE, OTHER_CORE = 0, (os.cpu_count() or 1) - 1
_MIX = 2_654_435_761
"""Knuth's: neighbours in number are none in a sorted list, as real names are not."""
_WORDS = ("tea", "wine", "shoes", "bikes", "books", "toys", "lamps", "cheese", "flowers", "guitars")
_DOMAINS = ("com", "de", "nl", "co.uk", "fr", "shop", "store", "net", "eu", "it")


# --- The world --------------------------------------------------------------------------------------------------------


def shopset_name(number: int) -> str:
    """Return the name of a ShopSet; neighbours are on different clusters."""
    return f"{CLUSTERS[number % len(CLUSTERS)]}-{number // len(CLUSTERS)}"


def host_of(number: int) -> str:
    """Return the host of a shop: 7 of 10 have a domain of their own."""
    mixed = number * _MIX % 2**32
    word = _WORDS[mixed % len(_WORDS)]
    if mixed // 16 % 10 < 7:
        return f"www.{word}-{mixed:x}-{number % 7}.{_DOMAINS[mixed // 256 % len(_DOMAINS)]}"
    return f"{word}-{mixed:x}-{number % 7}.shop-pro.jp"


def shop_of(number: int, groups: int) -> PlacedShop:
    """Return a shop; groups get shops in turn."""
    return PlacedShop(f"shop-{number}", f"standard#{number % groups}", (host_of(number),))


def shops_of(count: int, groups: int) -> Iterator[PlacedShop]:
    """Yield all shops."""
    return (shop_of(number, groups) for number in range(count))


def groups_of(count: int, shopsets: int) -> dict[str, Group]:
    """Return groups of two replicas on two clusters."""
    groups = {}
    for number in range(count):
        first = number * 7 % shopsets
        second = (first + 1 + number // shopsets % (len(CLUSTERS) - 1)) % shopsets
        name = f"standard#{number}"
        groups[name] = Group(name, "standard", (shopset_name(first), shopset_name(second)))
    return groups


def without_cluster(groups: Mapping[str, Group], cluster: str, shopsets: int) -> dict[str, Group]:
    """Return the groups that had ShopSets of a cluster, each with others in their place."""
    moved: dict[str, Group] = {}
    for name, group in groups.items():
        left = [each for each in group.replicas if not each.startswith(f"{cluster}-")]
        number = len(moved)
        while len(left) < len(group.replicas):
            candidate = shopset_name(number % shopsets)
            number += 1
            if candidate[0] not in {cluster, *(each[0] for each in left)}:
                left.append(candidate)
        if tuple(left) != group.replicas:
            moved[name] = Group(name, group.shop_class, tuple(left))
    return moved


def facts_of(endpoints: Mapping[str, str], shop_class: EdgeClass, settings: EdgeSettings | None = None) -> EdgeFacts:
    """Return the facts of ShopSets (name -> host:port) and one class."""
    # The default checks each ShopSet 12 times a second: of 200 that is the load of another bench, so it is told apart there.
    settings = settings or EdgeSettings(health=EdgeHealth(interval=2000, timeout=1000))
    shopsets = {name: EdgeShopSet(name, f"http://{endpoints[name]}") for name in sorted(endpoints)}
    return EdgeFacts(settings, shopsets, {shop_class.name: shop_class})


# --- HAProxy's files --------------------------------------------------------------------------------------------------


def lay_down(
    folder: Path,
    facts: EdgeFacts,
    groups: Mapping[str, Group],
    shops: Iterable[PlacedShop],
    port: int,
    **settings: object,
) -> Path:
    """Write all files of an edge on a port of loopback, with one thread; return its configuration."""
    place = place_of(folder, port, **settings)
    for each in ("maps", "run", "certificates"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    write_hosts(folder, facts, groups, shops)
    (folder / "maps" / "moved.map").touch()
    file = Path(place.configuration)
    file.write_text(configuration(facts, place))
    return file


def place_of(folder: Path, port: int, **settings: Any) -> Place:
    """Return the place of an edge on loopback."""
    return replace(Place(str(folder), http=(f"127.0.0.1:{port}",), threads=1, connections=4000), **settings)


def write_hosts(folder: Path, facts: EdgeFacts, groups: Mapping[str, Group], shops: Iterable[PlacedShop]) -> None:
    """Write the large map, as the agent orders it."""
    with (folder / "maps" / "hosts.map").open("wb") as file:
        file.writelines(lines_of(entries(facts, groups, shops)))


def entries(facts: EdgeFacts, groups: Mapping[str, Group], shops: Iterable[PlacedShop]) -> Iterator[tuple[str, str]]:
    """Yield what the maps say of some shops."""
    return host_entries(shops, facts, routes(facts, groups, {}))


_NOT_BARE = (
    "track-sc",
    "http-response",
    "x-forwarded",
    "forwardfor",
    "del-header",
    "x-request-id",
    "disable-l7-retry",
    "txn.id",
)
_CONDITION = re.compile(r" !?{ [^{}]*(sc_http_req_rate|in_table)[^{}]* }")


def bare(text: str) -> str:
    """Return a configuration that only routes: the host, its route, the first ShopSet that is up."""
    lines = []
    is_backend = False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            is_backend = line.startswith("backend ")
        if any(each in line for each in _NOT_BARE) or (
            is_backend and line.startswith("    http-request") and "return" not in line
        ):
            continue
        lines.append(_CONDITION.sub("", line) if line.startswith("    http-request allow if ") else line)
    return "\n".join(lines) + "\n"


# --- Processes --------------------------------------------------------------------------------------------------------


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder; scripts/bench sees to it that it is in memory."""
    with tempfile.TemporaryDirectory(prefix="edge-") as folder:
        yield Path(folder)


def pin(pid: int, core: int) -> None:
    """Keep a process, with what it starts from now on, on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


@dataclass(frozen=True)
class Started:
    """An HAProxy that was started to be measured."""

    running: Running
    seconds: float
    """Until it accepted connections."""

    @property
    def pid(self) -> int:
        """Of the process that serves."""
        return self.running.pid

    def memory(self) -> float:
        """Return its memory, in MiB."""
        return memory(self.pid)


def memory(pid: int) -> float:
    """Return the memory that a process holds now, in MiB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


@contextmanager
def measured(program: str, file: Path, port: int) -> Iterator[Started]:
    """Run HAProxy on its core, with the environment that the agent gives it."""
    os.sched_setaffinity(0, {EDGE_CORE})
    begin = time.perf_counter()
    try:
        running = start(program, file, file.with_suffix(".log"), environment=environment())
    finally:
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
    try:
        wait_until_ready(running, port)
        yield Started(running, time.perf_counter() - begin)
    finally:
        running.kill()


@contextmanager
def quick_origins(program: str, folder: Path, names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Run an HAProxy that answers as all ShopSets at once, each on a port of its own, as cheaply as can be; yield name -> host:port."""
    ports = {name: free_port() for name in names}
    binds = "\n".join(f"    bind 127.0.0.1:{port} name {name}" for name, port in ports.items())
    (folder / "origins.cfg").write_text(
        f"""global
    nbthread 1
    maxconn 8000
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 1s
frontend shopsets
{binds}
    http-request return status 200 content-type text/plain string "ok" hdr X-ShopSet %[so_name]
"""
    )
    running = start(program, folder / "origins.cfg", folder / "origins.log")
    try:
        wait_until_ready(running, next(iter(ports.values())))
        pin(running.pid, OTHER_CORE)
        yield {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        running.kill()


# --- Requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What a generator counted. Seconds."""

    requests: int
    good: int
    median: float
    p99: float
    most: float
    statuses: Mapping[str, int]
    first_failure: float = 0.0
    last_failure: float = 0.0

    @property
    def failed(self) -> int:
        """Requests that had no answer with status 200."""
        return self.requests - self.good


_WRK = """
function init()
  requests = {}
  for host in io.lines(os.getenv("EDGE_HOSTS")) do requests[#requests + 1] = "GET / HTTP/1.1\\r\\nHost: " .. host .. "\\r\\n\\r\\n" end
  math.randomseed(tonumber(os.getenv("EDGE_SEED")))
end
function request() return requests[math.random(#requests)] end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


def closed_loop(port: int, hosts: Path, seconds: int, connections: int = 64) -> Load:
    """Let wrk ask for hosts of a file, drawn evenly, as fast as answers come."""
    script = hosts.with_suffix(".lua")
    script.write_text(_WRK)
    command = ["taskset", "-c", str(OTHER_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(script), f"http://127.0.0.1:{port}/"]
    environment = {**os.environ, "EDGE_HOSTS": str(hosts), "EDGE_SEED": "7"}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", output, re.MULTILINE)
    assert found, output
    requests, bad, errors, median, p99, most = map(int, found.groups())
    statuses = {"200": requests - bad, "other": bad, "error": errors}
    return Load(requests + errors, requests - bad, median / 1e6, p99 / 1e6, most / 1e6, statuses)


def targets(file: Path, port: int, hosts: Iterable[str]) -> Path:
    """Write what vegeta is to ask for."""
    url = f"http://127.0.0.1:{port}/"
    file.write_text(
        "".join(json.dumps({"method": "GET", "url": url, "header": {"Host": [host]}}) + "\n" for host in hosts)
    )
    return file


class OpenLoop:
    """vegeta at a constant rate, whether answers come or not; latencies count from when a request was sent."""

    def __init__(self, file: Path, rate: int, seconds: float, *, timeout: float = 3.0) -> None:
        self._begin = time.time()
        command = [
            "taskset",
            "-c",
            str(OTHER_CORE),
            "vegeta",
            "attack",
            "-format=json",
            f"-targets={file}",
            f"-rate={rate}",
        ]
        command += [
            f"-duration={seconds}s",
            f"-timeout={timeout}s",
            "-redirects=-1",
            "-max-body=0",
            "-max-workers=3000",
        ]
        self._results = file.with_suffix(".results")
        self._output = self._results.open("wb")
        self._process = subprocess.Popen(command, stdout=self._output)

    def __enter__(self) -> "OpenLoop":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._process.wait()
        self._output.close()

    def stop(self) -> None:
        """Send no more, before the time has come."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def result(self, since: float = 0.0, until: float = float("inf")) -> Load:
        """Wait for the end; count what was sent between two times (of the clock)."""
        self._process.wait()
        self._output.close()
        text = subprocess.run(
            ["vegeta", "encode", "--to=csv", str(self._results)], check=True, capture_output=True, text=True
        ).stdout
        rows = [line.split(",", 4) for line in text.splitlines()]
        seen = [(int(at) / 1e9, status, int(took) / 1e9) for at, status, took, *_ in rows]
        seen = [each for each in seen if since <= each[0] <= until]
        took = sorted(each[2] for each in seen)
        failures = [at for at, status, _ in seen if status != "200"]
        statuses: dict[str, int] = {}
        for _, status, _ in seen:
            statuses[status] = statuses.get(status, 0) + 1
        first, last = (min(failures) - self._begin, max(failures) - self._begin) if failures else (0.0, 0.0)
        good = len(seen) - len(failures)
        if not took:
            return Load(0, 0, 0, 0, 0, {})
        return Load(
            len(seen), good, statistics.median(took), took[int(len(took) * 0.99)], took[-1], statuses, first, last
        )


def latencies(load: Load) -> str:
    """Return the median, that of 99 of 100, and the worst."""
    return " / ".join(f"{1000 * each:.1f}" for each in (load.median, load.p99, load.most)) + " ms"


def milliseconds(seconds: Sequence[float], digits: int = 0) -> str:
    """Return the median and the spread of some times."""
    low, middle, high = (
        f"{1000 * each:.{digits}f}" for each in (min(seconds), statistics.median(seconds), max(seconds))
    )
    return f"{middle} ms ({low} - {high}, n={len(seconds)})"


def sample(hosts: int, count: int, seed: int = 3) -> list[str]:
    """Return some hosts, drawn evenly of all."""
    drawn = random.Random(seed).sample(range(hosts), min(count, hosts))  # noqa: S311
    return [host_of(number) for number in drawn]


def version(program: str) -> str:
    """Return what a program says that it is."""
    said = subprocess.run([program, "-v"], check=True, capture_output=True, text=True).stdout
    return f"HAProxy {said.split()[2].partition('-')[0]}"


def need(*programs: str) -> None:
    """End where a program is missing."""
    for each in programs:
        if not shutil.which(each):
            raise SystemExit(f"{each} is missing: scripts/bench brings it")
