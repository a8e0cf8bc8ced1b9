"""Verifying: that HAProxy holds what it should, whoever told it otherwise; and putting it right."""

import logging
import random
from collections.abc import Mapping

from shopset.edge.routes import host_entries
from shopset.edge_agent.acting import Actor
from shopset.edge_agent.applied import Applied
from shopset.edge_agent.deciding import Fold
from shopset.edge_agent.folders import Generation, StateFolder
from shopset.edge_agent.haproxies import sample
from shopset.edge_agent.metrics import Metrics
from shopset.edge_agent.observing import Observer
from shopset.edge_agent.runtime import HaproxyAwayError, Process, RuntimeApiError
from shopset.edge_agent.settings import Settings

_log = logging.getLogger(__name__)


class Verifier:
    """Compares what HAProxy holds with what is routed by, and repairs it."""

    def __init__(
        self, actor: Actor, observer: Observer, folder: StateFolder, settings: Settings, metrics: Metrics
    ) -> None:
        self._actor, self._observer, self._folder = actor, observer, folder
        self._settings, self._metrics = settings, metrics

    def verify(self, applied: Applied) -> Process | None:
        """Return the process that holds it; None where none answers. Raises RuntimeApiError."""
        actor = self._actor
        try:
            if self._repaired_generation(applied):
                applied = actor.applied or applied
            self._repair_overlay(applied)
            self._repair_sample(applied)
            process = actor.haproxy.runtime.process()
        except HaproxyAwayError:
            actor.pid = None
            return None
        if actor.pid not in {None, process.pid}:
            self._metrics.haproxy_restarts.inc()
        actor.pid = process.pid
        actor.haproxy.ended = ""
        return process

    def _repaired_generation(self, applied: Applied) -> bool:
        """Have HAProxy read its files anew where it holds others. Returns whether it had to."""
        if self._holds(applied.generation):
            return False
        actor = self._actor
        self._metrics.repairs.inc()
        if not self._folder.hosts_are_whole(applied.generation) and applied.now is not None:
            actor.fold(Fold(applied.now, "the files are not as they were written"))
        else:
            _log.warning("HAProxy holds other files than those in the state folder: it is reloaded")
            actor.reload()
        if not self._holds((actor.applied or applied).generation):
            message = f"it was not started with {self._folder.configuration}"
            raise RuntimeApiError("show env", message)
        return True

    def _holds(self, generation: Generation) -> bool:
        held = self._actor.haproxy.held()
        wanted = (generation.name, generation.name, generation.hosts)
        return (held.generation, held.hosts_generation, held.hosts) == wanted

    def _repair_overlay(self, applied: Applied) -> None:
        actor = self._actor
        actor.set_spares(applied)
        if "disk" in actor.troubles:
            actor.write_overlay(applied)
        if actor.haproxy.overlay() != applied.overlay:
            self._metrics.repairs.inc()
            _log.warning("HAProxy holds another overlay: it gets the right one")
            if self._folder.overlay() != applied.overlay:
                actor.write_overlay(applied)
            actor.give_overlay(applied)

    def _repair_sample(self, applied: Applied) -> None:
        """Compare some hosts of a shard of the large map."""
        if applied.base is None or not applied.base.snapshot.shards or self._actor.is_written_otherwise:
            # What another shopset wrote may have another form. It is right as long as the files are what was written.
            return
        shards, side = applied.base.snapshot.shards, applied.base.side
        path = random.choice(sorted(shards))  # noqa: S311  # not for secrets
        entries = host_entries(self._observer.branch.read(path, shards[path]).shard, side.facts, side.routes)
        wanted = sample(list(entries), self._settings.sample, random.Random())  # noqa: S311
        if not self._differing(wanted):
            return
        self._metrics.repairs.inc()
        _log.warning("HAProxy's large map differs from %s: it is reloaded", path)
        self._actor.reload()
        if twice := self._differing(wanted):
            self._actor.trouble(
                "hosts", f"HAProxy leads {twice[0]} otherwise than {path} says: another shop has it too"
            )

    def _differing(self, wanted: Mapping[str, str]) -> list[str]:
        found = self._actor.haproxy.hosts(list(wanted))
        return [host for host, value in wanted.items() if found.get(host) != value]
