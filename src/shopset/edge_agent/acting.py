"""Acting: what is decided goes to the disk, and then to HAProxy.

The order is the same everywhere: the file first, HAProxy then. So whenever HAProxy starts, it starts with the newest that there
is, whatever ended in between. Where the disk refuses, HAProxy is told all the same.
"""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

from shopset.core.errors import ShopsetError
from shopset.edge.changes import COMMIT_KEY
from shopset.edge.places import Place
from shopset.edge_agent.applied import Applied, Version, on_disk
from shopset.edge_agent.deciding import Fold, address_of, judgement_by_numbers
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.folding import Folded, fold, generation_name, write_check
from shopset.edge_agent.haproxies import Haproxy
from shopset.edge_agent.metrics import Metrics
from shopset.edge_agent.observing import Observer
from shopset.edge_agent.runtime import HaproxyAwayError, RuntimeApiError
from shopset.edge_agent.statuses import overlay_size

_log = logging.getLogger(__name__)
_SERVER: Final = "p"


class DiskError(ShopsetError):
    """The state folder takes no files."""


class Actor:
    """Writes the state folder and tells HAProxy. `effect` is called after each step that outlives the agent."""

    def __init__(
        self,
        folder: StateFolder,
        place: Place,
        haproxy: Haproxy,
        observer: Observer,
        metrics: Metrics,
        effect: Callable[[str], None],
    ) -> None:
        self.place, self.haproxy = place, haproxy
        self.applied: Applied | None = None
        """What is routed by."""
        self.pid: int | None = None
        """Of the HAProxy that was found to hold it; None where that is to be seen (again)."""
        self.troubles: dict[str, str] = {}
        """Kind -> what a person should know."""
        self.is_written_otherwise = False
        """Whether the files on disk would be others if they were made now, by this shopset and with these options."""
        self._folder, self._observer, self._metrics, self._effect = folder, observer, metrics, effect
        self._changed_at = monotonic()
        """When the first change since the last fold came."""
        self._load()

    @property
    def overlay_age(self) -> float:
        """Seconds since the first change after the last fold."""
        return monotonic() - self._changed_at

    def _load(self) -> None:
        """Take up what is on disk. HAProxy has it too, or will have when it starts."""
        self.applied = on_disk(self._folder)
        if self.applied is not None:
            self.know(self.applied)
        elif self._folder.configuration.exists():
            self.trouble("state", "the files in the state folder are not as they were written: they are made anew")

    def recollect(self, applied: Applied, base: Version) -> None:
        """Take up what git says of what is on disk."""
        self.know(applied)
        self.is_written_otherwise = applied.generation.name != generation_name(base.snapshot, base.side, self.place)

    def know(self, applied: Applied) -> None:
        """Route by this from now on, be it that HAProxy is still to be told."""
        self.applied = applied
        self._observer.known = frozenset({applied.commit, applied.generation.commit})

    # -- the overlay

    def swap(self, applied: Applied) -> None:
        """Route by another overlay. Raises RuntimeApiError."""
        if self.applied is None or overlay_size(self.applied.overlay) == 0:
            self._changed_at = monotonic()
        self.know(applied)
        self.write_overlay(applied)
        self.give_overlay(applied)

    def write_overlay(self, applied: Applied) -> None:
        """Write moved.map. A disk that refuses keeps nobody from routing."""
        try:
            self._folder.write_overlay(applied.overlay)
        except OSError as error:
            self._metrics.write_errors.inc()
            self.trouble(
                "disk", f"moved.map cannot be written, so HAProxy would start with an older one: {error.strerror}"
            )
        else:
            self._untrouble("disk")
        self._effect("overlay written")

    def give_overlay(self, applied: Applied) -> None:
        """Give HAProxy the overlay. Raises RuntimeApiError. One that is away reads the file when it starts."""
        try:
            self.set_spares(applied)
            self.haproxy.runtime.swap(self.place.moved_map, applied.overlay)
        except HaproxyAwayError:
            self.pid = None
            return
        self._effect("swapped")

    def set_spares(self, applied: Applied) -> None:
        """Give spare backends the addresses of their ShopSets, before any route leads there. Raises RuntimeApiError."""
        if not applied.spares or applied.now is None:
            return
        there = {server.backend: server for server in self.haproxy.servers() if server.name == _SERVER}
        for shopset, backend in applied.spares.items():
            address, port = address_of(applied.now.side.facts.shopsets[shopset])
            server = there.get(backend)
            if server is None or server.is_in_maintenance or (server.address, server.port) != (address, port):
                self.haproxy.runtime.set_address(backend, _SERVER, address, port)
                self._effect("spare set")

    # -- all files

    def fold(self, decision: Fold) -> None:
        """Write everything anew and have HAProxy read it. Raises PlacementRefusedError, RuntimeApiError, DiskError."""
        version = decision.version
        _log.info("folding %s: %s", version.commit[:12], decision.why)
        before = self.applied
        try:
            folded = self._publish(before, version)
        except OSError as error:
            self._metrics.write_errors.inc()
            raise DiskError(f"the state folder {self._folder.path} cannot be written: {error.strerror}") from error
        self._effect("published")
        generation = folded.generation
        self.know(Applied(generation, {COMMIT_KEY: generation.commit}, generation.groups, {}, version, version))
        self.is_written_otherwise = False
        # All of them are about the files before.
        self.troubles.clear()
        self._changed_at = monotonic()
        self.reload(before)
        self._folder.tidy()

    def _publish(self, before: Applied | None, version: Version) -> Folded:
        folder = self._folder.fresh()
        self._effect("folder made")
        self.haproxy.check(write_check(folder, version.side, self.place))
        folded = fold(self._observer.branch, version.snapshot, version.side, self.place, folder)
        self._effect("folded")
        self._observer.check(version.commit, folded.problems)
        # What git still has was judged shop by shop.
        if before is not None and before.now is None:
            self._observer.judge(version.commit, judgement_by_numbers(before, version, folded.generation.groups))
        self._folder.publish(folder)
        return folded

    # -- HAProxy

    def reload(self, before: Applied | None = None) -> None:
        """Have HAProxy read the files. Raises RuntimeApiError where it does not take them: then the ones before are back."""
        if not self.haproxy.is_alive():
            return
        try:
            self.haproxy.reload()
        except HaproxyAwayError:
            self.pid = None
            return
        except RuntimeApiError:
            self._metrics.reloads.labels("failed").inc()
            if before is not None and self._folder.back():
                self.know(before)
            raise
        self._metrics.reloads.labels("done").inc()
        self.pid = None
        self._effect("reloaded")

    def start_haproxy(self) -> None:
        """Start HAProxy where it does not run. Raises ConfigurationRefusedError."""
        if self.haproxy.ensure_started():
            self._effect("haproxy started")
            self.pid = None

    # -- troubles

    def trouble(self, kind: str, text: str) -> None:
        """Note something that a person should know."""
        if self.troubles.get(kind) != text:
            _log.error("%s", text)
        self.troubles[kind] = text

    def _untrouble(self, kind: str) -> None:
        self.troubles.pop(kind, None)
