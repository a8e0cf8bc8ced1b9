"""What the API servers, Argo CD and Prometheus say of clusters."""

from dataclasses import replace
from typing import Any

import pytest

from shopset.core.fleets import Fleet
from shopset.core.release.observed import Observed, ObservedApplication, Trouble
from shopset.engine.failing import signs_of
from support.placing import placing_fleet
from support.pure import START


def fleet(instances: str = "Shared") -> Fleet:
    shopsets = {f"{name}-1": {"cluster": name} for name in "ab"}
    delivery = {"argocd": {"instances": instances}}
    return placing_fleet({"a": {}, "b": {}}, shopsets, delivery=delivery)


def observed(**changes: Any) -> Observed:
    applications = {
        f"{name}-1": ObservedApplication(f"{name}-1", name, f"shop-{name}-1", sync="Synced", health="Healthy")
        for name in "ab"
    }
    return replace(Observed(START, {}), applications=applications, **changes)


def test_an_api_server_that_is_heard_is_well_and_nobody_is_heard_who_is_not_asked() -> None:
    assert signs_of(fleet(), observed(), {"b": "refused"}, {}) == {
        "a": {"its API server": ""},
        "b": {"its API server": "refused"},
    }
    assert signs_of(fleet(), observed(), None, {}) == {"a": {}, "b": {}}


@pytest.mark.parametrize(("instances", "counts"), [("Shared", True), ("PerCluster", False)])
def test_argo_cd_counts_where_it_complains_and_is_elsewhere(instances: str, *, counts: bool) -> None:
    away = observed(deliveries={"b": Trouble("ClusterUnknown", "it is unknown")})
    assert signs_of(fleet(instances), away, None, {})["b"] == ({"Argo CD": "it is unknown"} if counts else {})
    blind = observed()
    blind = replace(
        blind, applications={name: replace(each, sync="Unknown") for name, each in blind.applications.items()}
    )
    complaint = {"Argo CD": "it sees none of its 1 Applications"}
    assert signs_of(fleet(instances), blind, None, {})["a"] == (complaint if counts else {})


def test_prometheus_counts_for_the_clusters_that_it_knows() -> None:
    found = signs_of(fleet(), observed(), None, {"a": False, "nowhere": False})
    assert found == {"a": {"Prometheus": "spec.placement.healthQuery is 0"}, "b": {}}
    assert signs_of(fleet(), observed(), None, {"a": True})["a"] == {"Prometheus": ""}
