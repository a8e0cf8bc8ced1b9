"""Where certificates come from: folders here; Secrets are `shopset.kube.certificates`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

from shopset.edge.certificates import CertificateError

_PAIRS: Final = (("tls.crt", "tls.key"), ("fullchain.pem", "privkey.pem"))
"""Certificate and key in a folder, as Kubernetes mounts Secrets and as certbot writes them."""
_SUFFIX: Final = ".pem"
_LARGEST: Final = 256 * 1024
"""Bytes. What is larger is no certificate."""
_MANY: Final = 500
_MINUTE: Final = 60.0


class Item(Protocol):
    """A certificate in a source."""

    @property
    def stamp(self) -> object:
        """Equal to that of before where the content is; None where it is to be read at every look."""

    def read(self) -> Sequence[bytes]:
        """Return its PEM files. Raises OSError, CertificateError."""


class Source(Protocol):
    """A place that has certificates."""

    @property
    def name(self) -> str:
        """What people call it."""

    def scan(self) -> Mapping[str, Item]:
        """Return what is there, by name, at little cost. Raises ShopsetError where that can't be said."""


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate in one file or two."""

    stamp: object
    content: Callable[[], Sequence[bytes]]

    def read(self) -> Sequence[bytes]:
        """Return the PEM files. Raises OSError, CertificateError."""
        return self.content()


class Folder:
    """A folder with `<name>.pem` (certificate, chain and key), or `<name>/` with `tls.crt` and `tls.key`."""

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self.path = path
        self.name = str(path)
        self._clock = clock
        self._found: dict[str, Files] = {}
        self._changed_at = 0
        self._scanned_at = 0.0

    def scan(self) -> Mapping[str, Files]:
        """Return what is there. Raises CertificateError where the folder can't be read.

        Of very many, each by itself is looked at once a minute, and at once where a name came, went or was replaced.
        """
        now = self._clock()
        try:
            changed_at = self.path.stat().st_mtime_ns
            is_same = changed_at == self._changed_at and len(self._found) > _MANY
            if is_same and now - self._scanned_at < _MINUTE:
                return self._found
            with os.scandir(self.path) as entries:
                found = [item for entry in entries if (item := _item(entry))]
        except OSError as error:
            raise CertificateError(f"can't be read: {error.strerror}") from error
        self._found = dict(sorted(found, key=lambda each: each[0]))
        self._changed_at, self._scanned_at = changed_at, now
        return self._found


def _item(entry: os.DirEntry[str]) -> tuple[str, Files] | None:
    # What begins with a dot is being written, or is how Kubernetes swaps a volume.
    if entry.name.startswith("."):
        return None
    if entry.name.endswith(_SUFFIX):
        # The entry knows its own path as text, which for very many is cheaper than a Path.
        path = entry.path
        return entry.name.removesuffix(_SUFFIX), Files(_stamp(entry), lambda: [_read(path)])
    return (entry.name, _pair(entry.path)) if entry.is_dir() else None


def _pair(folder: str) -> Files:
    for names in _PAIRS:
        found = _files(*(f"{folder}/{name}" for name in names))
        if found.stamp is not None:
            return found
    return Files(None, _missing)


def _missing() -> Sequence[bytes]:
    raise CertificateError("has neither tls.crt and tls.key nor fullchain.pem and privkey.pem")


def _files(*paths: str) -> Files:
    return Files(_stamp(*map(Path, paths)), lambda: [_read(path) for path in paths])


def _stamp(*files: "Path | os.DirEntry[str]") -> object:
    """Return what changes when one of some files does; None where one is missing."""
    try:
        seen = [file.stat() for file in files]
    except OSError:
        return None
    return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in seen)


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise CertificateError(f"is larger than {_LARGEST // 1024} KiB: that is no certificate")
    return content
