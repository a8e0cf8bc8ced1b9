"""The fleet as the oracle is told it: plain values, written down independently of the code under test."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class TierRules:
    """What a tier asks for."""

    level: int
    approvals: int = 0
    bake: timedelta = timedelta(0)
    freezes: tuple[tuple[datetime, datetime], ...] = ()
    passes_through: bool = False
    on_failure: str = "Continue"

    def frozen(self, moment: datetime) -> bool:
        """Whether a moment lies in a freeze window."""
        return any(start <= moment < end for start, end in self.freezes)


@dataclass(frozen=True)
class Member:
    """A ShopSet. `configuration` is the path of its Configuration."""

    tier: str
    configuration: str
    cluster: str


@dataclass(frozen=True)
class Wish:
    """One state of the fleet."""

    tiers: Mapping[str, TierRules]
    shopsets: Mapping[str, Member]
    platform: str = "shop"
    prefix: str = "shopset-"

    def branches(self) -> dict[str, str]:
        """Return branch -> tier."""
        return {f"tier-{rules.level}": name for name, rules in self.tiers.items()}

    def lower(self, tier: str) -> str | None:
        """Return the next lower tier."""
        below = {rules.level: name for name, rules in self.tiers.items() if rules.level < self.tiers[tier].level}
        return below[max(below)] if below else None

    def overlay(self, tier: str, name: str, components: Sequence[str]) -> bytes:
        """Return the overlay of a ShopSet in a tier's tree, as docs/formats.md shows it."""
        resources = "".join(f"- ../../base{'/' + each if each else ''}\n" for each in components)
        return (
            "# Written by shopset (renderer v1). Change the fleet or the base instead.\n"
            "apiVersion: kustomize.config.k8s.io/v1beta1\n"
            "kind: Kustomization\n"
            f"namespace: {self.prefix}{name}\n"
            f"resources:\n{resources}"
            f"components:\n- ../../configuration/{self.shopsets[name].configuration}\n"
            "labels:\n"
            "- pairs:\n"
            "    app.kubernetes.io/part-of: shopset\n"
            f"    shopset.dev/shopset: {name}\n"
            f"    shopset.dev/tier: {tier}\n"
            "  includeSelectors: false\n"
        ).encode()


def duration(text: str) -> timedelta:
    """Read a duration such as `1h30m`. Raises ValueError."""
    if not re.fullmatch(r"(?:[0-9.]+(?:ms|s|m|h|d))+", text):
        raise ValueError(text)
    parts = re.findall(r"([0-9.]+)(ms|s|m|h|d)", text)
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
