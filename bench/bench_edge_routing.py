"""What routing costs: CPU per request with a million hosts beside the same HAProxy with one backend, its start, memory and latency.

Every shape is started anew in each round, in turn; ratios are of medians in one run.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import edges
from measuring import cpu_seconds, spread
from shopset.core.placement.edges import EdgeClass, RateLimit
from support.haproxies import debian, newer
from support.origins import free_port

LIMITS = {"bare": 1.75, "everything": 2.2}


@dataclass
class Figures:
    """Of one shape, a figure a round."""

    cpu: list[float] = field(default_factory=list)
    """Microseconds per request."""
    start: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    median: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    failed: int = 0


def static(head: str, port: int, endpoints: dict[str, str], many: bool) -> str:
    """Return a configuration that does not look at requests: one backend, or all, drawn by lot."""
    chosen = list(endpoints.values()) if many else list(endpoints.values())[:1]
    backends = "".join(
        f"backend r{number}\n    server p {address} check inter 2s\n" for number, address in enumerate(chosen)
    )
    rule = f"use_backend r%[rand({len(chosen)})]" if many else "default_backend r0"
    return f"{head}\nfrontend edge\n    bind 127.0.0.1:{port}\n    {rule}\n{backends}"


def run(program: str, options: argparse.Namespace, folder: Path) -> None:
    """Measure one HAProxy and print its rows."""
    names = [edges.shopset_name(number) for number in range(options.shopsets)]
    with edges.quick_origins(program, folder, names) as endpoints:
        groups = edges.groups_of(options.groups, options.shopsets)
        hosts = folder / "sample.txt"
        hosts.write_text("".join(f"{host}\n" for host in edges.sample(options.hosts, 200_000)))
        facts = edges.facts_of(endpoints, EdgeClass("standard", limit=RateLimit(50.0, 100), replicas=2))
        port = free_port()
        everything = edges.lay_down(folder / "edge", facts, groups, edges.shops_of(options.hosts, options.groups), port)
        bare = folder / "edge" / "bare.cfg"
        bare.write_text(edges.bare(everything.read_text()))
        files = {"bare": (bare, port), "everything": (everything, port)}
        head = everything.read_text().partition("\nfrontend ")[0]
        for name in ("static1", "static200"):
            port, file = free_port(), folder / f"{name}.cfg"
            file.write_text(static(head, port, endpoints, name != "static1"))
            files[name] = (file, port)
        figures = measure(
            program, options, {name: files[name] for name in ("static1", "static200", "bare", "everything")}, hosts
        )
        show(program, options, figures)


def measure(
    program: str, options: argparse.Namespace, files: dict[str, tuple[Path, int]], hosts: Path
) -> dict[str, Figures]:
    """Run every shape in turn."""
    figures = {name: Figures() for name in files}
    asked = edges.sample(options.hosts, 20_000, seed=4)
    for _ in range(options.rounds):
        for name, (file, port) in files.items():
            mine = figures[name]
            with edges.measured(program, file, port) as haproxy:
                mine.start.append(haproxy.seconds)
                mine.memory.append(haproxy.memory())
                edges.closed_loop(port, hosts, 1)
                before = cpu_seconds(haproxy.pid)
                load = edges.closed_loop(port, hosts, options.seconds)
                mine.cpu.append((cpu_seconds(haproxy.pid) - before) / load.requests * 1e6)
                steady = edges.targets(hosts.with_suffix(".json"), port, asked)
                with edges.OpenLoop(steady, options.rate, options.seconds) as attack:
                    latency = attack.result()
                mine.median.append(latency.median)
                mine.p99.append(latency.p99)
                mine.failed += load.failed + latency.failed
    return figures


def show(program: str, options: argparse.Namespace, figures: dict[str, Figures]) -> None:
    """Print the table."""
    base = median(figures["static1"].cpu)
    print(
        f"\n{edges.version(program)}: {options.hosts:,} hosts, {options.groups:,} groups, {options.shopsets} ShopSets, one thread"
    )
    print(
        f"| shape | CPU per request | to static1 | limit | start | memory | p50 / p99 at {options.rate:,}/s | failed |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, mine in figures.items():
        ratios = [cpu / peer for cpu, peer in zip(mine.cpu, figures["static1"].cpu, strict=True)]
        times = f"{median(mine.median) * 1000:.2f} / {median(mine.p99) * 1000:.2f} ms"
        print(
            f"| {name} | {spread(mine.cpu, 'us').strip()} | {median(mine.cpu) / base:.2f} ({min(ratios):.2f} - {max(ratios):.2f}) "
            f"| {LIMITS.get(name, '')} | {median(mine.start):.2f} s | {median(mine.memory):.0f} MiB | {times} | {mine.failed} |"
        )


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=16_000)
    parser.add_argument("--shopsets", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--haproxy", choices=["debian", "newer", "both"], default="newer")
    options = parser.parse_args()
    edges.need("wrk", "vegeta", "taskset")
    programs = {"debian": [debian()], "newer": [newer()], "both": [debian(), newer()]}[options.haproxy]
    for program in programs:
        with edges.scratch() as folder:
            run(program, options, folder)


if __name__ == "__main__":
    main()
