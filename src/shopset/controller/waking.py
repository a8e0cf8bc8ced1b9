"""When the loop works: at once where somebody waits for it, and where objects change all the time no more than its share."""

from collections.abc import Callable
from threading import Event
from typing import Final

_REST: Final = 3.0
"""Seconds of rest for a second of CPU time: changes without end cost a quarter of a core at most."""
_LONGEST_REST: Final = 2.0
"""Seconds: a change is seen soon, however much there was to plan."""


class Bell:
    """Wakes the loop from other threads. What comes while it is awake counts for its next sleep."""

    def __init__(self, event: Callable[[], Event] = Event) -> None:
        self._rung, self._hurried = event(), event()

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
        """Sleep for `pause` seconds, or until there is news. News for which nobody waits come after a rest from `spent` seconds of work."""
        rest = min(_REST * spent, _LONGEST_REST, pause)
        self._hurried.wait(rest)
        self._rung.wait(pause - rest)
