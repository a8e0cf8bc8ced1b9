"""Gates of queries, on a real Prometheus whose past is written."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gates.histories import Recorded, history, yesterday
from shopset.api import Gate
from shopset.api.platforms import Monitoring
from shopset.core.release.observed import GateReading
from shopset.gates import Gates, Target

MINUTE = timedelta(minutes=1)
DAWN = yesterday()
START, END = DAWN + 60 * MINUTE, DAWN + 120 * MINUTE
NOON = START + 30 * MINUTE
TARGETS = [Target("a-1", "shopset-a-1", "a"), Target("b-1", "shopset-b-1", "b")]


def past() -> Iterator[Recorded]:
    yield Recorded("up", {"job": "x"}, DAWN, END)
    for namespace, errors in (("shopset-a-1", 0.01), ("shopset-b-1", 0.02), ("shopset-c-1", 0.9)):
        yield Recorded("errors", {"namespace": namespace}, DAWN, END, errors)
    spike = {"namespace": "shopset-a-1", "kind": "spike"}
    yield Recorded("spikes", spike, DAWN, NOON, 0.01)
    yield Recorded("spikes", spike, NOON + MINUTE, NOON + 2 * MINUTE, 0.5)
    yield Recorded("spikes", spike, NOON + 3 * MINUTE, END, 0.01)
    yield Recorded("ends", {"namespace": "shopset-a-1"}, DAWN, NOON, 0.01)
    yield Recorded("half", {"namespace": "shopset-a-1"}, DAWN, END, 0.01)
    yield Recorded("traffic", {"namespace": "shopset-a-1"}, DAWN, END, 10)
    yield Recorded("traffic", {"namespace": "shopset-b-1"}, DAWN, END, 0.1)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with history(tmp_path_factory.mktemp("queries"), list(past())) as (url, _):
        yield url


def no_secret(name: str) -> Path:
    raise LookupError(name)


def read(url: str, start: datetime = START, end: datetime = END, **query: Any) -> GateReading:
    gate = Gate.model_validate({"name": "g", "query": query})
    monitoring = Monitoring.model_validate({"prometheus": {"url": url}, "timeout": "30s"})
    return Gates(monitoring, lambda _: TARGETS, no_secret).read(gate, "prod", start, end)


HERE = 'namespace=~"{namespace}"'


@pytest.mark.parametrize(
    ("expr", "threshold", "comparison", "result"),
    [
        (f"errors{{{HERE}}}", 0.05, "Above", "Pass"),
        (f"errors{{{HERE}}}", 0.02, "Above", "Pass"),
        (f"errors{{{HERE}}}", 0.015, "Above", "Fail"),
        (f"errors{{{HERE}}}", 0.01, "Below", "Pass"),
        (f"errors{{{HERE}}}", 0.015, "Below", "Fail"),
        (f"sum(errors{{{HERE}}})", 0.025, "Above", "Fail"),
        ("errors", 0.05, "Above", "Fail"),
        ('spikes{kind="spike"}', 0.05, "Above", "Fail"),
        ("sum(errors) / 0", 1, "Above", "Fail"),
        ("sum(errors) * NaN", 1, "Above", "Unknown"),
        ("absent(errors)", 0, "Above", "Unknown"),
        ("ends", 1, "Above", "Unknown"),
        (f"half{{{HERE}}}", 1, "Above", "Unknown"),
        ("half", 1, "Above", "Pass"),
        ("this is no PromQL", 1, "Above", "Unknown"),
    ],
)
def test_which_side_of_the_threshold(
    prometheus: str, expr: str, threshold: float, comparison: str, result: str
) -> None:
    reading = read(prometheus, expr=expr, threshold=float(threshold), comparison=comparison)
    assert reading.result == result, reading


def test_the_evidence_names_the_worst_value(prometheus: str) -> None:
    bad = read(prometheus, expr=f"errors{{{HERE}}}", threshold=0.005)
    assert bad.evidence.startswith("{namespace=shopset-b-1} 0.02 at ")
    assert bad.evidence.endswith(", above 0.005")
    assert read(prometheus, expr=f"errors{{{HERE}}}", threshold=0.5).evidence.endswith(", not above 0.5")


def test_values_that_end_are_unknown_since_the_last(prometheus: str) -> None:
    since = read(prometheus, expr="ends", threshold=1.0).since
    assert since is not None
    # The last sample is taken for the value of the next five minutes.
    assert NOON <= since <= NOON + 6 * MINUTE


def test_what_promql_says_of_a_wrong_expression_is_the_evidence(prometheus: str) -> None:
    assert "Prometheus answers 400" in read(prometheus, expr="sum(", threshold=1.0).evidence


@pytest.mark.parametrize(
    ("expr", "traffic", "least", "threshold", "result"),
    [
        (f"errors{{{HERE}}}", f"traffic{{{HERE}}}", 0.05, 0.015, "Fail"),
        (f"errors{{{HERE}}}", f"traffic{{{HERE}}}", 1.0, 0.015, "Unknown"),
        (f"errors{{{HERE}}}", f"traffic{{{HERE}}}", 1.0, 0.005, "Fail"),
        (f"sum(errors{{{HERE}}})", f"sum(traffic{{{HERE}}})", 10.0, 0.5, "Pass"),
        (f"errors{{{HERE}}}", f"sum(traffic{{{HERE}}})", 10.0, 0.5, "Pass"),
        (f"errors{{{HERE}}}", f"sum(traffic{{{HERE}}})", 11.0, 0.005, "Unknown"),
        (f"errors{{{HERE}}}", "absent(up)", 0.0, 0.005, "Unknown"),
    ],
)
def test_values_with_little_traffic_do_not_count(
    prometheus: str, expr: str, traffic: str, least: float, threshold: float, result: str
) -> None:
    reading = read(prometheus, expr=expr, threshold=threshold, traffic=traffic, minTraffic=least)
    assert reading.result == result, reading


def test_traffic_and_its_least_value_belong_together(prometheus: str) -> None:
    assert "one of the two is missing" in read(prometheus, expr="errors", threshold=1.0, minTraffic=1.0).evidence
    assert "one of the two is missing" in read(prometheus, expr="errors", threshold=1.0, traffic="up").evidence


def test_prometheus_was_not_there_for_all_of_it(prometheus: str) -> None:
    assert read(prometheus, end=END + 10 * MINUTE, expr="vector(0)", threshold=1.0).result == "Unknown"
    assert read(prometheus, start=DAWN - 10 * MINUTE, expr="vector(0)", threshold=1.0).result == "Unknown"


def test_an_expression_for_one_shopset_of_many_is_refused() -> None:
    with pytest.raises(ValidationError, match="write =~ in place of ="):
        Gate.model_validate({"name": "g", "query": {"expr": 'x{namespace="{namespace}"}', "threshold": 1.0}})
