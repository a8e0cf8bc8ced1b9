"""Rounds: plan and act until there is nothing to do now, with a bound on lost races and a growing pause between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from shopset.core.errors import ShopsetError
from shopset.core.release.actions import AnyAction
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Plan
from shopset.engine.engines import Engine, Failure, Outcome

_MOST_RACES: Final = 8
"""Lost races in a row before a round gives up: somebody else is acting, and the next round looks anew."""
_FIRST_PAUSE: Final = 0.05
MOST_ROUNDS: Final = 100
"""Rounds in a row that each found something to do: more than a fleet's tiers can need."""


class TooManyRacesError(ShopsetError):
    """Every push was overtaken by another one."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(
            f"{_MOST_RACES} pushes in a row lost the race against somebody else ({failure.error}). Nothing was lost; run it again"
        )
        self.failure = failure


@dataclass(frozen=True)
class Round:
    """A plan and what came of it."""

    plan: Plan
    outcome: Outcome
    observed: Observed


@dataclass(frozen=True)
class Watching:
    """How a loop is watched and paused."""

    sleep: Callable[[float], None]
    started: Callable[[AnyAction], None] = lambda _: None
    may_act: Callable[[], bool] = lambda: True
    """Asked before each action: once it says no, nothing more is done."""


def converge(engine: Engine, watching: Watching, *, look: bool = True) -> Iterator[Round]:
    """Yield rounds until one has nothing to do or got nothing done. Raises TooManyRacesError.

    `look` is for the first, as in `Engine.plan`: what the others come after has looked.
    """
    races = 0
    for number in range(MOST_ROUNDS):
        made, observed = engine.plan(look=look and number == 0)
        outcome = engine.act(made.actions, watching.started, watching.may_act)
        yield Round(made, outcome, observed)
        if not watching.may_act():
            return
        if outcome.lost_race is not None:
            races = pause_after_race(races, outcome.lost_race, watching)
            continue
        races = 0
        if not outcome.done:
            return


class Waiting(Protocol):
    """What waits for a moment: a plan."""

    @property
    def wake_at(self) -> datetime | None:
        """The next moment at which time alone changes something."""


def pause_until(made: Waiting, now: datetime, poll: timedelta, wake_at: datetime | None = None) -> float:
    """Return for how many seconds a loop may sleep: until time changes the plan (or `wake_at`), at most one poll interval."""
    moments = [moment for moment in (made.wake_at, wake_at) if moment is not None]
    return min([poll, *(max(moment - now, timedelta(milliseconds=10)) for moment in moments)]) / timedelta(seconds=1)


def pause_after_race(races: int, failure: Failure, watching: Watching) -> int:
    """Wait a little longer after each lost race. Returns how many were lost. Raises TooManyRacesError."""
    if races + 1 >= _MOST_RACES:
        raise TooManyRacesError(failure)
    watching.sleep(_FIRST_PAUSE * 2**races)
    return races + 1
