"""Measuring: several runs, alternating, so that a noisy machine is noisy for both; the median and the spread."""

import statistics
import time
from collections.abc import Callable, Mapping

from shopset.core.fleets import Fleet, assemble
from support.pure import resource


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


def ratio(ours: list[float], peer: list[float]) -> float:
    """Return the ratio of the medians."""
    return statistics.median(ours) / statistics.median(peer)


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
