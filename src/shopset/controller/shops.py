"""The Shops, of which only what rules need is kept: there may be 50,000, and they are no part of the fleet."""

from bisect import bisect_left, insort
from collections.abc import Set
from dataclasses import dataclass
from sys import intern
from threading import Lock

from shopset.api import Shop, ShopClass, ShopSet
from shopset.controller.statuses import shop_status
from shopset.core.fleets import Problem, host_is_taken
from shopset.kube.clients import Manifest
from shopset.kube.fleets import parse
from shopset.kube.stores import version_of

_Claim = tuple[str, str]
"""When a Shop was created, and its name: of several Shops with one host, the least has it."""


@dataclass(frozen=True, slots=True)
class _Known:
    version: int
    claim: _Claim
    hosts: tuple[str, ...]
    needs: tuple[str, ...]
    """What it refers to, as in `ShopClass/small`."""
    flaw: Problem | None
    """Why it cannot be read."""
    told: str | None
    """What its condition says is wrong; None where that was said of what it was before."""


class Shops:
    """Which Shops there are but those being deleted, for whoever watches them and whoever asks in another thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: dict[str, _Known] = {}
        self._claims: dict[str, list[_Claim]] = {}
        """Host -> who would have it, the owner first."""
        self._untold: set[str] = set()
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
    found = parse(manifest)
    if not isinstance(found, Shop):
        return _Known(version, claim, (), (), found if isinstance(found, Problem) else None, _told(manifest))
    needs = [f"{ShopClass.__name__}/{found.spec.class_}", *(f"{ShopSet.__name__}/{name}" for name in found.spec.pins)]
    return _Known(version, claim, found.spec.hosts, tuple(map(intern, needs)), None, _told(manifest))


def _told(manifest: Manifest) -> str | None:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    found = next((each for each in conditions if each["type"] == "Accepted"), None)
    if found is None:
        return ""
    return str(found["message"]) if found.get("observedGeneration") == manifest["metadata"].get("generation") else None
