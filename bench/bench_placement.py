"""Placement against its bounds, and against Meta's ReBalancer, with the harness of the design.

    python bench/bench_placement.py --harness ../shared/bench/placement --python VENV/bin/python [--rebalancer] [--only b1k,b100k]

`--python` is an interpreter with numpy, scipy and pandas, which the harness' scorer needs, and with `rebalancer==1.0.4` for `--rebalancer`.
The instances are made in a temporary folder unless `--data` names one. Whole commands are timed, with Python's start, reading and writing;
both engines run one after the other on each instance. A time is marked with `*` where others used over 15 % of the machine meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EVENTS = "b_fail,c_drain,e_return"
COMMAND = Path(__file__).with_name("placement_command.py")
EVEN = 1.05
"""Worst loads over their bounds, at most."""


def main() -> None:
    """Print a table of results and the ratios that are promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rebalancer", action="store_true", help="run it, too, where it answers: b1k to b100k, fail")
    parser.add_argument("--only", default="b1k,b10k,b100k,b1M")
    parser.add_argument("--events", default=EVENTS)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shopset-bench-") as home:
        data = options.data or Path(home) / "data"
        if not options.data:
            run(
                [options.python, options.harness / "instance.py", "--out", data, "--only", options.only], options.python
            )
        results = Path(home) / "results.jsonl"
        for instance in options.only.split(","):
            for event in options.events.split(","):
                engines = [f"shopset={sys.executable} {COMMAND} {{in}} {{out}}"]
                if options.rebalancer and event == "b_fail" and instance != "b1M":
                    engines.append("rebalancer")
                chosen = [argument for engine in engines for argument in ("--engine", engine)]
                narrow = ["--data", data, "--only", instance, "--events", event, "--results", results]
                run([options.python, options.harness / "bench.py", *narrow, *chosen], options.python)
        show([json.loads(line) for line in results.read_text().splitlines()])


def run(command: list[Any], python: str) -> None:
    """Run a part of the harness, with one thread for everything."""
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PY": python}
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, env={**os.environ, **single})


def show(results: list[dict[str, Any]]) -> None:
    """Print what was measured, and how it compares."""
    print(
        "| instance | event | engine | s (CPU s) | peak MB | moves (bound) | role changes "
        "| worst load / bound | after a loss / bound | safe |"
    )
    print("|---|---|---|--:|--:|--:|--:|--:|--:|---|")
    for one in results:
        where = f"| {one['instance']} | {one['event'][2:]} | {one['engine']} | {one['wall_s']:.2f}{'*' if one['others'] > 0.15 else ''}"
        if "util_n1" not in one:
            print(f"{where} ({one['cpu_s']}) | {one['peak_mb']} | no answer: {one.get('note', '')} | | | | |")
            continue
        bound = f"{one['moves_lb']}" if one["move_budget"] is None else f"at most {one['move_budget']}"
        print(
            f"{where} ({one['cpu_s']}) | {one['peak_mb']} | {one['moves']} ({bound}) | {one['role_changes']} "
            f"| {one['util_normal']:.3f} / {one['lb_normal']:.3f} = {one['util_normal'] / one['lb_normal']:.3f} "
            f"| {one['util_n1']:.3f} / {one['lb_n1']:.3f} = {one['util_n1'] / one['lb_n1']:.3f} | {'yes' if one['ok'] else 'NO'} |"
        )
    promised(results)


def promised(results: list[dict[str, Any]]) -> None:
    """Print how the loads compare with what is promised, and the time with ReBalancer's."""
    by_name = {(one["instance"], one["event"], one["engine"]): one for one in results}
    for (instance, event, engine), one in by_name.items():
        if engine != "shopset" or "util_n1" not in one:
            continue
        even = max(one["util_normal"] / one["lb_normal"], one["util_n1"] / one["lb_n1"])
        line = (
            f"{instance} {event[2:]}: both worst loads within {even - 1:.1%} of their bounds (at most {EVEN - 1:.0%})"
        )
        other = by_name.get((instance, event, "rebalancer"))
        if other:
            clock, work = other["wall_s"] / one["wall_s"], other["cpu_s"] / max(one["cpu_s"], 0.05)
            line += f"; {clock:.0f} x as fast as ReBalancer by the clock, {work:.0f} x by CPU time"
        print(line)
        print(f"  {one['engine_note']}")


if __name__ == "__main__":
    main()
