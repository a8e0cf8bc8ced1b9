"""Certificates as Secrets of type kubernetes.io/tls, which cert-manager and people write."""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from lightkube.generic_resource import create_namespaced_resource

from shopset.kube.clients import KubeError, Manifest, ready
from shopset.kube.following import Collection

SECRET: Final = ready(create_namespaced_resource("", "v1", "Secret", "secrets"))
_TYPE: Final = "kubernetes.io/tls"
_KEYS: Final = ("tls.crt", "tls.key")


def collection(namespace: str, labels: Mapping[str, str | None]) -> Collection:
    """Return the certificates of a namespace, all or those with some labels."""
    return Collection(SECRET, namespace, labels, {"type": _TYPE})


@dataclass(frozen=True, slots=True)
class SecretItem:
    """A certificate in a Secret."""

    stamp: object
    data: Mapping[str, str]

    def read(self) -> Sequence[bytes]:
        """Return certificate and key. Raises KubeError."""
        try:
            return [b64decode(self.data[key]) for key in _KEYS]
        except KeyError as error:
            raise KubeError(f"has no {error.args[0]}") from error
        except binascii.Error as error:
            raise KubeError("is not base64") from error


class SecretCertificates:
    """The certificates of a namespace, as a Follower tells of them. Other threads may scan them meanwhile."""

    def __init__(self, namespace: str) -> None:
        self.name = f"the Secrets of namespace {namespace}"
        self._items: dict[str, SecretItem] = {}
        self._is_whole = False

    def scan(self) -> Mapping[str, SecretItem]:
        """Return all of them as they were last heard of. Raises KubeError until all have been listed once."""
        if not self._is_whole:
            raise KubeError("have not been listed yet")
        return dict(sorted(self._items.copy().items()))

    def put(self, manifest: Manifest) -> bool:
        """Take note of a Secret as it is now. Returns whether that is news."""
        metadata = manifest["metadata"]
        data = {key: value for key, value in (manifest.get("data") or {}).items() if key in _KEYS}
        before = self._items.get(metadata["name"])
        if before and before.data == data:
            return False
        self._items[metadata["name"]] = SecretItem((metadata["uid"], metadata["resourceVersion"]), data)
        return True

    def remove(self, manifest: Manifest) -> bool:
        """Take note that a Secret is gone. Returns whether that is news."""
        return self._items.pop(manifest["metadata"]["name"], None) is not None

    def retain(self, names: Set[str]) -> bool:
        """Take note that there are no others than these. Returns whether that is news."""
        gone = self._items.keys() - names
        for name in gone:
            self._items.pop(name)
        is_news = bool(gone) or not self._is_whole
        self._is_whole = True
        return is_news
