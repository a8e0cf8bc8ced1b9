"""ShopSets for the edge: HTTP servers in processes of their own, which misbehave as a test says.

Each echoes what it received, and counts requests by their header X-Shopper-Id: nothing else proves that a request was sent once.
"""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import signal
import socket
import ssl
import struct
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Behaviour = str
"""What is done with a request that was read whole.

`ok`, a status (`500`), `reset` (before an answer), `empty` (closed without one), `cut` (reset in the middle of one), `hang`.
"""
_PORTS = range(15_000, 32_000)
"""Below those of outgoing connections."""
_STATE: dict[str, Any] = {"everything": "ok", "hosts": {}, "health": "ok", "delay": 0.0}


# --- What tests use ---------------------------------------------------------------------------------------------------


class Origin:
    """A running ShopSet."""

    def __init__(self, name: str, port: int, *, certificate: Path | None = None) -> None:
        """Start it; a certificate (with its key, PEM) makes it speak HTTPS."""
        self.name, self.port, self.control = name, port, free_port()
        self._certificate = certificate
        self._start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def behave(
        self,
        everything: Behaviour = "ok",
        *,
        hosts: dict[str, Behaviour] | None = None,
        health: Behaviour = "ok",
        delay: float = 0.0,
    ) -> None:
        """From now on this is done: to every request, to those of some hosts, to health checks; all but checks wait for `delay` seconds."""
        self._ask("/behave", {"everything": everything, "hosts": hosts or {}, "health": health, "delay": delay})

    def counts(self) -> dict[str, int]:
        """Return how often a request was received, by its header X-Shopper-Id."""
        counts: dict[str, int] = self._ask("/counts")
        return counts

    def totals(self) -> dict[str, int]:
        """Return how many requests came (`requests`, `health`), are open (`open`), and were open at once at most (`most`)."""
        totals: dict[str, int] = self._ask("/totals")
        return totals

    def forget(self) -> None:
        """Count from nought again."""
        self._ask("/forget")

    def kill(self) -> None:
        """SIGKILL; its connections are reset by the kernel, and new ones refused."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGSTOP: connections are accepted, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Begin anew on the same port, well behaved."""
        self.end()
        self._start()

    def end(self) -> None:
        if self._process.poll() is None:
            self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()

    def _start(self) -> None:
        command = [sys.executable, __file__, self.name, str(self.port), str(self.control), str(self._certificate or "")]
        # Its standard input is ours: it ends with us.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        if self._process.stdout.readline() != b"ready\n":
            self.end()
            raise AssertionError(f"the ShopSet {self.name} did not start on port {self.port}")

    def _ask(self, path: str, body: object = None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.control}{path}", json.dumps(body).encode())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
            return json.load(response)


@contextmanager
def origins(*names: str, certificate: Path | None = None) -> Iterator[dict[str, Origin]]:
    """Run ShopSets, by their names; they end with the block."""
    started: dict[str, Origin] = {}
    try:
        for name in names:
            started[name] = Origin(name, free_port(), certificate=certificate)
        yield started
    finally:
        for origin in started.values():
            origin.end()


def free_port() -> int:
    """Return a port that nobody listens on, that no other test gets, and that the kernel gives to no outgoing connection.

    So it can be taken again after a kill, and is asked by no HAProxy that thinks that somebody else is there.
    """
    for _ in range(1000):
        port = secrets.choice(_PORTS)
        if not _reserve(port):
            continue
        with socket.socket() as attempt:
            # Connections that have just ended are no obstacle, as they are none to a server.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def _reserve(port: int) -> bool:
    """Keep a port from all other processes of this machine for as long as this one lives: an abstract socket is all it takes."""
    with socket.socket(socket.AF_UNIX) as holder:
        try:
            holder.bind(f"\0shopset-test-port-{port}")
        except OSError:
            return False
        # It is closed when the process ends.
        holder.detach()
    return True


# --- The server -------------------------------------------------------------------------------------------------------


