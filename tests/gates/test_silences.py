"""Silences: an alert is silent at the moments at which one covered it, and at no others."""

from hypothesis import given
from hypothesis import strategies as st

from shopset.gates.alerts import Firing, unsilenced
from shopset.gates.silences import Matcher, Silence

ALERT = (("alertname", "CartErrors"), ("namespace", "shopset-a-1"))
ALL = (Matcher("alertname", "CartErrors"),)
MOMENTS = st.integers(0, 20).map(float)


@given(st.sets(MOMENTS, min_size=1), st.lists(st.tuples(MOMENTS, MOMENTS), max_size=3))
def test_what_is_left_is_what_no_silence_covers(times: set[float], spans: list[tuple[float, float]]) -> None:
    silences = [Silence(start, end, ALL) for start, end in spans]
    covered = {at for at in times for start, end in spans if start <= at < end}
    left = unsilenced([Firing(ALERT, sorted(times))], silences)
    assert {at for each in left for at in each.times} == times - covered


def test_every_matcher_of_a_silence_must_fit() -> None:
    labels = dict(ALERT)
    for matchers, silent in (
        ((Matcher("alertname", "Cart.*", is_regex=True), Matcher("namespace", "shopset-a-1")), True),
        ((Matcher("alertname", "Cart", is_regex=True),), False),
        ((Matcher("alertname", "CartErrors"), Matcher("namespace", "shopset-b-1")), False),
        ((Matcher("namespace", "shopset-b-1", is_equal=False),), True),
        ((Matcher("namespace", "shopset-a-.", is_regex=True, is_equal=False),), False),
        ((Matcher("severity", "page"),), False),
        ((Matcher("severity", "page", is_equal=False),), True),
        ((Matcher("severity", "", is_equal=True), Matcher("alertname", "CartErrors")), True),
    ):
        assert Silence(0, 1, matchers).covers(labels, 0.5) is silent, matchers
