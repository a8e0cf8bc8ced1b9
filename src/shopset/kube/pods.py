"""What really runs: the ids of the images in the Pods of the fleet's clusters."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from lightkube import Client
from lightkube.generic_resource import create_namespaced_resource

from shopset.core.release.observed import RunningImages
from shopset.kube.clients import KubeError, Manifest, asking, ready
from shopset.kube.members import Members

_POD: Final = ready(create_namespaced_resource("", "v1", "Pod", "pods"))
_AT_ONCE: Final = 8
"""Namespaces that are looked into at the same time."""
_DIGEST: Final = re.compile("[a-z0-9]+:[0-9a-f]{32,}$")


class MemberPods:
    """The port `PodReader` of the engine."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def read(self, places: Iterable[tuple[str, str]], /) -> RunningImages:
        """Return the images that run at some places (cluster, namespace)."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        try:
            clients = [(self._members.client(cluster), cluster, namespace) for cluster, namespace in places]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for running in pool.map(lambda place: list(_running(*place)), clients):
                    for image, found_id in running:
                        found[image].add(found_id)
        except KubeError as error:
            return RunningImages(problem=str(error))
        return RunningImages({image: tuple(sorted(found[image])) for image in sorted(found)})


def _running(client: Client, cluster: str, namespace: str) -> Iterator[tuple[str, str]]:
    """Yield image and id of each container of a running Pod that is to stay. Raises KubeError, also where there is none."""
    where = f"in namespace {namespace} of cluster {cluster}"
    with asking(f"Pods {where}"):
        found: list[Manifest] = list(client.list(_POD, namespace=namespace, fields={"status.phase": "Running"}))
    pods = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    if not pods:
        message = f"no Pod runs {where}"
        raise KubeError(message)
    for pod in pods:
        spec, status = pod["spec"], pod["status"]
        # A container runtime may write the image's name in another form: the spec's is the one that people gave it.
        named = {each["name"]: each["image"] for each in (*spec.get("initContainers", ()), *spec["containers"])}
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            yield named[container["name"]], _id_of(container, f"{namespace}/{pod['metadata']['name']}")


def _id_of(container: Manifest, pod: str) -> str:
    """Return the digest in `registry.example.com/cart@sha256:…`, `docker-pullable://…` or `sha256:…`. Raises KubeError."""
    found = _DIGEST.search(container.get("imageID", ""))
    if found is None:
        message = f"container {container['name']} of Pod {pod} has no image id yet"
        raise KubeError(message)
    return found[0]
