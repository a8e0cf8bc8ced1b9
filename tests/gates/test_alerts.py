"""Gates of alerts, on a real Prometheus whose past is written: what fired, when, and where."""

import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gates.histories import Recorded, alert, history, yesterday
from shopset.api import Gate
from shopset.api.platforms import Monitoring
from shopset.core.release.observed import GateReading
from shopset.gates import Gates, Target

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAWN = yesterday()
START, END = DAWN + 2 * HOUR, DAWN + 3 * HOUR
DARK = DAWN + 5 * HOUR
TARGETS = [Target("a-1", "shopset-a-1", "a"), Target("b-1", "shopset-b-1", "b")]


def past() -> Iterator[Recorded]:
    yield Recorded("up", {"job": "x"}, DAWN, DARK)
    yield Recorded("up", {"job": "x"}, DARK + 10 * MINUTE, DARK + 2 * HOUR)
    here = {"namespace": "shopset-a-1", "tier": "prod"}
    soon = START + 10 * MINUTE
    yield from alert("Fires", here, soon, END + HOUR)
    yield from alert("FiresOnce", here, soon, soon)
    yield from alert("PendingBefore", here, soon, soon + MINUTE, START - HOUR)
    yield from alert("FiresBefore", here, START - 5 * MINUTE, END)
    yield from alert("EndsBefore", here, START - 20 * MINUTE, START - 6 * MINUTE)
    yield from alert("EndsJustBefore", here, START - 5 * MINUTE, START - MINUTE)
    yield from alert("FiresAgain", here, START - 5 * MINUTE, soon)
    yield from alert("FiresAgain", here, soon + MINUTE, soon + 2 * MINUTE)
    yield Recorded("ALERTS", {"alertname": "Stateless", "alertstate": "firing", **here}, START - 5 * MINUTE, END)
    yield Recorded("ALERTS", {"alertname": "Pending", "alertstate": "pending", **here}, START, END)
    yield from alert("FiresAfter", here, END + MINUTE, END + HOUR)
    yield from alert("Elsewhere", {"namespace": "shopset-c-1", "tier": "prod"}, soon, END)
    yield from alert("OtherTier", {"namespace": "shopset-a-1", "tier": "beta"}, soon, END)
    yield from alert("Crossed", {"namespace": "shopset-a-1", "cluster": "b"}, soon, END)
    yield from alert("Twice", here, soon, END)
    yield from alert("Twice", {"namespace": "shopset-b-1", "tier": "prod"}, START + MINUTE, END)
    yield from alert('Odd"} or up{x="\\', {"namespace": "shopset-a-1", "tier": "prod"}, soon, END)


NAMES = sorted({each.labels["alertname"] for each in past() if "alertname" in each.labels} | {"Silent"})


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with history(tmp_path_factory.mktemp("alerts"), list(past()), NAMES) as found:
        yield found


def no_secret(name: str) -> Path:
    raise LookupError(name)


def reader(url: str, timeout: str = "30s", **more: Any) -> Gates:
    monitoring = Monitoring.model_validate({"prometheus": {"url": url}, "timeout": timeout, **more})
    return Gates(monitoring, lambda tier: TARGETS if tier == "prod" else [], no_secret)


def gate(alertname: str | None, existing: bool = False) -> Gate:
    named = {} if alertname is None else {"alertname": alertname}
    matchers = {"namespace": "{namespace}", "tier": "{tier}", **named}
    return Gate.model_validate({"name": "g", "alerts": {"matchers": matchers, "includeExisting": existing}})


def read(
    url: str, alertname: str | None, existing: bool = False, start: datetime = START, end: datetime = END
) -> GateReading:
    return reader(url).read(gate(alertname, existing), "prod", start, end)


@pytest.mark.parametrize(
    ("alertname", "existing", "result"),
    [
        ("Silent", False, "Pass"),
        ("Fires", False, "Fail"),
        ("FiresOnce", False, "Fail"),
        ("PendingBefore", False, "Fail"),
        ("FiresBefore", False, "Pass"),
        ("FiresBefore", True, "Fail"),
        ("EndsBefore", False, "Pass"),
        ("EndsBefore", True, "Pass"),
        ("EndsJustBefore", False, "Pass"),
        ("FiresAgain", False, "Fail"),
        ("Stateless", False, "Unknown"),
        ("Stateless", True, "Fail"),
        ("Pending", False, "Pass"),
        ("FiresAfter", False, "Pass"),
        ("Elsewhere", False, "Pass"),
        ("OtherTier", False, "Pass"),
        ("Twice", False, "Fail"),
        ('Odd"} or up{x="\\', False, "Fail"),
        ("Missing", False, "Unknown"),
    ],
)
def test_what_fired(prometheus: tuple[str, int], alertname: str, existing: bool, result: str) -> None:
    reading = read(prometheus[0], alertname, existing)
    assert reading.result == result, reading


def test_the_evidence_names_alert_labels_and_times(prometheus: tuple[str, int]) -> None:
    times = f"{START + 10 * MINUTE:%Y-%m-%dT%H:%M:%SZ} to {START + 11 * MINUTE:%Y-%m-%dT%H:%M:%SZ}"
    assert read(prometheus[0], "PendingBefore").evidence == (
        f"PendingBefore{{namespace=shopset-a-1,tier=prod}} fired from {times}"
    )


