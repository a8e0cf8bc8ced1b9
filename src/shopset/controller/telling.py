"""Telling people: statuses where they differ from what is there, and Events for what changed or was done."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from shopset.controller.metrics import Metrics
from shopset.controller.objects import Objects
from shopset.core.release.actions import ActionKind, AnyAction, OnApplication
from shopset.kube.clients import ConflictError, KubeError, Manifest
from shopset.kube.statuses import changes, post_event, set_finalizers, transitions, write_status

_log = logging.getLogger(__name__)
FINALIZER: Final = "shopset.dev/application"
"""Keeps a ShopSet until it is out of its tier's tree and its Application is gone."""
_QUIET: Final = frozenset({ActionKind.REFRESH})
"""Actions that nobody needs to hear of."""


class Teller:
    """Writes about the objects of a fleet. Nothing depends on what it writes; what it cannot write is tried again."""

    def __init__(self, objects: Objects, metrics: Metrics, clock: Callable[[], datetime]) -> None:
        self._objects = objects
        self._metrics = metrics
        self._clock = clock

    def tell(self, statuses: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Write the statuses that differ, with an Event for each condition that turned."""
        now = self._clock()
        for reference, wanted in statuses:
            live = self._objects.find(reference)
            patch = changes(live, wanted, now) if live is not None else None
            if live is None or patch is None:
                continue
            try:
                self._objects.fleet.put(write_status(self._objects.client, live, patch))
                self._metrics.writes.labels(live["kind"]).inc()
            except KubeError as error:
                _log.warning("%s", error)
                continue
            for condition in transitions(live, wanted):
                bad = condition["status"] == "False"
                _log.info("%s: %s: %s", reference, condition["reason"], condition["message"])
                self._event(live, condition["reason"], condition["message"] or condition["reason"], warning=bad)

    def acted(self, action: AnyAction) -> None:
        """Post an Event about an action that was done."""
        if action.kind in _QUIET:
            return
        reference = f"ShopSet/{action.shopset}" if isinstance(action, OnApplication) else f"Tier/{action.tier}"
        about = self._objects.find(reference)
        if about is not None:
            because = "; ".join(each for each in action.why if each)
            self._event(about, action.kind.value, f"{action.what}: {because}", warning=action.kind is ActionKind.REJECT)

    def finalize(self, present: frozenset[str], needed: frozenset[str]) -> None:
        """Keep each ShopSet of `present` by a finalizer, and let those go that are being deleted and not `needed`."""
        for live in self._objects.fleet.all():
            if live["kind"] != "ShopSet":
                continue
            name, held = live["metadata"]["name"], live["metadata"].get("finalizers") or []
            deleting = "deletionTimestamp" in live["metadata"]
            if not deleting and name in present and FINALIZER not in held:
                self._set(live, [*held, FINALIZER])
            elif deleting and FINALIZER in held and name not in needed:
                self._set(live, [each for each in held if each != FINALIZER])

    def _set(self, live: Manifest, finalizers: list[str]) -> None:
        try:
            written = set_finalizers(self._objects.client, live, finalizers)
        except ConflictError:
            return
        except KubeError as error:
            _log.warning("%s", error)
            return
        if "deletionTimestamp" in written["metadata"] and not written["metadata"].get("finalizers"):
            self._objects.fleet.remove(written)
        else:
            self._objects.fleet.put(written)

    def _event(self, about: Manifest, reason: str, message: str, *, warning: bool) -> None:
        try:
            post_event(self._objects.client, about, reason, message, warning=warning, now=self._clock())
        except KubeError as error:
            _log.warning("%s", error)
