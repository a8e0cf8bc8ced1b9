"""Smoke tests: what Argo CD says of its PostSync hooks."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shopset.api import Gate
from shopset.core.release.observed import GateReading
from shopset.gates import Gates, Hook, Target

START = datetime(2026, 11, 25, 4, 43, tzinfo=UTC)
END = START + timedelta(minutes=5)
TARGETS = [Target("a-1", "shopset-a-1", "a"), Target("b-1", "shopset-b-1", "b")]
GOOD = Hook("smoke", "Succeeded", "", START)


def read(found: dict[str, Sequence[Hook]], job: str | None = "smoke") -> GateReading:
    gate = Gate.model_validate({"name": "g", "smoke": {} if job is None else {"job": job}})
    gates = Gates(None, lambda _: TARGETS, _no_secret, lambda shopset: found[shopset])
    return gates.read(gate, "prod", START, END)


def _no_secret(name: str) -> Path:
    raise LookupError(name)


def test_all_succeeded() -> None:
    reading = read({"a-1": [GOOD], "b-1": [GOOD]})
    assert reading == GateReading("Pass", "2 hooks succeeded on 2 ShopSets at 2026-11-25T04:43:00Z")


@pytest.mark.parametrize("phase", ["Failed", "Error"])
def test_one_failed(phase: str) -> None:
    reading = read({"a-1": [GOOD], "b-1": [Hook("smoke", phase, "cart\nis empty", END)]})
    assert reading == GateReading("Fail", f"smoke of b-1 {phase} at 2026-11-25T04:48:00Z: cart is empty")


def test_a_failure_counts_more_than_what_is_unknown() -> None:
    assert read({"a-1": [], "b-1": [Hook("smoke", "Failed")]}).result == "Fail"


@pytest.mark.parametrize("phase", ["Running", "Terminating", "", "Whatever"])
def test_one_is_not_over(phase: str) -> None:
    reading = read({"a-1": [GOOD], "b-1": [Hook("smoke", phase)]})
    assert (reading.result, reading.since) == ("Unknown", END)


def test_one_has_none() -> None:
    reading = read({"a-1": [GOOD], "b-1": [Hook("other", "Succeeded")]})
    assert (reading.result, reading.evidence) == ("Unknown", "the last sync of b-1 had no PostSync hook smoke")


def test_names_that_argo_cd_makes() -> None:
    made = Hook("smoke-ab12cd3-postsync-1764045790", "Succeeded")
    assert read({"a-1": [made], "b-1": [GOOD]}).result == "Pass"
    deep = Hook("smoke-deep-ab12cd3-postsync-1764045790", "Failed")
    assert read({"a-1": [made, deep], "b-1": [GOOD]}).result == "Pass"


def test_every_hook_counts_where_none_is_named() -> None:
    assert read({"a-1": [GOOD], "b-1": [Hook("x", "Succeeded")]}, job=None).result == "Pass"
    assert read({"a-1": [GOOD], "b-1": [GOOD, Hook("x", "Failed")]}, job=None).result == "Fail"


def test_hooks_that_can_not_be_read() -> None:
    reading = read({})
    assert (reading.result, reading.evidence) == ("Unknown", "it cannot be read: KeyError: 'a-1'")


def test_evidence_is_one_bounded_line_without_credentials() -> None:
    said = "see https://me:secret@example.com/\x1b[31m\n" + "x" * 5000
    reading = read({"a-1": [Hook("smoke", "Failed", said)], "b-1": []})
    assert len(reading.evidence) <= 400
    assert reading.evidence.isprintable()
    assert "secret" not in reading.evidence
