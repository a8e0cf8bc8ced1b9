"""Leader election by a Lease of coordination.k8s.io, as client-go does it: of several candidates, one acts.

Clocks of machines are never compared: a candidate waits until a Lease has not *changed* for its duration, by its own
clock. The holder counts from before it asked for its last renewal and gives up earlier than anybody may take over, so two
never act at once as long as `held` is asked before each act, and no act takes longer than what lies between the two.
"""

import logging
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Any, Final

from lightkube import Client
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource

from shopset.kube.clients import ConflictError, KubeError, NotFoundError, asking, ready

LEASE: Final = ready(create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases"))
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """Seconds. They are client-go's, and must descend."""

    duration: int = 15
    """How long others wait for a holder that shows no sign of life. The API knows whole seconds."""
    deadline: float = 10
    """How long a holder acts on its last renewal."""
    retry: float = 2
    """Between two looks."""

    def __post_init__(self) -> None:
        if not self.duration > self.deadline > self.retry > 0:
            message = "terms must descend: duration > deadline > retry > 0"
            raise ValueError(message)


def new_identity() -> str:
    """Return a name that no other process has: in a Pod, the Pod's name and a UUID."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class Lease:
    """One candidate for a Lease.

    The client's timeout should be no longer than `terms.retry`: a request that hangs delays `changed`, though never `held`.
    `changed(held)` is called by the thread of `run` when the Lease was acquired and when it was lost.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        terms: Terms = Terms(),
        changed: Callable[[bool], None] = lambda held: None,  # noqa: ARG005
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._terms = terms
        self._changed = changed
        self._clock = clock
        self._held_until = -float("inf")
        self._told = False
        self._seen: Mapping[str, Any] = {}
        self._seen_at = clock()

    @property
    def held(self) -> bool:
        """Whether this candidate may act now. Asks nobody: it turns False by itself when renewals stay away."""
        return self._clock() < self._held_until

    def run(self, stop: Event) -> None:
        """Acquire and renew until `stop` is set, then release. Set it only when nothing is acted on any more."""
        try:
            while not stop.is_set():
                self.attempt()
                stop.wait(self._terms.retry)
        finally:
            self.release()

    def attempt(self) -> None:
        """Look once: acquire the Lease where it is free, renew it where it is held. What fails is logged, and tried again."""
        began = self._clock()
        try:
            if self._take():
                self._held_until = began + self._terms.deadline
        except ConflictError:
            _log.info("lease %s: another candidate was faster", self._name)
        except KubeError as error:
            _log.warning("lease %s: %s", self._name, error)
        self._tell()

    def release(self) -> None:
        """Let others take over at once. Where the API server does not answer, they wait for the duration."""
        self._held_until = -float("inf")
        self._tell()
        try:
            found = self._get()
            if found is not None and self._is_mine(found.get("spec") or {}):
                self._replace(found, {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()})
        except KubeError as error:
            _log.warning("lease %s was not released: %s", self._name, error)

    def _take(self) -> bool:
        """Return whether the Lease was written as this candidate's. Raises KubeError."""
        found = self._get()
        if found is None:
            self._create()
            return True
        spec = found.get("spec") or {}
        self._observe(spec)
        if self._is_mine(spec):
            self._replace(found, self._renewal())
            return True
        # Somebody else's name in it ends this candidate's time, whatever its own clock says.
        self._held_until = -float("inf")
        if not self._is_free(spec):
            return False
        self._replace(found, self._acquisition(spec.get("leaseTransitions", 0) + 1))
        return True

    def _observe(self, spec: Mapping[str, Any]) -> None:
        if spec != self._seen:
            self._seen, self._seen_at = spec, self._clock()

    def _is_mine(self, spec: Mapping[str, Any]) -> bool:
        return spec.get("holderIdentity") == self._identity

    def _is_free(self, spec: Mapping[str, Any]) -> bool:
        duration = spec.get("leaseDurationSeconds", self._terms.duration)
        return not spec.get("holderIdentity") or self._clock() > self._seen_at + duration

    def _renewal(self) -> dict[str, Any]:
        duration = self._terms.duration
        return {"holderIdentity": self._identity, "leaseDurationSeconds": duration, "renewTime": _now()}

    def _acquisition(self, transitions: int) -> dict[str, Any]:
        renewal = self._renewal()
        return {**renewal, "acquireTime": renewal["renewTime"], "leaseTransitions": transitions}

    def _tell(self) -> None:
        held = self.held
        if held != self._told:
            self._told = held
            self._changed(held)

    def _get(self) -> GenericNamespacedResource | None:
        try:
            with asking(f"lease {self._name}"):
                return self._client.get(LEASE, self._name, namespace=self._namespace)
        except NotFoundError:
            return None

    def _create(self) -> None:
        lease: dict[str, Any] = {
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._acquisition(transitions=0),
        }
        with asking(f"lease {self._name}"):
            self._client.create(LEASE(**lease))

    def _replace(self, found: GenericNamespacedResource, changes: Mapping[str, Any]) -> None:
        """Write with the resourceVersion that was read, so that of two who do, one gets a conflict."""
        lease: dict[str, Any] = {**found, "spec": {**(found.get("spec") or {}), **changes}}
        with asking(f"lease {self._name}"):
            self._client.replace(LEASE(**lease))


def _now() -> str:
    """Return the time as a MicroTime. It is for people: nothing is decided by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
