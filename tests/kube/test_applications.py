"""What is read from an Application as Argo CD writes it."""

from typing import Any

import pytest
from lightkube import Client

from shopset.kube.applications import ArgoCd, new_store, observed

COMMIT = "a" * 40


def failed(tried: str, *resources: dict[str, str]) -> dict[str, Any]:
    """Return an Application whose last sync failed for good."""
    operation = {"phase": "Failed", "message": "one or more tasks failed"}
    result = {"revision": tried, "resources": list(resources)}
    status = {"sync": {"status": "Synced", "revision": COMMIT}, "operationState": operation | {"syncResult": result}}
    return {"metadata": {"name": "shop-a-1"}, "status": status}


def sync_error(application: dict[str, Any]) -> str:
    return observed(application, "a-1", "a", "").sync_error


def test_a_failed_sync_tells_the_hooks_that_failed() -> None:
    good = {"name": "migrate", "hookType": "PreSync", "hookPhase": "Succeeded", "message": "done"}
    bad = {"name": "buy", "hookType": "PostSync", "hookPhase": "Failed", "message": "no\ncart"}
    refused = {"name": "cart", "hookPhase": "Failed", "status": "SyncFailed", "message": "as the first line says"}
    assert sync_error(failed(COMMIT, good, bad, refused)) == "one or more tasks failed; PostSync buy: no cart"
    assert sync_error(failed(COMMIT)) == "one or more tasks failed"


@pytest.mark.parametrize(
    ("started", "by_hand"),
    [({"automated": True}, False), ({"username": "shopset"}, False), ({"username": "anna"}, True)],
)
def test_a_sync_that_neither_argo_cd_nor_shopset_started_is_inconclusive(
    started: dict[str, object], by_hand: bool
) -> None:
    application = failed(COMMIT)
    application["status"]["operationState"]["operation"] = {"initiatedBy": started}
    assert observed(application, "a-1", "a", "").inconclusive == by_hand


def test_a_failed_sync_of_another_commit_counts_where_argo_cd_starts_none_of_this_one() -> None:
    application = failed("b" * 40)
    found = observed(application, "a-1", "a", "")
    assert (found.sync_error, found.inconclusive) == ("one or more tasks failed", True)
    application["status"]["sync"]["status"] = "OutOfSync"
    assert not sync_error(application)


def application(version: int, health: str = "Healthy") -> dict[str, Any]:
    """Return an Application of the ShopSet a-1."""
    metadata = {
        "name": "shop-a-1",
        "uid": "1",
        "resourceVersion": str(version),
        "labels": {"shopset.dev/shopset": "a-1"},
    }
    source = {"repoURL": "https://git.example.com/shopset-system.git"}
    spec = {"source": source, "destination": {"name": "a"}}
    return {"kind": "Application", "metadata": metadata, "spec": spec, "status": {"health": {"status": health}}}


def test_only_what_changed_is_looked_at_again() -> None:
    nobody = Client.__new__(Client)  # with a store that is watched, the API server is not asked
    store = new_store()
    files = {"f1": b"spec: {destination: {name: a}}", "f2": b"spec: {destination: {name: b}}"}
    argocd = ArgoCd(nobody, "argocd", "https://git.example.com/shopset-system.git", files.__getitem__, store)
    store.put(application(1))
    first = argocd.observe({"a-1": "f1"})[0]["a-1"]
    assert (first.health, first.manifest) == ("Healthy", "f1")
    assert argocd.observe({"a-1": "f1"})[0]["a-1"] is first
    assert argocd.observe({"a-1": "f2"})[0]["a-1"].manifest == ""
    store.put(application(2, "Degraded"))
    assert argocd.observe({"a-1": "f1"})[0]["a-1"].health == "Degraded"
    store.remove(application(2))
    assert argocd.observe({"a-1": "f1"}) == ({}, {})
