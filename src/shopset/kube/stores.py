"""Objects as they were seen last, for whoever watches them and whoever reads them in another thread."""

from collections.abc import Callable, Iterable, Set
from threading import Lock

from shopset.kube.clients import Manifest

Key = tuple[str, str]
"""Kind and name."""


class Store:
    """Objects by kind and name. `says` returns what matters of one: other changes are kept, but are no news."""

    def __init__(self, says: Callable[[Manifest], object]) -> None:
        self._says = says
        self._lock = Lock()
        self._found: dict[Key, Manifest] = {}
        self._told: set[Key] = set()
        """Of which objects there was word since a list of all was begun."""
        self.is_complete = False
        """Whether all objects were listed once."""

    def put(self, manifest: Manifest) -> bool:
        """Take note of an object, unless what is there is newer. Returns whether that is news."""
        key = key_of(manifest)
        with self._lock:
            before = self._found.get(key)
            if before is not None and _uid(before) == _uid(manifest) and version_of(before) >= version_of(manifest):
                return False
            self._found[key] = manifest
            self._told.add(key)
        return before is None or self._says(before) != self._says(manifest)

    def remove(self, manifest: Manifest) -> bool:
        """Take note that an object is gone. Returns whether that is news."""
        key = key_of(manifest)
        with self._lock:
            before = self._found.get(key)
            # News of an older object of the same name come late.
            if before is None or _uid(before) != _uid(manifest):
                return False
            del self._found[key]
            self._told.add(key)
        return True

    def replace(self, manifests: Iterable[Manifest]) -> None:
        """Take note that these are all, but for what is heard of others while they are being listed. Lists them."""
        with self._lock:
            self._told.clear()
        listed = {key_of(manifest): manifest for manifest in manifests}
        with self._lock:
            # A watch tells of each change once: a list that was begun before it must not take it back.
            kept = {key: self._found[key] for key in self._told if key in self._found}
            self._found = {key: each for key, each in listed.items() if key not in self._told} | kept
            self.is_complete = True

    def retain(self, names: Set[str]) -> bool:
        """Take note that there are no others than these. Returns whether that is news."""
        with self._lock:
            gone = [key for key in self._found if key[1] not in names]
            for key in gone:
                del self._found[key]
            news, self.is_complete = bool(gone) or not self.is_complete, True
        return news

    def get(self, key: Key) -> Manifest | None:
        """Return an object, or None."""
        with self._lock:
            return self._found.get(key)

    def all(self) -> list[Manifest]:
        """Return all objects."""
        with self._lock:
            return list(self._found.values())


def key_of(manifest: Manifest) -> Key:
    """Return kind and name."""
    return str(manifest["kind"]), str(manifest["metadata"]["name"])


def version_of(manifest: Manifest) -> int:
    """Return the version, of which a later one of the same object is larger."""
    return int(manifest["metadata"].get("resourceVersion") or 0)


def _uid(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("uid"))
