"""Changes of a million hosts beside steady requests: an overlay of 20,000 swapped, all of it by a reload, a lost cluster by the agent.

Failed requests are counted, and the worst latency is set beside that of the same load with nothing changed.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

import edges
from measuring import spread
from shopset.core.placement.edges import EdgeClass, EdgeFacts, RateLimit
from shopset.core.placement.placements import PlacedShop
from shopset.edge_agent.haproxies import environment
from shopset.edge_agent.runtime import HaproxyAwayError, Master, Runtime
from support.haproxies import debian, newer, start, wait_until_ready
from support.origins import free_port

SHOPSETS = 200


class Beside:
    """Steady requests, of which some seconds are looked at by themselves."""

    def __init__(self, targets: Path, rate: int) -> None:
        self._targets, self._rate = targets, rate
        self.idle: list[float] = []
        self.during: list[float] = []
        self.failed: list[int] = []
        self.requests = 0

    def run(self, change: Callable[[], object], seconds: float) -> None:
        """Measure some seconds of nothing, then as many in which something is changed."""
        with edges.OpenLoop(self._targets, self._rate, seconds) as attack:
            self.idle.append(attack.result().most)
        with edges.OpenLoop(self._targets, self._rate, seconds) as attack:
            time.sleep(1)
            change()
            load = attack.result()
        self.during.append(load.most)
        self.failed.append(load.failed)
        self.requests += load.requests

    def row(self) -> str:
        """Return the cells: failed, worst latency, that with nothing changed."""
        failed = " / ".join(map(str, self.failed))
        return f"{failed} of {self.requests:,} | {edges.milliseconds(self.during)} | {edges.milliseconds(self.idle)}"


def overlay(count: int, hosts: int, facts: EdgeFacts, groups: int) -> dict[str, str]:
    """Return the entries of an overlay that gives some hosts another group."""
    everything = edges.groups_of(groups, SHOPSETS)
    shops = (
        PlacedShop(f"shop-{number}", f"standard#{(number + 1) % groups}", (edges.host_of(number),))
        for number in range(0, hosts, max(1, hosts // count))
    )
    return dict(itertools.islice(edges.entries(facts, everything, shops), count))


def changes(program: str, options: argparse.Namespace, folder: Path) -> None:
    """Swap overlays and reload."""
    with edges.quick_origins(program, folder, [edges.shopset_name(number) for number in range(SHOPSETS)]) as endpoints:
        facts = edges.facts_of(endpoints, EdgeClass("standard", limit=RateLimit(1000.0, 1000), replicas=2))
        groups, port = edges.groups_of(options.groups, SHOPSETS), free_port()
        state = folder / "edge"
        file = edges.lay_down(state, facts, groups, edges.shops_of(options.hosts, options.groups), port)
        targets = edges.targets(folder / "asked.json", port, edges.sample(options.hosts, 20_000))
        haproxy = start(program, file, folder / "log", master=state / "run" / "master.sock", environment=environment())
        try:
            wait_until_ready(haproxy, port)
            master, runtime = Master(state / "run" / "master.sock"), Runtime(state / "run" / "haproxy.sock")
            worker = worker_of(master)
            edges.pin(worker, edges.EDGE_CORE)
            swaps(runtime, str(state / "maps" / "moved.map"), facts, targets, options)
            reloads(master, state, facts, targets, options)
        finally:
            haproxy.kill()


def worker_of(master: Master, patience: float = 60) -> int:
    """Return the worker, when its master is ready to tell."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with suppress(HaproxyAwayError):
            if worker := master.workers().current:
                return worker
        time.sleep(0.1)
    raise AssertionError("the master does not answer")


def swaps(runtime: Runtime, name: str, facts: EdgeFacts, targets: Path, options: argparse.Namespace) -> None:
    """Swap an overlay of 20,000 hosts again and again."""
    entries = overlay(20_000, options.hosts, facts, options.groups)
    runtime.swap(name, entries)
    beside, took = Beside(targets, options.rate), []

    def change() -> None:
        for _ in range(6):
            begin = time.perf_counter()
            runtime.swap(name, entries)
            took.append(time.perf_counter() - begin)
            time.sleep(0.3)

    for _ in range(options.rounds):
        beside.run(change, 4)
    print(
        f"| {len(entries):,} hosts in the overlay, swapped | {edges.milliseconds(took)} | {beside.row()} |", flush=True
    )
    runtime.swap(name, {})


def reloads(master: Master, state: Path, facts: EdgeFacts, targets: Path, options: argparse.Namespace) -> None:
    """Write all hosts anew, each with another group, and reload."""
    beside, written, loaded, both = Beside(targets, options.rate), [], [], []
    for number in range(options.rounds):
        begin = time.perf_counter()
        groups = edges.groups_of(options.groups, SHOPSETS)
        shops = (edges.shop_of(each, options.groups) for each in range(options.hosts))
        moved = (
            PlacedShop(each.name, f"standard#{(index + number + 1) % options.groups}", each.hosts)
            for index, each in enumerate(shops)
        )
        edges.write_hosts(state, facts, groups, moved)
        written.append(time.perf_counter() - begin)

        def change() -> None:
            begin = time.perf_counter()
            worker = master.reload()
            loaded.append(time.perf_counter() - begin)
            edges.pin(worker, edges.EDGE_CORE)
            both.append(edges.memory(worker) + sum(edges.memory(pid) for pid in master.workers().leaving))

        beside.run(change, 8)
    took = f"{spread(loaded).strip()}, {median(both):.0f} MiB with both; the file {spread(written).strip()}"
    print(f"| {options.hosts:,} hosts, all of them, by a reload | {took} | {beside.row()} |")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=16_000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--haproxy", choices=["debian", "newer", "both"], default="newer")
    options = parser.parse_args()
    edges.need("vegeta", "taskset")
    for program in {"debian": [debian()], "newer": [newer()], "both": [debian(), newer()]}[options.haproxy]:
        with edges.scratch() as folder:
            print(f"\n{edges.version(program)}: {options.hosts:,} hosts beside {options.rate:,} requests/s")
            print(f"load of the machine {os.getloadavg()[0]:.1f}")
            print("| change | time | failed | worst latency | with nothing changed |\n|---|--:|--:|--:|--:|")
            changes(program, options, folder)


if __name__ == "__main__":
    main()
