"""HAProxy's runtime API: one command a connection, over the Unix sockets that its configuration and `-S` name.

HAProxy answers errors with words and no code. Here each command says what its answer may be, and any other is an error
with those words.
"""

import re
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from shopset.core.errors import ShopsetError

MAX_PAYLOAD: Final = 12_000
"""Bytes. A command must fit into HAProxy's buffer (16 KiB); HAProxy 2.6 drops one that does not without a word."""
_AHEAD: Final = 2
"""Commands that are under way at once: one is done while the next is written. More would hold requests up for longer."""
_PAUSE: Final = 0.05
"""Seconds between two looks whether a new worker is there."""
_STARTING, _RUNNING, _MAINTENANCE, _DRAIN = 1, 2, 0x63, 0x18
"""Operational states and bits of administrative ones, as HAProxy's management guide numbers them."""
_FAILED: Final = re.compile(r"\[failed: (\d+)\]")
_CREATED: Final = re.compile(r"New version created: (\d+)")


class RuntimeApiError(ShopsetError):
    """HAProxy did not do what it was told. `words` are its own."""

    def __init__(self, command: str, words: str) -> None:
        super().__init__(f"HAProxy refused {command.split('<<', maxsplit=1)[0].strip()!r}: {words}")
        self.command = command
        self.words = words


