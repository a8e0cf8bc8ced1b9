"""Whether a cluster is declared lost without a person: only where its classes let that be done, and with brakes. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from shopset.core.fleets import Fleet
from shopset.core.placement.plans import Seen
from shopset.core.release.actions import SHOPSET
from shopset.core.release.plans import Condition

Signs = Mapping[str, Mapping[str, str]]
"""Cluster -> who looks at it -> what is wrong; empty where it is well. Who cannot say is left out."""
_ENOUGH: Final = 2
"""Independent signals without which nothing is decided."""
_LONGEST_GAP: Final = timedelta(minutes=3)
"""Between two looks: beyond, nobody knows what was in between."""
_BETWEEN_LOOKS: Final = timedelta(minutes=1)
"""While a cluster is unhealthy."""
_SECLUSION: Final = timedelta(hours=1)
"""How long nothing more is declared lost without a person after it was done once."""


@dataclass(frozen=True)
class Vigil:
    """What has been seen of the clusters so far."""

    since: Mapping[str, datetime] = field(default_factory=dict)
    """Cluster of which every signal says that it is unhealthy -> since when without a break."""
    at: datetime | None = None
    """The last look."""
    declared: datetime | None = None
    """When a cluster was last declared lost."""

    def after(self, signs: Signs, now: datetime) -> "Vigil":
        """Return what is known after one more look."""
        since = {} if self.at is None or now - self.at > _LONGEST_GAP else self.since
        return replace(self, since={name: since.get(name, now) for name in signs if _is_failing(signs[name])}, at=now)


@dataclass(frozen=True)
class Verdict:
    """What follows from a look."""

    lost: str = ""
    """The cluster that is to be declared lost; empty where none is."""
    reason: str = ""
    """The evidence."""
    conditions: tuple[Condition, ...] = ()
    wake_at: datetime | None = None


def judge(fleet: Fleet, seen: Seen, vigil: Vigil, signs: Signs, trouble: str = "") -> Verdict:
    """Say which cluster is to be declared lost now, if any, and what people are to know of those that may be.

    `trouble` is what shopset itself lacks: then it may be the one that is cut off.
    """
    conditions: list[Condition] = []
    wakes: list[datetime] = []
    lost = reason = ""
    brake = _brake(seen, vigil, signs, trouble)
    for cluster in sorted(vigil.since.keys() & fleet.clusters.keys()):
        if cluster in seen.clusters:
            continue
        evidence = "; ".join(f"{who}: {what}" for who, what in sorted(signs[cluster].items()))
        patience, refusal = _patience(fleet, seen, cluster)
        due = vigil.since[cluster] + patience
        refusal = refusal or brake
        if refusal:
            message = f"{evidence}. It is not declared lost by itself: {refusal}"
            conditions.append(Condition(f"Cluster/{cluster}", "Healthy", "Failing", message))
        elif vigil.at is not None and vigil.at >= due:
            lost, reason = cluster, f"unhealthy for {_minutes(vigil.at - vigil.since[cluster])}: {evidence}"
        else:
            wakes.append(min(due, seen.now + _BETWEEN_LOOKS))
            message = f"{evidence}. If it stays so, it is declared lost at {due:%H:%M:%S} UTC"
            conditions.append(Condition(f"Cluster/{cluster}", "Healthy", "Failing", message))
    return Verdict(lost, reason, tuple(conditions), min(wakes, default=None))


def asks_for_failover(fleet: Fleet) -> bool:
    """Whether any class lets clusters be declared lost without a person."""
    return any(each.spec.failover is not None for each in fleet.shop_classes.values())


def _is_failing(signals: Mapping[str, str]) -> bool:
    return len(signals) >= _ENOUGH and all(signals.values())


def _brake(seen: Seen, vigil: Vigil, signs: Signs, trouble: str) -> str:
    """Return why nothing is declared lost without a person now; empty where nothing is against it."""
    if trouble:
        return f"shopset itself may be cut off ({trouble})"
    unwell = [name for name, signals in signs.items() if any(signals.values()) and name not in seen.clusters]
    well = [name for name, signals in signs.items() if signals and not any(signals.values())]
    if len(unwell) > 1:
        return f"{', '.join(sorted(unwell))} are unhealthy at once, and of several domains a person decides: shopctl cluster lost"
    if len(well) <= len(unwell):
        return f"only {len(well)} other clusters are seen to be well, so it may be shopset that is cut off: shopctl cluster lost"
    for name, record in sorted(seen.clusters.items()):
        if record.state == "Lost" and record.by == str(SHOPSET):
            return f"cluster {name} was, and no person has confirmed it: shopctl cluster lost {name}, or shopctl cluster return {name}"
    if vigil.declared is not None and vigil.at is not None and vigil.at < vigil.declared + _SECLUSION:
        return f"another one was at {vigil.declared:%H:%M:%S} UTC, and a person decides for an hour after that: shopctl cluster lost"
    return ""


def _patience(fleet: Fleet, seen: Seen, cluster: str) -> tuple[timedelta, str]:
    """Return for how long all signals must say so, and why the classes that have shops there do not let it be done."""
    classes = set(_classes_on(fleet, seen, cluster))
    waits = {name: fleet.shop_classes[name].spec.failover for name in classes if name in fleet.shop_classes}
    unwilling = sorted(name for name, failover in waits.items() if failover is None)
    if not waits:
        return timedelta(0), "no shop is there"
    if unwilling:
        return timedelta(0), (
            f"shops of {', '.join(unwilling)} are there, which has no spec.failover. A person does it: "
            f"shopctl cluster lost {cluster}"
        )
    return max(failover.after for failover in waits.values() if failover is not None), ""


def _classes_on(fleet: Fleet, seen: Seen, cluster: str) -> Iterator[str]:
    there = set(fleet.hosted(cluster))
    return (group.shop_class for group in seen.placement.groups.values() if not there.isdisjoint(group.replicas))


def _minutes(span: timedelta) -> str:
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"
