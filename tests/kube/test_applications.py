"""What is read from an Application as Argo CD writes it."""

from typing import Any

import pytest

from shopset.kube.applications import observed

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
