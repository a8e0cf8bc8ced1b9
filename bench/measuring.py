"""Measuring: several runs, alternating, so that a noisy machine is noisy for both; the median and the spread."""

import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from shopset.core.fleets import Fleet, assemble
from support.pure import resource

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_REQUESTS: Final = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<number>\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


def alternate(sides: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Run each side in turn; return its seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def shown(seconds: list[float]) -> str:
    """Return the median and the spread of some runs."""
    return f"{statistics.median(seconds) * 1000:8.1f} ms ({min(seconds) * 1000:.1f} - {max(seconds) * 1000:.1f}, n={len(seconds)})"


def spread(figures: list[float], unit: str = "s") -> str:
    """Return the median and the spread of some figures that are large."""
    return f"{statistics.median(figures):7.1f} {unit} ({min(figures):.1f} - {max(figures):.1f}, n={len(figures)})"


def ratio(ours: list[float], peer: list[float]) -> float:
    """Return the ratio of the medians."""
    return statistics.median(ours) / statistics.median(peer)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has had, with that of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def peak_memory(pid: int) -> float:
    """Return the most memory that a process has had at once, in MiB, without that of its children."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def requests(metrics: str) -> Counter[str]:
    """Return how many requests an API server has had, `verb resource` each, from what it answers at /metrics.

    Watches are counted when they end. Only the kinds of shopset and Argo CD, and Events, are counted.
    """
    found: Counter[str] = Counter()
    for match in _REQUESTS.finditer(metrics):
        labels = dict(_LABEL.findall(match["labels"]))
        if labels["group"] in {"argoproj.io", "shopset.dev"} or labels["resource"] == "events":
            what = "/".join(filter(None, (labels["resource"], labels["subresource"])))
            found[f"{labels['verb']} {what}"] += int(float(match["number"]))
    return found


def large_fleet(shopsets: int, tiers: int, clusters: int) -> Fleet:
    """Return a fleet of a given size."""
    repositories = {key: f"/srv/git/shopset-{key}.git" for key in ("system", "apps", "configuration")}
    resources = [resource("Platform", "shop", repositories=repositories, delivery={"directory": {"path": "/clusters"}})]
    resources += [resource("Tier", f"t{level}", level=level) for level in range(tiers)]
    resources += [resource("Configuration", name, path=name) for name in ("staging", "production")]
    resources += [resource("Cluster", f"k{number}") for number in range(clusters)]
    for number in range(shopsets):
        spec = {"tier": f"t{number % tiers}", "configuration": "production", "cluster": f"k{number % clusters}"}
        resources.append(resource("ShopSet", f"s{number:05}", **spec))
    fleet = assemble(resources).fleet
    assert fleet is not None
    return fleet
