"""The demo's fleet: that of the talk, with the ShopSets that its drain needs, and shops of which few have most requests."""

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Final

from shopset.cli.demo.servers import AGENT
from shopset.cli.scaffolding import Copy, Layout

_COPIES: Final = (
    ("a-1", "beta-prod", "a"),
    ("a-2", "prod", "a"),
    ("b-1", "prod", "b"),
    ("b-2", "beta-prod", "b"),
    ("c-1", "beta", "c"),
    ("c-2", "dev", "c"),
    ("c-3", "prod", "c"),
    ("c-4", "beta-prod", "c"),
)
_TOPOLOGY: Final = {
    "a": {"provider": "on-premises", "region": "tokyo"},
    "b": {"provider": "aws", "region": "tokyo"},
    "c": {"provider": "on-premises", "region": "osaka"},
}
_FAST: Final = ("failureGrace: 1s", "deadline: 2m")
TIERS: Final = {
    "dev": (*_FAST, "bake: 0s"),
    "beta": (*_FAST, "bake: 1s"),
    "beta-prod": (*_FAST, "bake: 1s"),
    "prod": (*_FAST, "bake: 1s"),
}
_PLACING: Final = (
    "placement:",
    "  # A story has no time to wait: two in five shops may be between two ShopSets at once, for a second.",
    "  waves: {share: 40, pause: 1s}",
    "shops:",
    "  sources:",
    "  - {kind: Files, path: shops.csv}",
    "edge:",
    "  # A machine that plays a whole story stalls more than a server does: look less often than usual, and wait longer.",
    "  health: {interval: 250ms, timeout: 2s, rise: 2, slowStart: 1s}",
)
_REQUESTS: Final = 300.0
"""Requests per second that a ShopSet of prod bears."""
_SHOPS: Final = 300
LIMIT: Final = 20
"""Requests per second that a shop of class single may have."""
_NAMED: Final = {1: "hoge", 4: "foo", 8: "bar"}


def layout(folder: Path, configurations: Sequence[str], endpoint: Callable[[str], str]) -> Layout:
    """Return the fleet in a folder. Of two configurations the second is production's; of others, the last is prod's.

    `endpoint` says where a ShopSet is reached, and the agent AGENT of the edge.
    """
    given = _given(configurations)
    copies = [
        Copy(name, tier, given[name], cluster, _REQUESTS if tier == "prod" else None, endpoint=endpoint(name))
        for name, tier, cluster in _COPIES
    ]
    where = ["tier: prod", f"configuration: {configurations[-1]}"]
    limits = f"limits: {{requestsPerSecond: {LIMIT}.0, burst: {LIMIT}}}"
    return Layout(
        parent=str(folder / "git"),
        clusters=str(folder / "clusters"),
        tiers=TIERS,
        configurations=configurations,
        copies=copies,
        topology=_TOPOLOGY,
        domains=("cluster", "provider", "region"),
        classes={"standard": [*where, "replicas: 2", "across: [cluster]"], "single": [*where, limits]},
        placing=[*_PLACING, f"  agents: ['{endpoint(AGENT)}']"],
        more={"shops.csv": _shops()},
    )


def isolated(configuration: str, endpoint: Callable[[str], str]) -> list[Copy]:
    """Return the two ShopSets that become the isolated environment of one shop."""
    return [
        Copy(name, "prod", configuration, cluster, _REQUESTS, dedicated=True, endpoint=endpoint(name))
        for name, cluster in (("b-3", "b"), ("c-5", "c"))
    ]


def _given(configurations: Sequence[str]) -> dict[str, str]:
    """Return ShopSet -> configuration. Those of prod have the same one, or a class could not use them all.

    a-1 has that of b-2: a tier verifies only what a ShopSet of each configuration runs, and cluster a is lost in the story.
    """
    if list(configurations) == ["staging", "production"]:
        return {name: "staging" if tier == "dev" else "production" for name, tier, _ in _COPIES}
    others = cycle(configurations)
    given = {name: next(others) for name, tier, cluster in _COPIES if tier != "prod" and cluster != "a"}
    return {name: configurations[-1] if tier == "prod" else given.get(name, given["b-2"]) for name, tier, _ in _COPIES}


def visits() -> dict[str, float]:
    """Return host -> requests per second. The nth shop has 1/n of the first one's: few have most of them."""
    return {host_of(_name(number)): round(40 / number, 2) for number in range(1, _SHOPS + 1)}


def host_of(shop: str) -> str:
    """Return the host of a shop."""
    return f"{shop}.shop-pro.jp"


def _shops() -> str:
    """Return the shops' file."""
    lines = ["name,class,hosts,requestsPerSecond"]
    for number, (host, requests) in enumerate(visits().items(), 1):
        shop_class = "standard" if number % 4 else "single"
        lines.append(f"{_name(number)},{shop_class},{host},{requests:.2f}")
    return "\n".join(lines) + "\n"


def _name(number: int) -> str:
    return _NAMED.get(number, f"shop-{number:03d}")