class HaproxyAwayError(RuntimeApiError):
    """Nobody answers at the socket, or not in time."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__("", "")
        self.args = (f"HAProxy does not answer at {path}: {detail}. Is it running?",)
        self.path = path


@dataclass(frozen=True)
class Process:
    """One HAProxy process. A process that was started anew has another pid."""

    pid: int
    version: str
    uptime: int
    """Seconds."""


@dataclass(frozen=True)
class Workers:
    """The workers as their master counts them."""

    current: int | None
    """The pid of the one that takes new connections."""
    leaving: tuple[int, ...] = ()
    """Those that only finish what they began."""
    failed: int = 0
    """Reloads that came to nothing since the last that did not."""


@dataclass(frozen=True)
class Server:
    """A server of a backend."""

    backend: str
    name: str
    address: str
    port: int
    is_up: bool
    """Whether its checks pass and nobody took it out."""
    is_in_maintenance: bool
    """As spare ones are until they get an address."""


class Runtime:
    """The runtime API of the process that listens at a socket."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        self.path = path
        self.timeout = timeout
        """Seconds between two pieces of an answer."""

    # -- commands

    def ask(self, command: str, payload: Iterable[str] = ()) -> str:
        """Send a command, with the lines of a payload, and return the answer. Raises HaproxyAwayError.

        Whether the answer is an error only its words tell; `tell` knows of commands whose answer is empty.
        """
        return b"".join(self.stream(command, payload)).decode(errors="replace")

    def stream(self, command: str, payload: Iterable[str] = ()) -> Iterator[bytes]:
        """Send a command, and yield the answer in pieces as they come. Raises HaproxyAwayError."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                self._send(connection, command, payload)
                yield from _received(connection)
        except OSError as error:
            raise HaproxyAwayError(self.path, error.strerror or str(error)) from error

    def tell(self, command: str, payload: Iterable[str] = ()) -> None:
        """Send a command whose answer is empty where all is well. Raises RuntimeApiError, HaproxyAwayError."""
        words = self.ask(command, payload).strip()
        if words:
            raise RuntimeApiError(command, words)

    def tell_all(self, commands: Iterable[tuple[str, Iterable[str]]]) -> None:
        """Send commands with their payloads in any order, as `tell`, some ahead of their answers: HAProxy need not wait for us.

        Raises RuntimeApiError, HaproxyAwayError; then some may have been done.
        """
        with ExitStack() as opened:
            ahead: deque[tuple[str, socket.socket]] = deque()
            try:
                for command, payload in commands:
                    connection = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                    self._send(connection, command, payload)
                    ahead.append((command, connection))
                    if len(ahead) == _AHEAD:
                        _see_empty(*ahead.popleft())
                while ahead:
                    _see_empty(*ahead.popleft())
            except RuntimeApiError:
                # What is under way ends before anything else is told.
                for _, connection in ahead:
                    with suppress(OSError):
                        b"".join(_received(connection))
                raise
            except OSError as error:
                raise HaproxyAwayError(self.path, error.strerror or str(error)) from error

    def _send(self, connection: socket.socket, command: str, payload: Iterable[str]) -> None:
        lines = "".join(f"{line}\n" for line in payload)
        text = f"{command} <<\n{lines}\n" if lines else f"{command}\n"
        connection.settimeout(self.timeout)
        connection.connect(str(self.path))
        connection.sendall(text.encode())
        # The master keeps a connection open for more commands, unless it sees that none will come.
        connection.shutdown(socket.SHUT_WR)

    # -- the process

    def process(self) -> Process:
        """Return who answers. Raises RuntimeApiError, HaproxyAwayError."""
        answer = self.ask("show info")
        told = dict(line.split(": ", 1) for line in answer.splitlines() if ": " in line)
        try:
            return Process(int(told["Pid"]), told["Version"], int(told["Uptime_sec"]))
        except (KeyError, ValueError):
            raise RuntimeApiError("show info", _first_line(answer)) from None

    # -- maps

    def entries(self, name: str, version: int | None = None) -> Iterator[tuple[str, str]]:
        """Yield the entries of a map, as the lines of its file. Raises RuntimeApiError, HaproxyAwayError."""
        command = f"show map {'' if version is None else f'@{version} '}{name}"
        for line in self.ask(command).splitlines():
            if line:
                address, _, entry = line.partition(" ")
                key, _, value = entry.partition(" ")
                if not address.startswith("0x"):
                    raise RuntimeApiError(command, line)
                yield key, value

    def size(self, name: str) -> int:
        """Return how many entries a map has, all of its versions together. Raises RuntimeApiError, HaproxyAwayError."""
        answer = self.ask("show map")
        for line in answer.splitlines():
            if f" ({name}) " in line and (found := re.search(r" entry_cnt=(\d+)", line)):
                return int(found[1])
        raise RuntimeApiError("show map", f"there is no map {name}")

    def swap(self, name: str, entries: Mapping[str, str]) -> None:
        """Give a map other entries, all at one stroke. What was there before stays where it fails.

        Raises RuntimeApiError, HaproxyAwayError.
        """
        created = _CREATED.search(answer := self.ask(f"prepare map {name}"))
        if created is None:
            raise RuntimeApiError(f"prepare map {name}", _first_line(answer))
        version = int(created[1])
        try:
            before = self.size(name)
            self.tell_all((f"add map @{version} {name}", batch) for batch in batches(entries))
            # A batch that got lost would be a hole through which hosts fall. To read all of it again would take HAProxy a quarter
            # more; who compares what it holds does so later.
            if self.size(name) != before + len(entries):
                raise RuntimeApiError(f"add map @{version} {name}", "entries got lost on the way")
        except RuntimeApiError:
            self._forget(name, version)
            raise
        self.tell(f"commit map @{version} {name}")

    def _forget(self, name: str, version: int) -> None:
        """Free what a version holds that is never to be committed; the next one frees it as well."""
        try:
            self.ask(f"clear map @{version} {name}")
        except HaproxyAwayError:
            return

    # -- servers

    def servers(self) -> list[Server]:
        """Return all servers of all backends. Raises RuntimeApiError, HaproxyAwayError."""
        lines = self.ask("show servers state").splitlines()
        if len(lines) < 2 or not lines[1].startswith("# be_id "):
            raise RuntimeApiError("show servers state", lines[0] if lines else "")
        columns = lines[1].removeprefix("# ").split(" ")
        rows = [dict(zip(columns, line.split(" "), strict=False)) for line in lines[2:] if line]
        return [_server(row) for row in rows]

    def set_address(self, backend: str, server: str, address: str, port: int) -> None:
        """Give a server an address and let it serve. Raises RuntimeApiError, HaproxyAwayError."""
        command = f"set server {backend}/{server} addr {address} port {port}"
        words = self.ask(command).strip()
        if "by 'stats socket command'" not in words or words.startswith("Invalid"):
            raise RuntimeApiError(command, words)
        self.tell(f"set server {backend}/{server} state ready")


class Master:
    """The master process behind `-S`: it starts a new worker, and the old one ends when its last connection does."""

    def __init__(self, path: Path, timeout: float = 60.0) -> None:
        self._runtime = Runtime(path, timeout)

    def workers(self) -> Workers:
        """Return the workers. Raises RuntimeApiError, HaproxyAwayError."""
        answer = self._runtime.ask("show proc")
        if not answer.startswith("#<PID>"):
            raise RuntimeApiError("show proc", _first_line(answer))
        rows = [line.split() for line in answer.splitlines()]
        pids = {int(row[0]): int(row[2]) for row in rows if len(row) > 3 and row[1] == "worker"}
        failed = _FAILED.search(answer)
        return Workers(
            next((pid for pid, reloads in pids.items() if reloads == 0), None),
            tuple(pid for pid, reloads in pids.items() if reloads > 0),
            int(failed[1]) if failed else 0,
        )

    def reload(self, patience: float = 120.0) -> int:
        """Have the configuration read anew, and return the pid of the worker that took over.

        Raises RuntimeApiError where the configuration is not taken: then the old worker stays; HaproxyAwayError.
        """
        before = self.workers()
        words = self._runtime.ask("reload").strip()
        if words and not words.startswith("Success=1"):
            raise RuntimeApiError("reload", " ".join(words.split("\n")))
        # HAProxy 2.6 answers nothing, and nobody answers at the socket while the master starts anew.
        end = monotonic() + patience
        while monotonic() < end:
            now = self._workers_or_none()
            if now is not None and now.failed > before.failed:
                break
            if now is not None and now.current not in {None, before.current, *before.leaving}:
                return int(now.current or 0)
            sleep(_PAUSE)
        raise RuntimeApiError("reload", "no new worker came up; its log says why")

    def _workers_or_none(self) -> Workers | None:
        try:
            return self.workers()
        except RuntimeApiError:
            return None


def batches(entries: Mapping[str, str], most: int = MAX_PAYLOAD) -> Iterator[list[str]]:
    """Yield the lines of a map in parts that HAProxy takes at once. Bytes count, not characters.

    They are in order: neighbours in its tree are then neighbours in its memory, which saves it a quarter of the time.
    """
    batch: list[str] = []
    size = 0
    for key in sorted(entries):
        line = f"{key} {entries[key]}"
        length = (len(line) if line.isascii() else len(line.encode())) + 1
        if batch and size + length > most:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch


def _received(connection: socket.socket) -> Iterator[bytes]:
    while piece := connection.recv(1 << 18):
        yield piece


def _see_empty(command: str, connection: socket.socket) -> None:
    with connection:
        words = b"".join(_received(connection)).decode(errors="replace").strip()
    if words:
        raise RuntimeApiError(command, words)


def _server(row: Mapping[str, str]) -> Server:
    state, admin = int(row["srv_op_state"]), int(row["srv_admin_state"])
    return Server(
        row["be_name"],
        row["srv_name"],
        row["srv_addr"],
        int(row["srv_port"]),
        is_up=state in {_STARTING, _RUNNING} and not admin & (_MAINTENANCE | _DRAIN),
        is_in_maintenance=bool(admin & _MAINTENANCE),
    )


def _first_line(answer: str) -> str:
    return answer.strip().partition("\n")[0]
