"""The fleet as an API server holds it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lightkube import Client
from pydantic import ValidationError

from shopset.api import KINDS, Approval, Hold, Resource, Rollback, Shop
from shopset.core.fleets import Fleet, Problem, assemble
from shopset.kube.clients import PLURALS, RESOURCES, Manifest, asking

FLEET_KINDS: Final = tuple(kind for kind in KINDS if kind != Shop.__name__)
"""The kinds that a release depends on. Shops are too many to be listed for one."""
_CONTROLS: Final = (Approval, Hold, Rollback)


@dataclass(frozen=True)
class Reading:
    """What the API server holds, and what is wrong with it."""

    fleet: Fleet | None
    """None where there is a problem that is an error."""
    resources: tuple[Resource, ...]
    """All but those that are being deleted and those that cannot be read."""
    problems: tuple[Problem, ...]

    @property
    def controls(self) -> tuple[Approval | Hold | Rollback, ...]:
        """The Approvals, Holds and Rollbacks, oldest first."""
        found = [resource for resource in self.resources if isinstance(resource, _CONTROLS)]
        return tuple(sorted(found, key=lambda each: (str(each.metadata.creation_timestamp), each.name)))


class Parser:
    """Makes resources of JSON, and remembers them: an object whose `generation` is the same says the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], Resource] = {}

    def read(self, manifests: Iterable[Manifest]) -> Reading:
        """Read the objects of one namespace. Never raises: what cannot be read is a problem."""
        resources, problems = self.parse(manifests)
        assembly = assemble(resource for resource in resources if not isinstance(resource, _CONTROLS))
        return Reading(None if problems else assembly.fleet, tuple(resources), (*problems, *assembly.problems))

    def parse(self, manifests: Iterable[Manifest]) -> tuple[list[Resource], list[Problem]]:
        """Return what objects say but those that are being deleted, and why others cannot be read."""
        resources: list[Resource] = []
        problems: list[Problem] = []
        known = self._known
        self._known = {}
        for manifest in manifests:
            metadata = manifest["metadata"]
            key = (metadata["uid"], metadata["name"], metadata.get("generation", 0))
            found = known.get(key) or parse(manifest)
            if isinstance(found, Problem):
                problems.append(found)
                continue
            self._known[key] = found
            if not metadata.get("deletionTimestamp"):
                resources.append(found)
        return resources, problems


def list_manifests(client: Client, namespace: str, kinds: Iterable[str] = FLEET_KINDS) -> Iterator[Manifest]:
    """Yield all objects of some kinds. Raises KubeError."""
    for kind in kinds:
        with asking(f"{PLURALS[kind]} in namespace {namespace}"):
            yield from client.list(RESOURCES[kind], namespace=namespace)


def get(client: Client, kind: str, name: str, namespace: str) -> Manifest:
    """Return one object. Raises KubeError, NotFoundError."""
    with asking(f"{kind}/{name} in namespace {namespace}"):
        return client.get(RESOURCES[kind], name, namespace=namespace)


def read_fleet(client: Client, namespace: str) -> Reading:
    """Read the fleet of a namespace. Raises KubeError."""
    return Parser().read(list_manifests(client, namespace))


def parse(manifest: Manifest) -> Resource | Problem:
    """Return what an object says, or why it cannot be read."""
    kind = manifest["kind"]
    said: Mapping[str, object] = {key: value for key, value in manifest.items() if key != "status"}
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    try:
        return KINDS[kind].model_validate({**said, "metadata": metadata})
    except ValidationError as error:
        first = error.errors()[0]
        return Problem(f"{kind}/{metadata['name']}", tuple(first["loc"]), first["msg"], "correct it and apply it again")
