"""Deciding: whether a commit can be brought to HAProxy at run time, or everything is to be written anew."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from shopset.core.placement.edges import EdgeFacts, EdgeShopSet
from shopset.edge.changes import COMMIT_KEY, SPARE_KEY, Judgement, counted, judge, overlay, spare_backends
from shopset.edge.configuration import configuration
from shopset.edge.places import Place
from shopset.edge_agent.applied import Applied, Version
from shopset.edge_agent.observing import Observer
from shopset.edge_agent.settings import Settings
from shopset.edge_agent.statuses import overlay_size


@dataclass(frozen=True)
class Swap:
    """HAProxy gets another overlay."""

    applied: Applied
    """What is routed by then."""


@dataclass(frozen=True)
class Fold:
    """All files are written anew, and HAProxy reads them."""

    version: Version
    why: str


def decide(
    applied: Applied | None, version: Version, observer: Observer, settings: Settings, place: Place
) -> Swap | Fold:
    """Return how a commit is brought to HAProxy. Raises PlacementRefusedError, and as the reading does."""
    if applied is None:
        return Fold(version, "there is nothing yet")
    base, now = applied.base, applied.now
    if base is None or now is None:
        return Fold(version, "git has no more what hosts.map was made of")
    most = settings.overlay_collected
    # Whatever differs by more than this from what is routed by differs by more than `most` from what hosts.map was made of.
    since = observer.changes(now, version, most + (0 if now is base else overlay_size(applied.overlay)))
    counts = counted(applied.counts, since)
    observer.judge(version.commit, judge(since, counts, now.side, version.side))
    spares = _spares(applied.spares, base.side.facts, version.side.facts, place)
    if spares is None:
        return Fold(version, "the configuration is another")
    if since.is_cut:
        return Fold(version, "most of it is another")
    # With a spare backend a route has another text, so the comparison that was made is of no use then.
    routed = observer.branch.with_backends(version.side, version.snapshot, spares)
    made = Version(version.snapshot, routed)
    changes = since if now is base and not spares else observer.changes(base, made, most)
    if changes.is_cut:
        return Fold(version, "most of it is another")
    entries = {COMMIT_KEY: version.commit}
    entries |= {f"{SPARE_KEY}{backend}": shopset for shopset, backend in spares.items()}
    entries |= overlay(changes, base.side, routed)
    return Swap(replace(applied, overlay=entries, counts=counts, spares=spares, now=version))


def why_fold(applied: Applied | None, settings: Settings, age: float) -> str:
    """Return why the overlay is to be folded now; empty where it is not. `age` is in seconds, of its oldest change."""
    if applied is None or applied.base is None or applied.now is None:
        return ""
    size = overlay_size(applied.overlay)
    if size > settings.overlay_most:
        return f"the overlay has {size:,} entries"
    others = applied.base.side.facts.shopsets.keys() != applied.now.side.facts.shopsets.keys()
    if others and age > settings.settle:
        return "there are other ShopSets"
    return "the overlay is old" if size and age > settings.overlay_age else ""


def judgement_by_numbers(before: Applied, version: Version, counts: Mapping[str, int]) -> Judgement:
    """Judge by group -> hosts alone, where git has no more what is routed by."""
    hosts = sum(before.counts.values())
    lost = sum(counts.get(name, 0) for name in before.counts if name not in version.side.served)
    return Judgement(hosts, max(0, hosts - sum(counts.values())), lost)


def address_of(shopset: EdgeShopSet) -> tuple[str, int]:
    """Return host and port of a ShopSet that a spare backend leads to."""
    parts = urlsplit(shopset.endpoint)
    return parts.hostname or "", parts.port or 80


def _spares(kept: Mapping[str, str], own: EdgeFacts, facts: EdgeFacts, place: Place) -> dict[str, str] | None:
    """Return which ShopSets use spare backends; None where HAProxy needs another configuration than that of `own`."""
    come = {name: each for name, each in facts.shopsets.items() if name not in own.shopsets}
    stayed = {name: each for name, each in facts.shopsets.items() if name in own.shopsets}
    if any(own.shopsets[name] != each for name, each in stayed.items()) or not all(map(_takes_spare, come.values())):
        return None
    # A ShopSet that is gone leaves a backend to which no route leads.
    if configuration(replace(facts, shopsets=own.shopsets), place) != configuration(own, place):
        return None
    return spare_backends(facts.shopsets, own.shopsets, kept, place.spares)


def _takes_spare(shopset: EdgeShopSet) -> bool:
    """Tell whether a spare backend can lead to a ShopSet: it speaks plain HTTP and knows no names."""
    parts = urlsplit(shopset.endpoint)
    try:
        ip_address(parts.hostname or "")
    except ValueError:
        return False
    return parts.scheme == "http"
