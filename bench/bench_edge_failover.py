"""A ShopSet dies, hangs, resets, answers 500 or pauses under steady load: which requests fail, and for how long.

The shoppers are an open loop, and give up after 3 s. As browsers do, they repeat a safe request once whose connection, one that was
kept, is closed without an answer: those are no failures, and counted by themselves. A request that is not safe must never be received
twice.
"""

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import edges
from shopset.core.placement.edges import EdgeClass, EdgeSettings
from shopset.core.placement.placements import Group
from shopset.edge.routes import backend_of
from support.haproxies import ask, debian, newer, running, wait_for_state
from support.origins import Origin, free_port, origins
from support.shoppers import Outcome, shopping

SHOPS = 100
NAMES = ("a-0", "b-0", "c-0")
HEADS = (
    "event",
    "safe ones failed",
    "closed, and repeated by the shopper",
    "POSTs failed",
    "as time",
    "sent twice",
    "lasted",
    "longest safe one",
    "marked down",
    "failed as",
)
METHODS = ("GET", "GET", "HEAD", "GET", "GET", "POST")


def _pause(origin: Origin) -> None:
    origin.stop()
    time.sleep(0.3)
    origin.resume()


EVENTS: dict[str, Callable[[Origin], None]] = {
    "kill": Origin.kill,
    "SIGSTOP": Origin.stop,
    "reset of every request": lambda origin: origin.behave("reset", health="reset"),
    "reset, but checks are answered": lambda origin: origin.behave("reset"),
    "500 to everything": lambda origin: origin.behave("500", health="500"),
    "500, but checks are answered": lambda origin: origin.behave("500"),
    "pause of 300 ms": _pause,
}


@dataclass
class Figures:
    """Of one event, a figure a run."""

    safe: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    unsafe: list[int] = field(default_factory=list)
    twice: int = 0
    longest: list[float] = field(default_factory=list)
    lasted: list[float] = field(default_factory=list)
    down: list[int] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


def downs(path: Path, shopset: str) -> int:
    """Return how often checks took a ShopSet out."""
    names, *rows = [line.split(",") for line in ask(path, "show stat").removeprefix("# ").splitlines() if line]
    return sum(int(row[names.index("chkdown")] or 0) for row in rows if row[1] == "p" and shopset in row[0])


def one(program: str, folder: Path, event: str, options: argparse.Namespace, figures: Figures) -> None:
    """Run one event on fresh ShopSets and a fresh HAProxy."""
    with origins(*NAMES) as running_origins:
        endpoints = {name: origin.address for name, origin in running_origins.items()}
        facts = edges.facts_of(endpoints, EdgeClass("standard", replicas=3), EdgeSettings())
        groups = {"standard#0": Group("standard#0", "standard", NAMES)}
        port = free_port()
        file = edges.lay_down(folder, facts, groups, edges.shops_of(SHOPS, 1), port)
        socket = folder / "run" / "haproxy.sock"
        hosts = [edges.host_of(number) for number in range(SHOPS)]
        with running(program, file, ready=port):
            for name in NAMES:
                wait_for_state(socket, f"{backend_of(name)}/p", "UP")
            victim = running_origins[NAMES[0]]
            with shopping(port, rate=options.rate, hosts=hosts, methods=METHODS) as shoppers:
                shoppers.wait(options.rate)
                EVENTS[event](victim)
                shoppers.wait(options.rate * options.seconds)
                outcome = shoppers.end()
            figures.down.append(downs(socket, NAMES[0]))
            if event == "SIGSTOP":
                victim.resume()
            counts: Counter[str] = Counter()
            for origin in running_origins.values():
                # What was killed is not asked; what it received counts as received once, so a second time is seen elsewhere.
                if not (event == "kill" and origin is victim):
                    counts.update(origin.counts())
        note(outcome, counts, figures)


def note(outcome: Outcome, counts: Counter[str], figures: Figures) -> None:
    """Add a run's figures."""
    unsafe = {each.identity for each in outcome.unsafe.seen}
    figures.safe.append(len(outcome.safe.failed))
    figures.repeated.append(len(outcome.repeated))
    figures.unsafe.append(len(outcome.unsafe.failed))
    figures.twice += sum(1 for identity in unsafe if counts[identity] > 1)
    figures.longest.append(outcome.safe.percentile(1))
    figures.lasted.append(outcome.failed.span())
    figures.outcomes.update(outcome.failed.outcomes())


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--event", choices=EVENTS, action="append")
    parser.add_argument("--haproxy", choices=["debian", "newer", "both"], default="newer")
    options = parser.parse_args()
    share = METHODS.count("POST") / len(METHODS)
    for program in {"debian": [debian()], "newer": [newer()], "both": [debian(), newer()]}[options.haproxy]:
        print(
            f"\n{edges.version(program)}: {options.rate} requests/s to one ShopSet, {share * options.rate:.0f}/s of them POST; a run each"
        )
        print(f"load of the machine {os.getloadavg()[0]:.1f}")
        print(f"| {' | '.join(HEADS)} |")
        print(f"|---|{'--:|' * (len(HEADS) - 2)}---|")
        for event in options.event or EVENTS:
            figures = Figures()
            for _ in range(options.runs):
                with edges.scratch() as folder:
                    one(program, folder, event, options, figures)
            worth = median(figures.unsafe) / (share * options.rate)
            print(
                f"| {event} | {shown(figures.safe)} | {shown(figures.repeated)} | {shown(figures.unsafe)} | {worth:.2f} s "
                f"| {figures.twice} "
                f"| {median(figures.lasted):.2f} s | {median(figures.longest):.2f} s | {shown(figures.down)} "
                f"| {', '.join(f'{count} {what}' for what, count in figures.outcomes.most_common(4))} |",
                flush=True,
            )


def shown(figures: list[int]) -> str:
    """Return each run's count."""
    return " / ".join(map(str, figures))


if __name__ == "__main__":
    main()
