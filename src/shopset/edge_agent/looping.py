"""The loop: look at git when it may have moved, bring HAProxy there, and keep an eye on it. Idle, it asks for next to nothing."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from threading import Event
from time import monotonic
from typing import Final

from shopset.edge_agent.agents import Agent
from shopset.edge_agent.following import LocalWatch
from shopset.edge_agent.settings import Settings

_log = logging.getLogger(__name__)
_FIRST_LOOKS: Final = 5.0
"""Seconds between two looks at git before there is any placement."""
_DISTANT_TICK: Final = 1.0
"""Seconds between two looks at HAProxy, where git is far away and tells of pushes or is polled."""


class Loop:
    """The agent's work, in a thread of its own. `duties` are done now and then, each with its own period in seconds."""

    def __init__(
        self,
        agent: Agent,
        watch: LocalWatch,
        settings: Settings,
        duties: Sequence[tuple[float, Callable[[], None]]] = (),
    ) -> None:
        self._agent = agent
        self._watch = watch
        self._settings = settings
        self._duties = [(period, duty, [0.0]) for period, duty in duties]
        self._woken = Event()
        self._stopping = Event()
        self._look_at = 0.0
        self._watch_at = 0.0
        self.beat = datetime.now(UTC)
        """When the loop was last seen alive."""

    def wake(self, reason: str) -> None:
        """Let the loop look at git now."""
        _log.debug("woken: %s", reason)
        self._look_at = 0.0
        self._woken.set()

    def stop(self) -> None:
        """Let the loop end after what it is at."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        """Loop until `stop`. Never raises."""
        # What is on disk first: git may be away for long.
        self._try(self._agent.turn)
        while not self._stopping.is_set():
            self._woken.clear()
            self._try(self._round)
            self.beat = datetime.now(UTC)
            if not self._stopping.is_set():
                self._woken.wait(self._settings.tick if self._watch.is_local else _DISTANT_TICK)

    def _round(self) -> None:
        if self._watch.moved() or monotonic() >= self._look_at:
            waits = self._agent.status.commit == ""
            self._look_at = monotonic() + (min(_FIRST_LOOKS, self._settings.poll) if waits else self._settings.poll)
            self._agent.look()
            self._agent.turn()
        elif self._agent.is_due() or self._has_other_haproxy():
            self._agent.turn()
        for period, duty, due in self._duties:
            if monotonic() >= due[0]:
                due[0] = monotonic() + period
                self._try(duty)

    def _has_other_haproxy(self) -> bool:
        if monotonic() < self._watch_at:
            return False
        self._watch_at = monotonic() + (self._settings.watch if self._agent.sees_haproxy else self._settings.tick)
        return self._agent.has_other_haproxy()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:  # noqa: BLE001  # a bug: it is told, and HAProxy goes on being looked after
            _log.exception("a step failed")
