"""The demo's annotations."""

from typing import Any

import pytest

from shopset.directory.simulations import Simulation, simulations_of


def deployment(**annotations: Any) -> dict[str, Any]:
    asked = {f"demo.shopset.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": "cart", "labels": {"shopset.dev/tier": "beta"}, "annotations": asked}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}


@pytest.mark.parametrize("tiers", ["beta", "*", "dev, beta", " beta ,prod"])
def test_a_named_tier_is_degraded(tiers: str) -> None:
    found = list(simulations_of([deployment(degraded=tiers, message="lost", degraded_after="1500ms")]))
    assert found == [Simulation(label="Deployment/cart", degraded=True, message="lost", after=1.5)]


@pytest.mark.parametrize("tiers", ["prod", "", "bet", "beta prod"])
def test_another_tier_is_not(tiers: str) -> None:
    assert list(simulations_of([deployment(degraded=tiers)])) == []


def test_a_start_takes_its_time() -> None:
    assert [found.starting for found in simulations_of([deployment(starting="2s")])] == [2.0]


def test_what_is_no_duration_is_none() -> None:
    found = list(simulations_of([deployment(degraded="*", degraded_after="soon", starting=3)]))
    assert [(each.after, each.starting) for each in found] == [(0.0, 0.0)]


@pytest.mark.parametrize("metadata", [{}, {"annotations": None, "labels": None}, {"annotations": {"other": "x"}}])
def test_objects_without_annotations_are_left_alone(metadata: dict[str, Any]) -> None:
    assert list(simulations_of([{"kind": "Service", "metadata": {"name": "cart", **metadata}}])) == []
