"""The state folder: what HAProxy reads when it starts, so that it needs neither git nor the agent then.

haproxy.cfg, maps     links into current
current               a link to the generation that counts; it is replaced in one step, and all files with it
generations/N/        haproxy.cfg, applied.json, maps/hosts.map, maps/moved.map
accepted              commits that a person accepted
run/                  sockets
lock                  held by the agent
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import msgspec

from shopset.core.errors import ShopsetError

_LONGEST_PATH: Final = 97
"""Bytes that the path of a Unix socket may have, less what HAProxy puts after it while it binds."""
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./")
_READ: Final = 1 << 20


class StateError(ShopsetError):
    """The state folder cannot be used."""


class Generation(msgspec.Struct, frozen=True):
    """What `applied.json` says of the files beside it."""

    name: str
    """It is in hosts.map too, so that HAProxy can be asked which one it has."""
    commit: str
    """Of which hosts.map was made."""
    hosts: int
    """Entries of hosts.map."""
    digest: str
    """SHA-256 of hosts.map."""
    configuration: str
    """The same of haproxy.cfg."""
    folded: datetime
    groups: dict[str, int]
    """Group -> its hosts."""


_DECODER: Final = msgspec.json.Decoder(Generation)


@dataclass(frozen=True)
class StateFolder:
    """The folder that an agent has for itself, and HAProxy reads."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "StateFolder":
        """Return the folder at a path, made where it is not there. Raises StateError."""
        path = path.absolute()
        longest = path / "run" / "haproxy.sock"
        if len(os.fsencode(longest)) > _LONGEST_PATH or not set(str(path)) <= _PLAIN:
            message = f"{path} cannot be the state folder: Unix sockets need a short path without blanks, as in /var/lib/shopset-edge"
            raise StateError(message)
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / "run").mkdir(mode=0o700, exist_ok=True)
            (path / "generations").mkdir(exist_ok=True)
        except OSError as error:
            if not (path / "run").is_dir():
                raise StateError(f"the state folder {path} cannot be written: {error.strerror}") from error
        return folder

    @property
    def configuration(self) -> Path:
        """What HAProxy is started with."""
        return self.path / "haproxy.cfg"

    @property
    def maps(self) -> Path:
        """The folder of the maps, as the configuration names it."""
        return self.path / "maps"

    @property
    def run(self) -> Path:
        """The folder of the sockets, which nobody else may look into."""
        return self.path / "run"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other agents off. Raises StateError."""
        try:
            lock = (self.path / "lock").open("a+")
        except OSError as error:
            raise StateError(f"the state folder {self.path} cannot be written: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateError(
                    f"another agent has {self.path}: end it, or give this one a folder of its own"
                ) from error
            yield

    # -- the generation that counts

    def generation(self) -> Generation | None:
        """Return the generation that counts; None where there is none, or where its files are not as it says."""
        folder = self.path / "current"
        try:
            found = _DECODER.decode((folder / "applied.json").read_bytes())
            is_whole = digest_of(folder / "haproxy.cfg") == found.configuration and self.hosts_are_whole(found)
        except (OSError, ValueError):
            return None
        return found if is_whole else None

    def hosts_are_whole(self, generation: Generation) -> bool:
        """Tell whether hosts.map is as it was written."""
        with suppress(OSError):
            return digest_of(self.path / "current" / "maps" / "hosts.map") == generation.digest
        return False

    def overlay(self) -> dict[str, str]:
        """Return what moved.map says on disk; nothing where it can't be read."""
        with suppress(OSError, UnicodeDecodeError):
            lines = (self.path / "current" / "maps" / "moved.map").read_text().splitlines()
            return dict(line.split(" ", 1) for line in lines if " " in line)
        return {}

    def write_overlay(self, entries: Mapping[str, str]) -> None:
        """Replace moved.map. Raises OSError."""
        write(self.path / "current" / "maps" / "moved.map", map_lines(entries.items()))

    # -- making another

    def fresh(self) -> Path:
        """Return an empty folder for a generation that does not count yet. Raises OSError."""
        folder = self.path / "generations" / "new"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "maps").mkdir(parents=True)
        return folder

    def publish(self, folder: Path) -> None:
        """Let a generation count, in one step. Raises OSError."""
        number = max(self._numbers(), default=0) + 1
        target = folder.with_name(str(number))
        folder.rename(target)
        sync(target.parent)
        self._point(target)

    def back(self) -> bool:
        """Let the generation before count again. Returns whether there is one. Raises OSError."""
        now = int((self.path / "current").readlink().name)
        before = [number for number in self._numbers() if number < now]
        if before:
            self._point(self.path / "generations" / str(max(before)))
        return bool(before)

    def tidy(self) -> None:
        """Remove all generations but the one that counts."""
        with suppress(OSError):
            kept = (self.path / "current").readlink().name
            for each in (self.path / "generations").iterdir():
                if each.name != kept:
                    shutil.rmtree(each, ignore_errors=True)

    def _numbers(self) -> list[int]:
        return [int(each.name) for each in (self.path / "generations").iterdir() if each.name.isdigit()]

    def _point(self, target: Path) -> None:
        _link(self.path / "current", target.relative_to(self.path))
        _link(self.configuration, Path("current/haproxy.cfg"))
        _link(self.maps, Path("current/maps"))
        sync(self.path)

    # -- what a person accepted

    def accept(self, commit: str) -> None:
        """Note that a person wants a commit in spite of what it does. Raises StateError."""
        try:
            write(self.path / "accepted", (f"{each}\n".encode() for each in sorted({*self.accepted(), commit})))
        except OSError as error:
            raise StateError(f"the state folder {self.path} cannot be written: {error.strerror}") from error

    def accepted(self) -> frozenset[str]:
        """Return the commits that a person accepted."""
        with suppress(OSError, UnicodeDecodeError):
            return frozenset((self.path / "accepted").read_text().split())
        return frozenset()


def map_lines(entries: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """Yield the lines of a map."""
    for key, value in entries:
        yield f"{key} {value}\n".encode()


def write(path: Path, pieces: Iterable[bytes]) -> None:
    """Replace a file as a whole, so that after a crash it is the old one or the new one. Raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.writelines(pieces)
            sync_file(file)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync_file(file: IO[bytes]) -> None:
    """Have the system write a file to the disk. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Have the system write the names in a folder to the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ):
            digest.update(piece)
    return digest.hexdigest()


def describe(generation: Generation) -> bytes:
    """Return the content of applied.json."""
    return json.dumps(msgspec.to_builtins(generation), indent=1).encode() + b"\n"


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def _link(path: Path, target: Path) -> None:
    """Have a link point elsewhere, in one step. What is in its place and no link goes away."""
    if path.is_symlink() and path.readlink() == target:
        return
    fresh = path.with_name(f"{path.name}.link")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    fresh.replace(path)