class _Shopset:
    def __init__(self, name: str) -> None:
        self.name = name
        self.state: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()
        self.requests = self.health = self.open = self.most = 0
        self.behave(_STATE)

    def behave(self, state: dict[str, Any]) -> None:
        self.state = {**_STATE, **state}

    def behaviour(self, path: str, host: str) -> Behaviour:
        if path == "/health":
            return str(self.state["health"])
        hosts: dict[str, Behaviour] = self.state["hosts"]
        return hosts.get(host, str(self.state["everything"]))


class _Request:
    """The head of a request, and what is known of its body."""

    def __init__(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, target, _ = first.split(" ", 2)
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        self.fields = {name.lower(): value for name, value in self.headers}
        self.host = self.fields.get("host", "").partition(":")[0].lower()
        self.chunked = self.fields.get("transfer-encoding", "").lower() == "chunked"
        self.left = 0 if self.chunked else int(self.fields.get("content-length", "0"))
        self.received, self.hash = 0, hashlib.sha256()

    def delay(self) -> float:
        """Return what the request itself asks for, as in `/?delay=0.2`."""
        return float(self.query.removeprefix("delay=")) if self.query.startswith("delay=") else 0.0


class _Connection(asyncio.Protocol):
    """One request after the other; the next is read when the one before it is answered."""

    transport: asyncio.Transport

    def __init__(self, shopset: _Shopset) -> None:
        self.shopset = shopset
        self.buffer = bytearray()
        self.request: _Request | None = None
        self.busy = False
        self.socket: _WebSocket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        if self.busy:
            self._done()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._go_on()

    def _go_on(self) -> None:
        if self.socket:
            self.socket.received(self.buffer)
            return
        while not self.busy and not self.transport.is_closing():
            if self.request is None:
                end = self.buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                self.request = _Request(bytes(self.buffer[:end]))
                del self.buffer[: end + 4]
                if self.request.fields.get("expect", "").lower() == "100-continue":
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if not self._read_body(self.request):
                return
            request, self.request = self.request, None
            self._judge(request)

    def _read_body(self, request: _Request) -> bool:
        """Take what has come of the body; True when it is whole."""
        while True:
            taken = self.buffer[: request.left]
            if taken:
                request.hash.update(taken)
                request.received += len(taken)
                request.left -= len(taken)
                del self.buffer[: len(taken)]
            if request.left:
                return False
            if not request.chunked:
                return True
            if request.received and not self.buffer.startswith(b"\r\n"):
                return False
            start = 2 if request.received else 0
            end = self.buffer.find(b"\r\n", start)
            if end < 0:
                return False
            size = int(bytes(self.buffer[start:end]), 16)
            if not size:
                if len(self.buffer) < end + 4:
                    return False
                del self.buffer[: end + 4]
                return True
            del self.buffer[: end + 2]
            request.left = size

    def _judge(self, request: _Request) -> None:
        shopset = self.shopset
        self.busy = True
        shopset.open += 1
        shopset.most = max(shopset.most, shopset.open)
        health = request.path == "/health"
        if health:
            shopset.health += 1
        else:
            shopset.requests += 1
            if identity := request.fields.get("x-shopper-id"):
                shopset.counts[identity] += 1
        behaviour = shopset.behaviour(request.path, request.host)
        if behaviour == "hang":
            return
        if wait := 0.0 if health else float(shopset.state["delay"]) + request.delay():
            asyncio.get_running_loop().call_later(wait, self._answer, request, behaviour)
        else:
            self._answer(request, behaviour)

    def _answer(self, request: _Request, behaviour: Behaviour) -> None:
        if self.transport.is_closing():
            return
        if behaviour == "reset":
            self._reset()
        elif behaviour == "empty":
            self.transport.close()
        elif behaviour != "cut" and request.fields.get("upgrade", "").lower() == "websocket":
            self._upgrade(request)
        else:
            status = 200 if behaviour in ("ok", "cut") else int(behaviour)
            body = self._body(request)
            head = (
                f"HTTP/1.1 {status} {'OK' if status == 200 else 'Broken'}\r\nX-ShopSet: {self.shopset.name}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode()
            if behaviour == "cut":
                self.transport.write(head + body[: len(body) // 2])
                # What was written has to be on its way before the reset.
                asyncio.get_running_loop().call_later(0.05, self._reset)
                return
            self.transport.write(head if request.method == "HEAD" else head + body)
            if request.fields.get("connection", "").lower() == "close":
                self.transport.close()
                return
            self._done()
            if self.buffer:
                asyncio.get_running_loop().call_soon(self._go_on)

    def _done(self) -> None:
        self.busy = False
        self.shopset.open -= 1

    def _body(self, request: _Request) -> bytes:
        if request.path.startswith("/bytes/"):
            return bytes(int(request.path.removeprefix("/bytes/")))
        echo = {
            "shopset": self.shopset.name,
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "peer": self.transport.get_extra_info("peername")[0],
            "body": {"bytes": request.received, "sha256": request.hash.hexdigest()},
        }
        return json.dumps(echo).encode()

    def _reset(self) -> None:
        if connection := self.transport.get_extra_info("socket"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _upgrade(self, request: _Request) -> None:
        key = request.fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        self.transport.write(
            f"HTTP/1.1 101 Switching Protocols\r\nX-ShopSet: {self.shopset.name}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self._done()
        self.socket = _WebSocket(self.transport)
        self._go_on()


class _WebSocket:
    """Sends every frame back, until the one that closes."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def received(self, buffer: bytearray) -> None:
        while frame := self._frame(buffer):
            first, payload = frame
            length = len(payload)
            extended = b"" if length < 126 else struct.pack("!H" if length < 65536 else "!Q", length)
            short = length if length < 126 else 126 if length < 65536 else 127
            self.transport.write(bytes([first, short]) + extended + payload)
            if first & 15 == 8:
                self.transport.close()

    @staticmethod
    def _frame(buffer: bytearray) -> tuple[int, bytes] | None:
        if len(buffer) < 2:
            return None
        short = buffer[1] & 127
        wide = {126: 2, 127: 8}.get(short, 0)
        start = 2 + wide + 4
        if len(buffer) < start:
            return None
        length = int.from_bytes(buffer[2 : 2 + wide], "big") if wide else short
        if len(buffer) < start + length:
            return None
        mask = bytes(buffer[start - 4 : start])
        payload = bytes(byte ^ mask[index & 3] for index, byte in enumerate(buffer[start : start + length]))
        first = buffer[0]
        del buffer[: start + length]
        return first, payload


class _Control(asyncio.Protocol):
    """Answers one request and closes."""

    transport: asyncio.Transport

    def __init__(self, answers: dict[str, Callable[[Any], Any]]) -> None:
        self.answers = answers
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        request = _Request(head)
        if len(body) < request.left:
            return
        answer = json.dumps(self.answers[request.path](json.loads(body or b"null"))).encode()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(answer) + answer
        )
        self.transport.close()


async def _serve(name: str, port: int, control: int, certificate: str) -> None:
    shopset = _Shopset(name)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def totals(_: Any) -> dict[str, int]:
        return {"requests": shopset.requests, "health": shopset.health, "open": shopset.open, "most": shopset.most}

    def forget(_: Any) -> None:
        shopset.counts.clear()
        shopset.requests = shopset.health = 0
        shopset.most = shopset.open

    answers = {"/behave": shopset.behave, "/counts": lambda _: shopset.counts, "/totals": totals, "/forget": forget}
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    await loop.create_server(lambda: _Connection(shopset), "127.0.0.1", port, backlog=4096, ssl=context)
    await loop.create_server(lambda: _Control(answers), "127.0.0.1", control)
    loop.add_reader(0, ended.set)
    os.write(1, b"ready\n")
    await ended.wait()


def main(arguments: Sequence[str]) -> None:
    name, port, control, certificate = arguments
    asyncio.run(_serve(name, int(port), int(control), certificate))


if __name__ == "__main__":
    main(sys.argv[1:])
