"""The Shops, of which only what rules and the placement need is kept: there may be 50,000, and they are no part of the fleet."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Set
from dataclasses import dataclass
from sys import intern
from threading import Lock

from shopset.api import Shop, ShopClass, ShopSet
from shopset.api.shops import Demand, Limits
from shopset.controller.statuses import shop_status
from shopset.core.fleets import Problem, host_is_taken
from shopset.core.placement.placements import Placement
from shopset.kube.clients import Manifest
from shopset.kube.fleets import parse
from shopset.kube.stores import version_of

_NONE: tuple[str, ...] = ()
_Claim = tuple[str, str]
"""When a Shop was created, and its name: of several Shops with one host, the least has it."""


@dataclass(frozen=True, slots=True)
class _Known:
    version: int
    claim: _Claim
    hosts: tuple[str, ...]
    needs: tuple[str, ...]
    """What it refers to, as in `ShopClass/small`."""
    demand: Demand | None
    limits: Limits | None
    maintenance: bool
    flaw: Problem | None
    """Why it cannot be read."""
    told: str | None
    """What its condition says is wrong; None where that was said of what it was before."""
    replicas: tuple[str, ...]
    """Where its status says that it is."""

    def says_as(self, other: "_Known | None") -> bool:
        """Whether the placement takes both for the same."""
        return other is not None and self._said() == other._said()

    def _said(self) -> tuple[object, ...]:
        return self.claim, self.hosts, self.needs, self.demand, self.limits, self.maintenance, self.flaw


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the placement is to know of a Shop."""

    name: str
    created: str
    shop_class: str
    hosts: tuple[str, ...]
    pins: tuple[str, ...]
    demand: Demand | None
    limits: Limits | None
    maintenance: bool


