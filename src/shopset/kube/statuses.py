"""Statuses and Events: what shopset tells about an object, written only where it differs from what is there."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lightkube import Client
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.types import PatchType

from shopset.kube.clients import RESOURCES, Manifest, asking, ready
from shopset.kube.stores import key_of

_EVENT: Final = ready(create_namespaced_resource("", "v1", "Event", "events"))
_COMPONENT: Final = "shopset-controller"
_MESSAGE_LENGTH: Final = 1024
"""Characters; the API server takes no longer message of an Event."""


def changes(live: Manifest, wanted: Mapping[str, Any], now: datetime) -> dict[str, Any] | None:
    """Return the merge patch that gives an object a status, or None where it has it.

    `wanted` has conditions without times: `lastTransitionTime` moves only where a condition's status changes.
    """
    before: Mapping[str, Any] = live.get("status") or {}
    generation = live["metadata"].get("generation")
    known = {each["type"]: each for each in before.get("conditions") or ()}
    conditions = [_condition(each, known.get(each["type"]), generation, now) for each in wanted["conditions"]]
    status = {**wanted, "conditions": conditions, "observedGeneration": generation}
    patch = {key: value for key, value in status.items() if before.get(key) != value}
    patch |= {key: None for key in before if key not in status}
    return patch or None


def without_conditions(live: Manifest) -> dict[str, Any] | None:
    """Return the merge patch that takes all conditions from an object, or None where it has none."""
    has = (live.get("status") or {}).get("conditions")
    return {"conditions": None, "observedGeneration": None} if has else None


def transitions(live: Manifest, wanted: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the conditions whose status or reason is another than the object has now."""
    known = {each["type"]: each for each in (live.get("status") or {}).get("conditions") or ()}
    return [
        each
        for each in wanted["conditions"]
        if _told(known.get(each["type"])) != _told(each) and (known.get(each["type"]) or each["status"] == "False")
    ]


def write_status(client: Client, live: Manifest, patch: Mapping[str, Any]) -> Manifest:
    """Write a status. Returns the object as it is then. Raises KubeError."""
    kind, name = key_of(live)
    with asking(f"write the status of {kind}/{name}"):
        written: Manifest = client.patch(
            RESOURCES[kind].Status,
            name,
            {"status": dict(patch)},
            namespace=live["metadata"]["namespace"],
            patch_type=PatchType.MERGE,
        )
    return written


def set_finalizers(client: Client, live: Manifest, finalizers: Sequence[str]) -> Manifest:
    """Replace the finalizers of an object, if nobody changed it meanwhile. Raises KubeError, ConflictError."""
    kind, name = key_of(live)
    metadata = {"finalizers": list(finalizers), "resourceVersion": live["metadata"]["resourceVersion"]}
    with asking(f"write the finalizers of {kind}/{name}"):
        written: Manifest = client.patch(
            RESOURCES[kind],
            name,
            {"metadata": metadata},
            namespace=live["metadata"]["namespace"],
            patch_type=PatchType.MERGE,
        )
    return written


def post_event(client: Client, about: Manifest, reason: str, message: str, *, warning: bool, now: datetime) -> None:
    """Tell people something about an object. Raises KubeError."""
    kind, name = key_of(about)
    metadata = about["metadata"]
    moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = _EVENT(
        metadata=ObjectMeta(generateName=f"{name[:200]}.", namespace=metadata["namespace"]),
        involvedObject={
            "apiVersion": about["apiVersion"],
            "kind": kind,
            "name": name,
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        reason=reason,
        message=" ".join(message.split())[:_MESSAGE_LENGTH],
        type="Warning" if warning else "Normal",
        source={"component": _COMPONENT},
        reportingComponent=_COMPONENT,
        firstTimestamp=moment,
        lastTimestamp=moment,
        count=1,
    )
    with asking(f"post an Event about {kind}/{name}"):
        client.create(event)


def _condition(
    wanted: Mapping[str, Any], before: Mapping[str, Any] | None, generation: int | None, now: datetime
) -> dict[str, Any]:
    same = before is not None and before.get("status") == wanted["status"]
    since = before.get("lastTransitionTime") if before is not None and same else None
    moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**wanted, "lastTransitionTime": since or moment, "observedGeneration": generation}


def _told(condition: Mapping[str, Any] | None) -> tuple[Any, Any]:
    return (condition["status"], condition.get("reason")) if condition else (None, None)
