"""Fleets, shops and placements for tests of the planner."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from shopset.core.fleets import Fleet, assemble
from shopset.core.placement.shops import Shops
from support.pure import resource

STANDARD: Mapping[str, Any] = {"tier": "prod", "configuration": "production", "replicas": 2, "across": ["cluster"]}
SINGLE: Mapping[str, Any] = {"tier": "prod", "configuration": "production"}


def placing_fleet(
    clusters: Mapping[str, Mapping[str, str]],
    shopsets: Mapping[str, Mapping[str, Any]],
    classes: Mapping[str, Mapping[str, Any]] | None = None,
    levels: Sequence[str] = ("cluster",),
    **platform: Any,
) -> Fleet:
    """Return a fleet of one tier, prod: cluster -> topology, ShopSet -> spec (with its cluster), class -> spec."""
    repositories = {key: f"/srv/git/shopset-{key}.git" for key in ("system", "apps", "configuration")}
    spec = {"repositories": repositories, "delivery": {"directory": {"path": "/clusters"}}, **platform}
    resources = [resource("Platform", "shop", **spec), resource("Tier", "prod", level=0)]
    resources += [resource("Configuration", "production", path="production")]
    resources += [resource("FailureDomain", level, topologyKey=level) for level in levels]
    resources += [resource("Cluster", name, topology=dict(topology)) for name, topology in clusters.items()]
    for name, given in shopsets.items():
        resources.append(resource("ShopSet", name, **{"tier": "prod", "configuration": "production", **given}))
    for name, given in (classes or {"standard": STANDARD, "single": SINGLE}).items():
        resources.append(resource("ShopClass", name, **given))
    assembly = assemble(resources)
    assert assembly.fleet is not None, assembly.problems
    return assembly.fleet


def even_fleet(clusters: str, each: int, requests: float = 1000.0, **platform: Any) -> Fleet:
    """Return a fleet with `each` ShopSets on each of some clusters, named by letters: a-1, a-2, b-1."""
    capacity = {"requestsPerSecond": requests}
    shopsets = {f"{name}-{n}": {"cluster": name, "capacity": capacity} for name in clusters for n in range(1, each + 1)}
    return placing_fleet({name: {} for name in clusters}, shopsets, **platform)


def make_shops(found: Iterable[tuple[str, str, float]], hosts: str = "{}.example.com") -> Shops:
    """Return shops: name, class and requests a second of each."""
    rows = sorted(found)
    classes = tuple(sorted({shop_class for _, shop_class, _ in rows}))
    return Shops(
        [name for name, _, _ in rows],
        [(hosts.format(name),) for name, _, _ in rows],
        classes,
        np.array([classes.index(shop_class) for _, shop_class, _ in rows], np.int32),
        np.array([(demand, np.nan) for _, _, demand in rows], float).reshape(-1, 2),
    )