class Shops:
    """Which Shops there are but those being deleted, for whoever watches them and whoever asks in another thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: dict[str, _Known] = {}
        self._claims: dict[str, list[_Claim]] = {}
        """Host -> who would have it, the owner first."""
        self._untold: set[str] = set()
        self._placement: Placement | None = None
        self._astray: set[str] = set()
        """Shops whose status says that they are elsewhere than they are."""
        self.edition = 0
        """Another one whenever a Shop came, went, or asks for something else."""
        self.is_complete = False
        """Whether all were listed once."""

    def put(self, manifest: Manifest) -> bool:
        """Take note of a Shop, unless what is known is newer. Returns whether something is to be told."""
        metadata = manifest["metadata"]
        with self._lock:
            known = self._found.get(metadata["name"])
            # What the status was written to may be told of after a change that a watch has told of already.
            if known is not None and known.version > version_of(manifest):
                return False
            return self._replace(metadata["name"], None if metadata.get("deletionTimestamp") else _read(manifest))

    def remove(self, manifest: Manifest) -> bool:
        """Take note that a Shop is gone. Returns whether something is to be told."""
        with self._lock:
            return self._replace(manifest["metadata"]["name"], None)

    def retain(self, names: Set[str]) -> bool:
        """Take note that there are no other Shops than these. Returns whether something is to be told."""
        with self._lock:
            for name in self._found.keys() - names:
                self._replace(name, None)
            self.is_complete = True
            return bool(self._untold)

    def wanted(self) -> tuple[int, list[Wanted], frozenset[str]]:
        """Return the edition, what the placement is to know of each Shop, by name, and those that cannot be read."""
        with self._lock:
            found = sorted(self._found.items())
            unread = frozenset(name for name, known in found if known.flaw is not None)
            return self.edition, list(_wanted(found)), unread

    def has(self, name: str) -> bool:
        """Return whether there is such a Shop."""
        with self._lock:
            return name in self._found

    def place(self, placement: Placement) -> bool:
        """Take note of where Shops are. Returns whether something is to be told."""
        with self._lock:
            if placement is not self._placement:
                self._placement = placement
                self._astray = {name for name, known in self._found.items() if self._is_astray(name, known)}
            return bool(self._astray)

    def astray(self, most: int) -> dict[str, tuple[str, ...]]:
        """Return Shops whose status does not say where they are, `most` at most, sorted, and where that is."""
        with self._lock:
            return {name: self._replicas(name) for name in sorted(self._astray)[:most]}

    def untold(self, most: int) -> list[str]:
        """Return Shops whose condition does not say what it should: `most` at most, sorted.

        None before all were listed: what is told of one may be the fault of another that is still to come.
        """
        with self._lock:
            return sorted(self._untold)[:most] if self.is_complete else []

    def problem(self, name: str) -> Problem | None:
        """Return what is wrong with a Shop."""
        with self._lock:
            return self._problem(name)

    def owner(self, host: str, besides: str) -> str | None:
        """Return the Shop that would have a host if there were not the one named; None where nobody would."""
        with self._lock:
            return next((name for _, name in self._claims.get(host, ()) if name != besides), None)

    def dependents(self, reference: str) -> list[str]:
        """Return the Shops that refer to a ShopClass or a ShopSet, as in `Shop/one`, sorted."""
        with self._lock:
            return sorted(f"Shop/{name}" for name, known in self._found.items() if reference in known.needs)

    def _replace(self, name: str, after: _Known | None) -> bool:
        before = self._found.pop(name, None)
        if after is not None:
            self._found[name] = after
        if before is not after and (after is None or not after.says_as(before)):
            self.edition += 1
        if after is not None and self._is_astray(name, after):
            self._astray.add(name)
        else:
            self._astray.discard(name)
        changed = {host for known in (before, after) if known is not None for host in known.hosts}
        owners = {host: self._owner(host) for host in changed}
        if before is not None:
            for host in before.hosts:
                claims = self._claims[host]
                del claims[bisect_left(claims, before.claim)]
        if after is not None:
            for host in after.hosts:
                insort(self._claims.setdefault(host, []), after.claim)
        affected = {name}
        for host in changed:
            if self._owner(host) != owners[host]:
                affected |= {other for _, other in self._claims[host]}
            if not self._claims[host]:
                del self._claims[host]
        return self._review(affected)

    def _is_astray(self, name: str, known: _Known) -> bool:
        return self._placement is not None and known.replicas != self._replicas(name)

    def _replicas(self, name: str) -> tuple[str, ...]:
        found = None if self._placement is None else self._placement.shop(name)
        return _NONE if found is None else found.group.replicas

    def _review(self, names: Set[str]) -> bool:
        untold = {name for name in names if name in self._found and self._found[name].told != self._message(name)}
        self._untold -= names
        self._untold |= untold
        return bool(untold)

    def _owner(self, host: str) -> str | None:
        return next((name for _, name in self._claims.get(host, ())), None)

    def _message(self, name: str) -> str:
        return next((str(each["message"]) for each in shop_status(self._problem(name))["conditions"]), "")

    def _problem(self, name: str) -> Problem | None:
        known = self._found.get(name)
        if known is None:
            return None
        for index, host in enumerate(known.hosts):
            owner = self._owner(host)
            if owner is not None and owner != name:
                return host_is_taken(name, index, host, owner)
        return known.flaw


def _read(manifest: Manifest) -> _Known:
    metadata, version = manifest["metadata"], version_of(manifest)
    claim = (str(metadata["creationTimestamp"]), str(metadata["name"]))
    found, replicas = parse(manifest), tuple(map(intern, (manifest.get("status") or {}).get("replicas") or _NONE))
    if not isinstance(found, Shop):
        flaw = found if isinstance(found, Problem) else None
        return _Known(version, claim, (), (), None, None, False, flaw, _told(manifest), replicas)
    needs = [f"{ShopClass.__name__}/{found.spec.class_}", *(f"{ShopSet.__name__}/{name}" for name in found.spec.pins)]
    told, interned = _told(manifest), tuple(map(intern, needs))
    spec = found.spec
    return _Known(
        version, claim, spec.hosts, interned, spec.demand, spec.limits, spec.maintenance, None, told, replicas
    )


def _wanted(found: list[tuple[str, _Known]]) -> Iterator[Wanted]:
    for name, known in found:
        if known.flaw is None and known.needs:
            shop_class, *pins = (each.partition("/")[2] for each in known.needs)
            wanted = (known.hosts, tuple(pins), known.demand, known.limits, known.maintenance)
            yield Wanted(name, known.claim[0], shop_class, *wanted)


def _told(manifest: Manifest) -> str | None:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    found = next((each for each in conditions if each["type"] == "Accepted"), None)
    if found is None:
        return ""
    return str(found["message"]) if found.get("observedGeneration") == manifest["metadata"].get("generation") else None
