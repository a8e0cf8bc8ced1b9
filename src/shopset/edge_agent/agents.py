"""The agent: observe what git says, decide how HAProxy gets there, act, and verify that HAProxy holds it; over and over."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from shopset.core.errors import ShopsetError
from shopset.core.placement.edges import NO_EDGE, EdgeFacts, EdgeShopSet
from shopset.edge.changes import counted
from shopset.edge.places import Place
from shopset.edge.routes import backend_of
from shopset.edge_agent.acting import Actor
from shopset.edge_agent.deciding import Fold, Swap, decide, why_fold
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.following import Branch
from shopset.edge_agent.haproxies import Haproxy
from shopset.edge_agent.metrics import Metrics
from shopset.edge_agent.observing import Observer, PlacementRefusedError
from shopset.edge_agent.settings import Settings
from shopset.edge_agent.statuses import Mode, Status, overlay_size
from shopset.edge_agent.verifying import Verifier
from shopset.gitops.reading import AbsentObjectError
from shopset.gitops.stores import DamagedStoreError

_log = logging.getLogger(__name__)
_RETRY: Final = 5.0
"""Seconds until what failed is tried again."""


def _nothing(_effect: str) -> None:
    return


class Agent:
    """Brings the branch to HAProxy. Everything is called from one thread; `status` may be read from any.

    `effect` is called after each step that outlives the agent.
    """

    def __init__(
        self,
        folder: StateFolder,
        place: Place,
        branch: Branch,
        haproxy: Haproxy,
        settings: Settings | None = None,
        metrics: Metrics | None = None,
        effect: Callable[[str], None] = _nothing,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.status = Status()
        self._place, self._haproxy, self._clock = place, haproxy, clock
        self._settings = settings or Settings()
        self._metrics = metrics or Metrics()
        self._observer = Observer(branch, folder)
        self._actor = Actor(folder, place, haproxy, self._observer, self._metrics, effect)
        self._verifier = Verifier(self._actor, self._observer, folder, self._settings, self._metrics)
        self._refused: dict[str, PlacementRefusedError] = {}
        """Commit -> why it was."""
        self._verified_at = 0.0
        self._retry_at: float | None = None
        self._is_forgotten = False
        """Whether git has no more what the files on disk were made of."""
        if self._actor.applied is not None:
            self._observer.remember()

    # -- rounds

    def look(self) -> None:
        """Ask git for the branch's head. What goes wrong is in the status afterwards."""
        if self._observer.look():
            self._tell(contacted=self._clock())

    def turn(self) -> None:
        """Bring HAProxy to where git is, as far as that is possible. Never raises for what goes wrong in the world."""
        troubles: list[tuple[Mode, str]] = []
        self._retry_at = None
        start = self._actor.start_haproxy
        # What fails keeps nothing else from being done: what is refused, for one, has to be refused by HAProxy's next process too.
        for step in (start, self._recollect, self._bring, start, self._verify):
            try:
                step()
            except PlacementRefusedError as error:
                troubles.append((Mode.REFUSED, str(error)))
            except DamagedStoreError as error:
                troubles.append((Mode.STALE, str(error)))
                self._is_forgotten &= not self._observer.renew()
            except (ShopsetError, OSError) as error:
                troubles.append((Mode.STALE, str(error)))
        if any(mode is Mode.STALE for mode, _ in troubles):
            self._retry_at = monotonic() + min(_RETRY, self._settings.poll)
        others = (self._observer.trouble, self._haproxy.ended if self._actor.pid is None else "")
        troubles += [(Mode.STALE, each) for each in others if each]
        mode, reason = troubles[0] if troubles else (Mode.FRESH, "")
        if self._actor.applied is None and mode is not Mode.REFUSED:
            mode, reason = Mode.WAITING, reason or "there is no placement yet"
        self._show(mode, reason)

    def is_due(self) -> bool:
        """Tell whether there is something to do besides asking git."""
        head = self._observer.head
        if head in self._refused and self._observer.is_accepted(head):
            return True
        if self._retry_at is not None:
            return monotonic() >= self._retry_at
        return self._verified_at + self._settings.poll < monotonic() or bool(self._why_fold())

    def has_other_haproxy(self) -> bool:
        """Tell whether HAProxy is another process than the one that was compared last, or none."""
        process = self._haproxy.process()
        if process is None and self._actor.pid is None:
            return not self._haproxy.is_alive() and self._haproxy.program is not None
        return process is None or process.pid != self._actor.pid

    def backends(self) -> dict[str, tuple[EdgeShopSet, str]]:
        """Return the ShopSets that are routed to, each with its backend."""
        applied = self._actor.applied
        spares = {} if applied is None else applied.spares
        return {name: (each, spares.get(name) or backend_of(name)) for name, each in self.facts.shopsets.items()}

    @property
    def facts(self) -> EdgeFacts:
        """What is routed by."""
        applied = self._actor.applied
        return NO_EDGE if applied is None or applied.now is None else applied.now.side.facts

    @property
    def sees_haproxy(self) -> bool:
        """Whether HAProxy answered when it was asked last."""
        return self._actor.pid is not None

    # -- steps

    def _recollect(self) -> None:
        """Read again, after a start, what the files on disk were made of. Raises DamagedStoreError."""
        applied, observer = self._actor.applied, self._observer
        if applied is None or applied.base is not None or self._is_forgotten:
            return
        try:
            base = observer.version(applied.generation.commit)
            now = base if applied.commit == base.commit else observer.version(applied.commit)
            changes = observer.changes(base, now, 0)
        except AbsentObjectError:
            # The next commit is written as a whole.
            self._is_forgotten = True
            return
        counts = counted(applied.generation.groups, changes)
        self._actor.recollect(replace(applied, base=base, now=now, counts=counts), base)

    def _bring(self) -> None:
        """Route by the branch's head. Raises PlacementRefusedError, RuntimeApiError, DiskError, and as the reading does."""
        applied, observer = self._actor.applied, self._observer
        head = observer.head or (applied.commit if applied else None)
        if head is None:
            return
        if applied is None or head != applied.commit:
            if (refusal := self._refused.get(head)) and not observer.is_accepted(head):
                raise refusal
            self._bring_commit(head)
        elif why := self._why_fold():
            self._actor.fold(Fold(observer.version(head), why))

    def _bring_commit(self, commit: str) -> None:
        begin = monotonic()
        try:
            version = self._observer.version(commit)
            decision = decide(self._actor.applied, version, self._observer, self._settings, self._place)
            if isinstance(decision, Swap):
                self._actor.swap(decision.applied)
            else:
                self._actor.fold(decision)
        except PlacementRefusedError as error:
            self._refused = {commit: error}
            _log.error("%s", error)
            raise
        except (ShopsetError, OSError):
            self._metrics.applies.labels("failed").inc()
            raise
        self._refused = {}
        self._metrics.applies.labels("done").inc()
        self._metrics.duration.observe(monotonic() - begin)
        _log.info("routing by %s", commit[:12], extra={"commit": commit, "seconds": round(monotonic() - begin, 3)})
        self._tell(since=self._clock(), placed=version.snapshot.at)

    def _why_fold(self) -> str:
        if self._actor.is_written_otherwise:
            return "the configuration is another"
        return why_fold(self._actor.applied, self._settings, self._actor.overlay_age)

    def _verify(self) -> None:
        """See to it that HAProxy holds what it should. Raises RuntimeApiError."""
        applied = self._actor.applied
        if applied is None:
            return
        self._verified_at = monotonic()
        process = self._verifier.verify(applied)
        self._tell(haproxy=process, verified=self._clock() if process else self.status.verified)

    # -- telling

    def _tell(self, **changes: object) -> None:
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]  # fields of Status

    def _show(self, mode: Mode, reason: str) -> None:
        applied, head = self._actor.applied, self._observer.head
        if mode is not self.status.mode or reason != self.status.reason:
            level = logging.INFO if mode is Mode.FRESH else logging.WARNING
            _log.log(level, "%s: %s", mode.value, reason or "as git says")
        commit = applied.commit if applied else ""
        behind = None if head in {None, commit} else self.status.behind or self._clock()
        self._tell(
            mode=mode,
            reason=reason,
            commit=commit,
            placed=applied.now.snapshot.at if applied and applied.now else self.status.placed,
            head=head or "",
            since=self.status.since or (applied.generation.folded if applied else None),
            behind=behind,
            hosts=sum(applied.counts.values()) if applied else 0,
            overlay=overlay_size(applied.overlay) if applied else 0,
            folded=applied.generation.folded if applied else None,
            troubles=tuple(self._actor.troubles.values()),
        )
        self._show_metrics()

    def _show_metrics(self) -> None:
        status, metrics = self.status, self._metrics
        metrics.show_mode(status.mode.value)
        metrics.hosts.set(status.hosts)
        metrics.overlay.set(status.overlay)
        metrics.behind.set((self._clock() - status.behind) / timedelta(seconds=1) if status.behind else 0)
        metrics.haproxy_up.set(status.haproxy is not None)
        for gauge, moment in (
            (metrics.contacted, status.contacted),
            (metrics.placed, status.placed),
            (metrics.folded, status.folded),
        ):
            gauge.set(moment.timestamp() if moment else 0)
