"""Telling people: statuses where they differ from what is there, and Events for what changed or was done."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final

from shopset.api import Shop
from shopset.controller.metrics import Metrics
from shopset.controller.objects import Objects
from shopset.controller.statuses import shop_status
from shopset.core.release.actions import ActionKind, AnyAction, OnApplication
from shopset.kube.applications import AT_ONCE
from shopset.kube.clients import ConflictError, KubeError, Manifest, NotFoundError
from shopset.kube.fleets import get
from shopset.kube.statuses import changes, post_event, set_finalizers, transitions, without_conditions, write_status
from shopset.kube.stores import key_of

_log = logging.getLogger(__name__)
FINALIZER: Final = "shopset.dev/application"
"""Keeps a ShopSet until it is out of its tier's tree and its Application is gone."""
_QUIET: Final = frozenset({ActionKind.REFRESH})
"""Actions that nobody needs to hear of."""
_BETWEEN_ROUNDS: Final = 100
"""Shops that are told of between two rounds."""
_PLACES_BETWEEN_ROUNDS: Final = 500
"""Shops of which it is told where they are between two rounds."""


class Teller:
    """Writes about the objects of a fleet. Nothing depends on what it writes; what it cannot write is tried again."""

    def __init__(self, objects: Objects, metrics: Metrics, clock: Callable[[], datetime]) -> None:
        self._objects = objects
        self._metrics = metrics
        self._clock = clock

    def tell(self, statuses: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Write the statuses that differ, with an Event for each condition that turned."""
        now = self._clock()
        found = ((self._objects.find(reference), wanted) for reference, wanted in statuses)
        differing = [
            (live, wanted, patch)
            for live, wanted in found
            if live is not None and (patch := changes(live, wanted, now)) is not None
        ]
        _side_by_side(self._tell, differing)

    def _tell(self, live: Manifest, wanted: Mapping[str, Any], patch: Mapping[str, Any]) -> None:
        try:
            self._objects.fleet.put(self._write(live, patch))
        except KubeError as error:
            _log.warning("%s", error)
        else:
            self._tell_transitions(live, wanted)

    def tell_shops(self) -> bool:
        """Write the statuses of Shops with which something is wrong, or no longer. Returns whether there are more."""
        names = self._objects.shops.untold(_BETWEEN_ROUNDS)
        try:
            for name in names:
                self._tell_shop(name)
        except KubeError as error:
            _log.warning("%s", error)
            return False
        return len(names) == _BETWEEN_ROUNDS

    def _tell_shop(self, name: str) -> None:
        """Write the status of a Shop, of which nothing is kept here but what is wrong with it. Raises KubeError."""
        try:
            live = get(self._objects.client, Shop.__name__, name, self._objects.namespace)
        except NotFoundError:
            return
        there = (live.get("status") or {}).get("replicas")
        wanted = shop_status(self._objects.shops.problem(name)) | ({"replicas": there} if there else {})
        patch = changes(live, wanted, self._clock()) if wanted["conditions"] else without_conditions(live)
        if patch is not None:
            self._objects.shops.put(self._write(live, patch))
            self._tell_transitions(live, wanted)

    def tell_places(self) -> bool:
        """Write where Shops are, a part of those of which it is not known. Returns whether there are more."""
        found = self._objects.shops.astray(_PLACES_BETWEEN_ROUNDS)
        written: list[bool] = []

        def tell(name: str, replicas: tuple[str, ...]) -> None:
            written.append(self._tell_place(name, replicas))

        _side_by_side(tell, list(found.items()))
        return len(found) == _PLACES_BETWEEN_ROUNDS and all(written)

    def _tell_place(self, name: str, replicas: tuple[str, ...]) -> bool:
        live = {"kind": Shop.__name__, "metadata": {"name": name, "namespace": self._objects.namespace}}
        try:
            self._objects.shops.put(self._write(live, {"replicas": list(replicas) or None}))
        except NotFoundError:
            # It is gone, and the watch tells so.
            return True
        except KubeError as error:
            _log.warning("%s", error)
            return False
        return True

    def _write(self, live: Manifest, patch: Mapping[str, Any]) -> Manifest:
        written = write_status(self._objects.client, live, patch)
        self._metrics.writes.labels(live["kind"]).inc()
        return written

    def _tell_transitions(self, live: Manifest, wanted: Mapping[str, Any]) -> None:
        for condition in transitions(live, wanted):
            bad = condition["status"] == "False"
            _log.info("%s/%s: %s: %s", *key_of(live), condition["reason"], condition["message"])
            self._event(live, condition["reason"], condition["message"] or condition["reason"], warning=bad)

    def acted(self, actions: Iterable[AnyAction]) -> None:
        """Post an Event about each action that was done."""
        _side_by_side(self._acted, [(action,) for action in actions if action.kind not in _QUIET])

    def _acted(self, action: AnyAction) -> None:
        reference = f"ShopSet/{action.shopset}" if isinstance(action, OnApplication) else f"Tier/{action.tier}"
        about = self._objects.find(reference)
        if about is not None:
            because = "; ".join(each for each in action.why if each)
            self._event(about, action.kind.value, f"{action.what}: {because}", warning=action.kind is ActionKind.REJECT)

    def finalize(self, present: frozenset[str], needed: frozenset[str], unseen: frozenset[str]) -> None:
        """Keep each ShopSet of `present` by a finalizer, and let those go that are being deleted and not `needed`.

        Of clusters that are `unseen` nobody knows what is still there.
        """
        _side_by_side(self._set, list(self._finalizers(present, needed, unseen)))

    def _finalizers(
        self, present: frozenset[str], needed: frozenset[str], unseen: frozenset[str]
    ) -> Iterator[tuple[Manifest, list[str]]]:
        """Yield the ShopSets whose finalizers are to change, with what they are to be."""
        for live in self._objects.fleet.all():
            if live["kind"] != "ShopSet":
                continue
            name, held = live["metadata"]["name"], live["metadata"].get("finalizers") or []
            deleting = "deletionTimestamp" in live["metadata"]
            if not deleting and name in present and FINALIZER not in held:
                yield live, [*held, FINALIZER]
            elif deleting and FINALIZER in held and name not in needed and live["spec"]["cluster"] not in unseen:
                yield live, [each for each in held if each != FINALIZER]

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


def _side_by_side(tell: Callable[..., None], about: Sequence[tuple[Any, ...]]) -> None:
    """Tell of several objects, a few at once: of a large fleet in a row it would take minutes."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda each: tell(*each), about):
            pass
