"""When the loop works, on a clock that is the test's."""

from collections.abc import Callable
from threading import Event

import pytest

from shopset.controller.waking import Bell


class Time:
    """Passes only where somebody waits. What is to happen happens on the way."""

    def __init__(self) -> None:
        self.now = 0.0
        self.to_come: list[tuple[float, Callable[[], None]]] = []

    def at(self, moment: float, happens: Callable[[], None]) -> None:
        self.to_come = sorted([*self.to_come, (moment, happens)], key=lambda each: each[0])

    def event(self) -> Event:
        time = self

        class Waited(Event):
            def wait(self, timeout: float | None = None) -> bool:
                assert timeout is not None
                until = time.now + timeout
                while not self.is_set() and time.to_come and time.to_come[0][0] <= until:
                    time.now, happens = time.to_come.pop(0)
                    happens()
                time.now = time.now if self.is_set() else until
                return self.is_set()

        return Waited()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def bell(time: Time) -> Bell:
    return Bell(time.event, lambda: time.now)


@pytest.fixture
def busy(bell: Bell) -> Bell:
    """One that has worked for all that it had saved, and begins to at 0."""
    bell.sleep(0.0, 5.0)
    return bell


def test_without_news_it_sleeps_to_the_end(time: Time, bell: Bell) -> None:
    bell.sleep(60.0, 0.2)
    assert time.now == pytest.approx(60.0)


def test_news_after_a_rest_wakes_it_at_once(time: Time, bell: Bell) -> None:
    time.at(20.0, bell.ring)
    bell.sleep(60.0, 0.2)
    assert time.now == 20.0


def test_a_flurry_of_news_waits_for_nothing(time: Time, bell: Bell) -> None:
    for number in range(20):
        time.at(number / 10, bell.ring)
    rounds = 0
    while time.to_come:
        bell.silence()
        rounds += 1
        bell.sleep(60.0, 0.2)
    assert time.now == pytest.approx(1.9)
    assert rounds == 20


def test_news_while_it_rests_wakes_it_when_it_has_rested(time: Time, busy: Bell) -> None:
    for moment in (0.0, 0.1, 0.3):
        time.at(moment, busy.ring)
    busy.sleep(60.0, 0.2)
    assert time.now == pytest.approx(0.8)


def test_objects_that_change_all_the_time_cost_a_quarter_of_it(time: Time, bell: Bell) -> None:
    for number in range(10_000):
        time.at(number / 10, bell.ring)
    worked = 0.0
    while time.now < 900.0:
        bell.silence()
        time.now += 0.2
        worked += 0.2
        bell.sleep(60.0, 0.2)
    assert worked / time.now == pytest.approx(0.25, rel=0.1)


def test_somebody_who_waits_is_not_kept_waiting(time: Time, busy: Bell) -> None:
    time.at(0.0, busy.ring)
    time.at(0.25, busy.hurry)
    busy.sleep(60.0, 0.5)
    assert time.now == 0.25
    # Who came while the loop worked does not wait at all.
    busy.sleep(60.0, 0.5)
    assert time.now == 0.25
    busy.silence()
    busy.sleep(60.0, 0.5)
    assert time.now == 60.25


def test_a_long_round_is_followed_by_a_short_rest(time: Time, busy: Bell) -> None:
    time.at(0.0, busy.ring)
    busy.sleep(60.0, 9.0)
    assert time.now == pytest.approx(2.0)


def test_what_time_alone_changes_waits_for_no_rest(time: Time, busy: Bell) -> None:
    busy.sleep(0.1, 1.0)
    assert time.now == pytest.approx(0.1)