def test_the_evidence_names_the_first_and_counts_the_others(prometheus: tuple[str, int]) -> None:
    evidence = read(prometheus[0], "Twice").evidence
    assert evidence.startswith("Twice{namespace=shopset-b-1,tier=prod} fired from ")
    assert evidence.endswith("; and 1 more")


def test_a_second_firing_is_told_by_its_own_times(prometheus: tuple[str, int]) -> None:
    assert f"from {START + 11 * MINUTE:%Y-%m-%dT%H:%M:%SZ}" in read(prometheus[0], "FiresAgain").evidence


def test_without_a_name_every_alert_counts(prometheus: tuple[str, int]) -> None:
    assert read(prometheus[0], None, existing=True).result == "Fail"


@pytest.mark.parametrize(("cluster", "result"), [("a", "Pass"), ("b", "Fail")])
def test_all_matchers_are_of_one_shopset(prometheus: tuple[str, int], cluster: str, result: str) -> None:
    """The alert is of the namespace of a-1 and of cluster b: that's no ShopSet of ours, unless a-1 is there."""
    moved = [Target("a-1", "shopset-a-1", cluster), TARGETS[1]]
    matchers = {"alertname": "Crossed", "namespace": "{namespace}", "cluster": "{cluster}"}
    crossed = Gate.model_validate({"name": "g", "alerts": {"matchers": matchers}})
    monitoring = Monitoring.model_validate({"prometheus": {"url": prometheus[0]}, "timeout": "30s"})
    assert Gates(monitoring, lambda _: moved, no_secret).read(crossed, "prod", START, END).result == result


def test_a_span_without_length(prometheus: tuple[str, int]) -> None:
    assert read(prometheus[0], "Silent", start=START, end=START).result == "Pass"
    assert read(prometheus[0], "Fires", existing=True, start=END, end=END).result == "Fail"


def test_a_gap_in_the_middle_is_unknown_since_it_began(prometheus: tuple[str, int]) -> None:
    reading = read(prometheus[0], "Silent", start=DARK - HOUR, end=DARK + HOUR)
    assert reading.result == "Unknown"
    assert reading.since is not None
    assert abs(reading.since - DARK) <= MINUTE


def test_an_alert_in_a_span_with_a_gap_still_fails(prometheus: tuple[str, int]) -> None:
    assert read(prometheus[0], "Fires", start=START, end=DARK + HOUR).result == "Fail"


def test_before_prometheus_recorded_anything_is_unknown_since_the_start(prometheus: tuple[str, int]) -> None:
    reading = read(prometheus[0], "Silent", start=DAWN - 2 * HOUR, end=DAWN - HOUR)
    assert (reading.result, reading.since) == ("Unknown", DAWN - 2 * HOUR)


def test_a_gap_that_is_allowed(prometheus: tuple[str, int]) -> None:
    found = reader(prometheus[0], maxGap="11m").read(gate("Silent"), "prod", DARK - HOUR, DARK + HOUR)
    assert found.result == "Pass"


def test_a_tier_without_shopsets_is_unknown(prometheus: tuple[str, int]) -> None:
    assert reader(prometheus[0]).read(gate("Fires"), "beta", START, END).evidence == "beta has no ShopSet"


def test_five_hundred_shopsets_are_one_question(prometheus: tuple[str, int]) -> None:
    many = [Target(f"x-{number}", f"shopset-x-{number}", "x") for number in range(500)]
    monitoring = Monitoring.model_validate({"prometheus": {"url": prometheus[0]}, "timeout": "30s"})
    assert Gates(monitoring, lambda _: many, no_secret).read(gate("Fires"), "prod", START, END).result == "Pass"
    assert (
        Gates(monitoring, lambda _: [*many, *TARGETS], no_secret).read(gate("Fires"), "prod", START, END).result
        == "Fail"
    )


def test_a_prometheus_that_hangs_and_comes_back(prometheus: tuple[str, int]) -> None:
    """The first of the readings that failed is when it began to be unknown, until one succeeds."""
    url, pid = prometheus
    gates = reader(url, timeout="500ms")
    os.kill(pid, signal.SIGSTOP)
    try:
        first = gates.read(gate("Silent"), "prod", START, END)
        second = gates.read(gate("Silent"), "prod", START, END + MINUTE)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert first == GateReading("Unknown", "Prometheus did not answer within 0.5 s", END)
    assert second.since == END
    assert read(url, "Silent").result == "Pass"


def test_an_unknown_alertmanager_keeps_a_firing_alert_unknown(prometheus: tuple[str, int]) -> None:
    gates = reader(prometheus[0], alertmanager={"url": "http://127.0.0.1:1"})
    reading = gates.read(gate("Fires"), "prod", START, END)
    assert (reading.result, reading.since) == ("Unknown", END)
    assert "whether it was silenced is not known" in reading.evidence
    assert gates.read(gate("Silent"), "prod", START, END).result == "Pass"
