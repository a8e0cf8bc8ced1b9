"""Shoppers: requests at a constant rate over connections that are kept, whether answers come or not (an open loop).

They run in a thread beside the test, which meanwhile breaks something.
"""

import asyncio
import itertools
import secrets
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one request."""

    at: float
    """Seconds from the beginning to when it was due."""
    took: float
    """Seconds from when it was due to the end of its answer, or to its failure."""
    identity: str
    """Its header X-Shopper-Id."""
    host: str
    method: str
    outcome: str
    """The status of a whole answer; `refused`, `closed` (before or in an answer), or `timeout`."""
    shopset: str
    """The header X-ShopSet of the answer."""
    attempts: int
    """Two where a connection that was kept was closed just then, and a safe request was sent again, as browsers do."""

    @property
    def failed(self) -> bool:
        return self.outcome != "200"


@dataclass(frozen=True)
class Outcome:
    """What became of all of them."""

    seen: Sequence[Seen]

    def where(self, wanted: Callable[[Seen], bool]) -> "Outcome":
        return Outcome([each for each in self.seen if wanted(each)])

    @property
    def safe(self) -> "Outcome":
        """Those that may be sent again."""
        return self.where(lambda each: each.method in SAFE)

    @property
    def unsafe(self) -> "Outcome":
        return self.where(lambda each: each.method not in SAFE)

    @property
    def failed(self) -> "Outcome":
        return self.where(lambda each: each.failed)

    @property
    def repeated(self) -> "Outcome":
        """Those whose connection was closed without an answer, and that the shopper sent again."""
        return self.where(lambda each: each.attempts > 1)

    def of(self, *hosts: str) -> "Outcome":
        return self.where(lambda each: each.host in hosts)

    def outcomes(self) -> Counter[str]:
        return Counter(each.outcome for each in self.seen)

    def shopsets(self) -> Counter[str]:
        """Count the whole answers by the ShopSets that gave them."""
        return Counter(each.shopset for each in self.seen if each.shopset)

    def percentile(self, share: float) -> float:
        """Return the seconds within which this share (0.5, 0.99, 1) ended."""
        ordered = sorted(each.took for each in self.seen)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def span(self) -> float:
        """Return the seconds between the first and the last of them."""
        return max(each.at for each in self.seen) - min(each.at for each in self.seen) if self.seen else 0.0

    def __len__(self) -> int:
        return len(self.seen)


@dataclass
class Shopping:
    """Shoppers at work; what they do next may be changed at any time."""

    port: int
    rate: float
    """Requests per second."""
    hosts: Sequence[str]
    """One after the other."""
    methods: Sequence[str] = ("GET",)
    """One after the other, as in ("GET",) * 5 + ("POST",)."""
    path: str = "/"
    addresses: Sequence[str] = ("127.0.0.1",)
    """Where shoppers come from, one after the other."""
    headers: Sequence[tuple[str, str]] = ()
    timeout: float = 3.0
    """Seconds after which a shopper gives up."""
    tls: ssl.SSLContext | None = None
    requests: int | None = None
    """So many and no more."""
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._shop()), daemon=True)
        self._idle: dict[tuple[str, str], list[_Connection]] = {}
        self._error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def sent(self) -> int:
        """Return how many requests have ended."""
        return len(self.seen)

    def wait(self, more: int, patience: float = 120.0) -> None:
        """Wait until so many more requests have ended: time that a busy machine does not shorten."""
        wanted, deadline = len(self.seen) + more, time.monotonic() + patience
        while len(self.seen) < wanted:
            assert self._thread.is_alive(), "the shoppers have gone"
            assert time.monotonic() < deadline, f"{len(self.seen)} of {wanted} requests have ended"
            time.sleep(0.01)

    def finish(self) -> Outcome:
        """Wait for the last answers (of all `requests`, where they are counted)."""
        if self.requests is None:
            self._ending.set()
        self._thread.join()
        if self._error:
            raise self._error
        return Outcome(self.seen)

    def end(self) -> Outcome:
        """Send no more; what is under way ends."""
        self._ending.set()
        return self.finish()

    async def _shop(self) -> None:
        run, hosts, methods, addresses = (
            secrets.token_hex(4),
            *(itertools.cycle(each) for each in (self.hosts, self.methods, self.addresses)),
        )
        loop = asyncio.get_running_loop()
        began = loop.time()
        tasks: set[asyncio.Task[None]] = set()
        due = began
        for number in itertools.count() if self.requests is None else range(self.requests):
            # A change of the rate counts from now on, so each is due after the one before it.
            due += 1 / self.rate
            while (wait := due - loop.time()) > 0 and not self._ending.is_set():
                await asyncio.sleep(min(wait, 0.1))
            if self._ending.is_set():
                break
            if not number % 16:
                # Late: still the loop has to turn.
                await asyncio.sleep(0)
            task = loop.create_task(
                self._request(began, due, f"{run}-{number}", next(hosts), next(methods), next(addresses))
            )
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            done, _ = await asyncio.wait(tasks)
            self._error = next((error for each in done if (error := each.exception())), None)
        for connections in self._idle.values():
            for connection in connections:
                connection.transport.abort()

    async def _request(self, began: float, due: float, identity: str, host: str, method: str, address: str) -> None:
        loop = asyncio.get_running_loop()
        body = b"x" * 16 if method in ("POST", "PUT", "PATCH") else b""
        lines = [f"{method} {self.path} HTTP/1.1", f"Host: {host}", f"X-Shopper-Id: {identity}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if body or method not in SAFE:
            lines.append(f"Content-Length: {len(body)}")
        data = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        outcome, shopset, attempts = "timeout", "", 0
        try:
            async with asyncio.timeout_at(max(due, loop.time()) + self.timeout):
                for attempt in (1, 2):
                    attempts = attempt
                    outcome, shopset, again = await self._attempt(data, host, method, address, attempt)
                    if not again:
                        break
        except TimeoutError:
            pass
        self.seen.append(Seen(due - began, loop.time() - due, identity, host, method, outcome, shopset, attempts))

    async def _attempt(self, data: bytes, host: str, method: str, address: str, attempt: int) -> tuple[str, str, bool]:
        key = (address, host if self.tls else "")
        idle = self._idle.setdefault(key, [])
        while idle and idle[-1].closed:
            idle.pop()
        kept = bool(idle) and attempt == 1
        if kept:
            connection = idle.pop()
        else:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection,
                    "127.0.0.1",
                    self.port,
                    local_addr=(address, 0),
                    ssl=self.tls,
                    server_hostname=host if self.tls else None,
                )
            except OSError:
                return "refused", "", False
        done = False
        try:
            answer = await connection.ask(data, method)
            done = answer is not None and not answer.last
        finally:
            if done:
                idle.append(connection)
            else:
                connection.transport.abort()
        if answer is None:
            return "closed", "", kept and method in SAFE and not connection.began
        return answer.status, answer.shopset, False


@contextmanager
def shopping(
    port: int,
    *,
    rate: float,
    hosts: Sequence[str],
    methods: Sequence[str] = ("GET",),
    path: str = "/",
    addresses: Sequence[str] = ("127.0.0.1",),
    headers: Sequence[tuple[str, str]] = (),
    timeout: float = 3.0,
    tls: ssl.SSLContext | None = None,
    requests: int | None = None,
) -> Iterator[Shopping]:
    """Let shoppers come until the block ends; `finish()` in it says what became of them."""
    shoppers = Shopping(port, rate, hosts, methods, path, addresses, headers, timeout, tls, requests)
    shoppers.start()
    try:
        yield shoppers
    finally:
        shoppers.end()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    shopset: str
    last: bool


class _Connection(asyncio.Protocol):
    """One request at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.began = self.closed = False
        self.method = ""
        self.waiting: asyncio.Future[_Answer | None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, data: bytes, method: str) -> "asyncio.Future[_Answer | None]":
        """Return the answer, or None where the connection ends before it is whole."""
        self.waiting = asyncio.get_running_loop().create_future()
        self.method, self.began = method, False
        self.buffer.clear()
        if self.closed:
            self.waiting.set_result(None)
        else:
            self.transport.write(data)
        return self.waiting

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.began = True
        if answer := self._parse(ended=False):
            self._settle(answer)

    def connection_lost(self, _: Exception | None) -> None:
        self.closed = True
        self._settle(self._parse(ended=True))

    def _settle(self, answer: _Answer | None) -> None:
        if self.waiting and not self.waiting.done():
            self.waiting.set_result(answer)

    def _parse(self, *, ended: bool) -> _Answer | None:
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        status = head[9:12].decode("latin-1")
        if status.startswith("1"):
            del self.buffer[: len(head) + 4]
            return self._parse(ended=ended)
        fields = {}
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        last = fields.get("connection", "").lower() == "close" or ended
        if self.method != "HEAD" and status not in ("204", "304"):
            if "content-length" in fields:
                if len(body) < int(fields["content-length"]):
                    return None
            elif fields.get("transfer-encoding", "").lower() == "chunked":
                if not body.endswith(b"0\r\n\r\n"):
                    return None
            elif not ended:
                return None
        return _Answer(status, fields.get("x-shopset", ""), last)
