"""One shop at 50 times its limit beside others: what fails of theirs, what a request of theirs costs, and how long it takes.

Three phases in turn: the others alone, the rush alone, both. What a request of the others costs beside a rush is what both cost together
less what the rush costs alone.
"""

import argparse
import os
import time
from pathlib import Path

import edges
from measuring import cpu_seconds, ratio, spread
from shopset.core.placement.edges import EdgeClass, RateLimit
from support.haproxies import debian, newer
from support.origins import free_port

OTHERS, GROUPS, SHOPSETS = 500, 100, 16


def run(program: str, options: argparse.Namespace, folder: Path) -> None:
    """Measure one HAProxy and print its rows."""
    alone_cpu: list[float] = []
    beside_cpu: list[float] = []
    rush_cpu: list[float] = []
    alone_median: list[float] = []
    beside_median: list[float] = []
    failed_alone = failed = refused = rushed = 0
    with edges.quick_origins(program, folder, [edges.shopset_name(number) for number in range(SHOPSETS)]) as endpoints:
        shop_class = EdgeClass(
            "standard", limit=RateLimit(requests_per_second=options.limit, burst=options.limit), replicas=2
        )
        facts, groups, port = edges.facts_of(endpoints, shop_class), edges.groups_of(GROUPS, SHOPSETS), free_port()
        file = edges.lay_down(folder / "edge", facts, groups, edges.shops_of(OTHERS + 1, GROUPS), port)
        others = edges.targets(folder / "others.json", port, map(edges.host_of, range(OTHERS)))
        rush = edges.targets(folder / "rush.json", port, [edges.host_of(OTHERS)])
        with edges.measured(program, file, port) as haproxy:
            for _ in range(options.rounds):
                used = cpu_seconds(haproxy.pid)
                with edges.OpenLoop(others, options.rate, options.seconds) as attack:
                    load = attack.result()
                cost = cpu_seconds(haproxy.pid) - used
                alone_cpu.append(cost / load.requests * 1e6)
                alone_median.append(load.median)
                failed_alone += load.failed
                used = cpu_seconds(haproxy.pid)
                with edges.OpenLoop(rush, 50 * options.limit, options.seconds) as attack:
                    load = attack.result()
                rush_alone = cpu_seconds(haproxy.pid) - used
                rush_cpu.append(rush_alone / load.requests * 1e6)
                # The limit counts the last seconds: each phase begins when nothing is left of the one before.
                time.sleep(2)
                used = cpu_seconds(haproxy.pid)
                with (
                    edges.OpenLoop(rush, 50 * options.limit, options.seconds) as second,
                    edges.OpenLoop(others, options.rate, options.seconds) as attack,
                ):
                    load, rushing = attack.result(), second.result()
                both = cpu_seconds(haproxy.pid) - used
                beside_cpu.append((both - rush_alone) / load.requests * 1e6)
                beside_median.append(load.median)
                failed += load.failed
                rushed += rushing.requests
                refused += rushing.statuses.get("429", 0)
                time.sleep(2)
    rush_rate, refusing = 50 * options.limit, spread(rush_cpu, "us").strip()
    print(
        f"\n{edges.version(program)}: {OTHERS} shops at {options.rate}/s together; one at {rush_rate}/s, limit {options.limit}/s"
    )
    print(
        f"load of the machine {os.getloadavg()[0]:.1f}; {refused:,} of {rushed:,} of the rush refused, at {refusing} each"
    )
    print("| of the others | alone | beside the rush | ratio | limit |\n|---|--:|--:|--:|--:|")
    print(f"| failed | {failed_alone} | {failed} | | 0 |")
    costs, times = [
        [spread(each, "us").strip() for each in (alone_cpu, beside_cpu)],
        [edges.milliseconds(each, 2) for each in (alone_median, beside_median)],
    ]
    print(f"| CPU per request | {costs[0]} | {costs[1]} | {ratio(beside_cpu, alone_cpu):.2f} | 1.2 |")
    print(f"| median latency | {times[0]} | {times[1]} | {ratio(beside_median, alone_median):.2f} | 1.2 |")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--haproxy", choices=["debian", "newer", "both"], default="newer")
    options = parser.parse_args()
    edges.need("vegeta", "taskset")
    for program in {"debian": [debian()], "newer": [newer()], "both": [debian(), newer()]}[options.haproxy]:
        with edges.scratch() as folder:
            run(program, options, folder)


if __name__ == "__main__":
    main()
