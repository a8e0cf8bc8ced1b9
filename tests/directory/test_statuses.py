"""Statuses: what a directory cluster remembers of an Application, and its health at a time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shopset.directory.simulations import Simulation
from shopset.directory.statuses import Status

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SYNCED = Status(shopset="a-1", application="shop-a-1", sync="Synced", synced_at=NOW)


def after(status: Status, seconds: float) -> Status:
    return status.judged(NOW + timedelta(seconds=seconds))


def test_a_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    status = after(SYNCED.changed(simulations=(Simulation(label="Deployment/x", degraded=True, message="é: #"),)), 1)
    status.write(tmp_path / "status" / "a.yaml")
    assert Status.read(tmp_path / "status" / "a.yaml") == status


def test_an_unchanged_status_is_not_written_again(tmp_path: Path) -> None:
    SYNCED.write(tmp_path / "a.yaml")
    before = (tmp_path / "a.yaml").stat()
    SYNCED.write(tmp_path / "a.yaml")
    assert (tmp_path / "a.yaml").stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    "content", [b"", b"{", b"- 1", b"shopset: 1", b"\xff\0", b"synced_at: 2026-99-99", b"a: !!x 1"]
)
def test_a_damaged_status_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    assert Status.read(tmp_path / "a.yaml") is None


def test_a_status_that_is_a_folder_is_none(tmp_path: Path) -> None:
    assert Status.read(tmp_path) is None


def test_what_was_never_synced_is_missing() -> None:
    assert Status(shopset="a-1", application="shop-a-1").judged(NOW).health == "Missing"


def test_health_since_moves_with_the_health_only() -> None:
    healthy = after(SYNCED, 1)
    assert (healthy.health, healthy.health_since) == ("Healthy", NOW + timedelta(seconds=1))
    assert after(healthy, 9) == healthy
    failed = after(healthy.changed(sync_error="no such patch"), 10)
    assert (failed.health, failed.message, failed.health_since) == (
        "Degraded",
        "no such patch",
        NOW + timedelta(seconds=10),
    )
    other = after(failed.changed(sync_error="another"), 20)
    assert (other.message, other.health_since) == ("another", failed.health_since)


def test_a_simulation_starts_and_degrades_in_its_time() -> None:
    simulations = (
        Simulation(label="Deployment/cart", degraded=True, message="lost", after=5, starting=2),
        Simulation(label="Deployment/page", starting=3),
    )
    status = SYNCED.changed(simulations=simulations)
    seen = [(found.health, found.message) for found in (after(status, seconds) for seconds in (0, 2, 3, 5, 60))]
    assert seen == [
        ("Progressing", "Deployment/cart is starting"),
        ("Progressing", "Deployment/page is starting"),
        ("Healthy", ""),
        ("Degraded", "Deployment/cart: lost"),
        ("Degraded", "Deployment/cart: lost"),
    ]


def test_what_is_degraded_is_so_whatever_else_starts() -> None:
    simulations = (Simulation(label="a", starting=9), Simulation(label="b", degraded=True))
    assert after(SYNCED.changed(simulations=simulations), 1).health == "Degraded"
