"""When the loop works: at once where somebody waits for it, and where objects change all the time no more than its share."""

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Final

_SHARE: Final = 0.25
"""The part of a core that rounds may take which nobody waits for, ..."""
_SAVED: Final = 5.0
"""... and the seconds of CPU time that the loop may have saved up: what goes by rests only where changes have no end."""
_LONGEST_REST: Final = 2.0
"""Seconds: a change is seen soon, however much there was to plan."""


class Bell:
    """Wakes the loop from other threads. What comes while it is awake counts for its next sleep."""

    def __init__(self, event: Callable[[], Event] = Event, clock: Callable[[], float] = monotonic) -> None:
        self._rung, self._hurried = event(), event()
        self._clock, self._seen, self._saved = clock, clock(), _SAVED

    def ring(self) -> None:
        """Say that there is news, which several of may be looked at together."""
        self._rung.set()

    def hurry(self) -> None:
        """Say that somebody waits."""
        self._hurried.set()
        self._rung.set()

    def silence(self) -> None:
        """Forget what was said: it is about to be looked at."""
        self._rung.clear()
        self._hurried.clear()

    def sleep(self, pause: float, spent: float) -> None:
        """Sleep for `pause` seconds, or until there is news. `spent` is the CPU time of the work before.

        News for which nobody waits come after a rest, where the loop has worked for more than its share.
        """
        now = self._clock()
        earned = (now - self._seen) * _SHARE
        self._seen, self._saved = now, max(min(self._saved + earned, _SAVED) - spent, -_LONGEST_REST * _SHARE)
        rest = min(max(-self._saved, 0.0) / _SHARE, pause)
        self._hurried.wait(rest)
        self._rung.wait(pause - rest)
