"""An edge: HAProxy on the configuration that `shopset.edge` makes, with shops and ShopSets of a test."""

import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeHealth, EdgeSettings, EdgeShop, EdgeShopSet
from shopset.core.placement.placements import Group, PlacedShop
from shopset.edge.configuration import Place, configuration
from shopset.edge.hostmap import lines_of
from shopset.edge.routes import host_entries, routes
from support.haproxies import Running, ask, check, running, wait_for_state, wait_until_ready
from support.origins import Origin, free_port

PATIENT: Final = EdgeSettings(health=EdgeHealth(interval=100, timeout=5000, rise=2, slow_start=0))
"""A busy machine answers no check within the usual 150 ms, and whatever is not about that must not notice."""


@dataclass(frozen=True)
class Answer:
    """What a client got: status 0 is a connection that was closed without an answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def shopset(self) -> str:
        return self.headers.get("x-shopset", "")

    @property
    def told(self) -> tuple[int, str]:
        """The status and who gave it."""
        return self.status, self.shopset


@dataclass
class Edge:
    """One that runs."""

    place: Place
    port: int
    haproxy: Running
    groups: Mapping[str, Group]

    def get(self, host: str, path: str = "/", **more: Any) -> Answer:
        return self.request("GET", host, path, **more)

    def request(
        self,
        method: str,
        host: str,
        path: str = "/",
        headers: Sequence[tuple[str, str]] = (),
        source: str = "127.0.0.1",
        body: bytes = b"",
    ) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body, source, method)

    def send(self, data: bytes, source: str = "127.0.0.1", method: str = "GET") -> Answer:
        """Send these bytes, and return the first answer."""
        with socket.create_connection(("127.0.0.1", self.port), 30, (source, 0)) as connection:
            connection.sendall(data)
            return read_answer(connection, method)

    def exchange(self, data: bytes) -> bytes:
        """Send these bytes, and return all that comes until the connection is closed, in small letters."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            try:
                while piece := connection.recv(65536):
                    received += piece
            except ConnectionResetError:
                pass
        return received.lower()

    def api(self, command: str) -> str:
        return ask(Path(self.place.runtime_socket), command)

    def wait(self, state: str, *shopsets: str) -> None:
        for name in shopsets:
            wait_for_state(Path(self.place.runtime_socket), f"{name}/p", state)

    def downs(self, shopset: str) -> int:
        """Return how often it was marked down."""
        return self.count(shopset, "p", "chkdown")

    def sessions(self, shopset: str) -> int:
        """Return how many requests are on their way to it, or in it."""
        return self.count(shopset, "p", "scur")

    def count(self, backend: str, server: str, name: str) -> int:
        """Return what HAProxy counts, as `show stat` calls it; of the whole backend where the server is BACKEND."""
        names, *rows = [line.split(",") for line in self.api("show stat").removeprefix("# ").splitlines() if line]
        return next(int(row[names.index(name)]) for row in rows if row[:2] == [backend, server])

    def swap(self, entries: Iterable[tuple[str, str]]) -> None:
        """Let the overlay say this and nothing else, at one stroke."""
        name = self.place.moved_map
        version = self.api(f"prepare map {name}").split()[-1]
        lines = "".join(f"{key} {value}\n" for key, value in entries)
        if lines:
            self.api(f"add map @{version} {name} <<\n{lines}")
        self.api(f"commit map @{version} {name}")


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Read one answer up to the end of the connection or of its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            return Answer(0)
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", -1))
    while method != "HEAD" and (len(body) < length or length < 0):
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        body += piece
    return Answer(int(first.split(" ")[1]), headers, body)


def shop(name: str, group: str, *hosts: str) -> PlacedShop:
    return PlacedShop(name, group, hosts or (f"{name}.example.com",))


def facts_of(
    shopsets: Mapping[str, Origin],
    *classes: EdgeClass,
    settings: EdgeSettings = PATIENT,
    shops: Iterable[EdgeShop] = (),
    concurrency: int | None = None,
) -> EdgeFacts:
    return EdgeFacts(
        settings=settings,
        shopsets={
            name: EdgeShopSet(name, f"http://{each.address}", concurrency=concurrency)
            for name, each in shopsets.items()
        },
        classes={each.name: each for each in classes or (EdgeClass("standard", replicas=2),)},
        shops={each.name: each for each in shops},
    )


def write_hosts(path: Path, entries: Iterable[tuple[str, str]]) -> None:
    """Write the large map: host -> what is said of it."""
    path.write_bytes(b"".join(lines_of(entries)))


@contextmanager
def edge(
    program: str,
    facts: EdgeFacts,
    lists: Mapping[str, Sequence[str]],
    shops: Sequence[PlacedShop],
    *,
    up: bool = True,
    **place: Any,
) -> Iterator[Edge]:
    """Run HAProxy for these shops until the block ends; it begins when every ShopSet is up. `lists`: group -> its ShopSets."""
    groups = {name: Group(name, name.split("#")[0].split("/")[0], tuple(replicas)) for name, replicas in lists.items()}
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="edge-") as folder:
        here = replace(Place(folder, http=(f"127.0.0.1:{port}",), threads=1, connections=2000, spares=2), **place)
        for name in ("maps", "run", "certificates"):
            Path(folder, name).mkdir()
        entries = host_entries(shops, facts, routes(facts, groups, {each.name: each.group for each in shops}))
        write_hosts(Path(here.hosts_map), entries)
        Path(here.moved_map).touch()
        Path(here.configuration).write_text(configuration(facts, here))
        check(program, Path(here.configuration))
        with running(program, Path(here.configuration), ready=Path(here.runtime_socket)) as haproxy:
            wait_until_ready(haproxy, port)
            started = Edge(here, port, haproxy, groups)
            if up:
                started.wait("UP", *facts.shopsets)
            yield started
