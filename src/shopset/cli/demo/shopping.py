"""Shoppers: `python -m shopset.cli.demo.shopping PORT` asks the edge at a constant rate, until its standard input ends.

Each line of its input is a stream; a rate of 0 ends it:
    {"name": "rush", "hosts": ["bar.shop-pro.jp"], "shares": [1.0], "rate": 1000, "others": 0.15}
Each line of its output has what came to an end since the one before, and when the oldest request began that is still on its way:
    {"oldest": 17.25, "done": [[began, ended, host, safe, status, shopset], ...]}

The rate does not depend on the answers, as with people; only what a stall of this process itself has missed is not made up for.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import accumulate

_TIMEOUT = 15.0
_MISSES = 0.5
"""Seconds of a stall that are made up for."""
_REPORTS_EVERY = 0.1
_BODY = b"item=1"

Visit = tuple[float, float, str, bool, int, str]


@dataclass(frozen=True)
class Stream:
    """Requests of one kind."""

    name: str
    hosts: Sequence[str] = ()
    shares: Sequence[float] = ()
    rate: float = 0.0
    others: float = 0.0
    """Share of requests that are no GET."""


@dataclass
class Shopping:
    """All streams to one port."""

    port: int
    _idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)
    _under_way: dict[asyncio.Task[None], float] = field(default_factory=dict)
    _done: list[Visit] = field(default_factory=list)
    _streams: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def set(self, stream: Stream) -> None:
        """Begin a stream, change it, or end it."""
        if before := self._streams.pop(stream.name, None):
            before.cancel()
        if stream.rate:
            self._streams[stream.name] = asyncio.create_task(self._run(stream))

    def report(self) -> str:
        """Return a line with what is done since the last one."""
        done, self._done = self._done, []
        return json.dumps({"oldest": min(self._under_way.values(), default=time.monotonic()), "done": done})

    async def _run(self, stream: Stream) -> None:
        chance = random.Random(stream.name)  # noqa: S311  # who visits which shop is no secret
        until = list(accumulate(stream.shares))
        due = time.monotonic()
        while True:
            due = max(due + 1 / stream.rate, time.monotonic() - _MISSES)
            await asyncio.sleep(max(due - time.monotonic(), 0))
            (host,) = chance.choices(stream.hosts, cum_weights=until)
            began = time.monotonic()
            visit = asyncio.create_task(self._visit(began, host, safe=chance.random() >= stream.others))
            self._under_way[visit] = began
            visit.add_done_callback(self._under_way.pop)

    async def _visit(self, began: float, host: str, *, safe: bool) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT), self._connection() as (reader, writer):
                status, shopset = await _ask(reader, writer, host, safe=safe)
        except (OSError, EOFError, ValueError):
            status, shopset = 0, ""
        self._done.append((began, time.monotonic(), host, safe, status, shopset))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Lend a connection, and keep it where the answer was whole."""
        while self._idle and self._idle[-1][0].at_eof():
            self._idle.pop()[1].close()
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        except BaseException:
            writer.close()
            raise
        if not writer.is_closing():
            self._idle.append((reader, writer))


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, *, safe: bool) -> tuple[int, str]:
    """Send one request; return the status, and the ShopSet that answered."""
    line = "GET /" if safe else "POST /cart"
    length = "" if safe else f"Content-Length: {len(_BODY)}\r\n"
    writer.write(f"{line} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n".encode() + (b"" if safe else _BODY))
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in head[1:])}
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    status = int(head[0].split(" ")[1])
    if fields.get("connection", "").lower() == "close":
        writer.close()
    return status, json.loads(body)["shopset"] if fields.get("content-type") == "application/json" else ""


async def _main(port: int) -> None:
    shopping = Shopping(port)
    orders = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    ended = asyncio.create_task(_follow(orders, shopping))
    while not ended.done():
        sys.stdout.write(f"{shopping.report()}\n")
        sys.stdout.flush()
        await asyncio.sleep(_REPORTS_EVERY)


async def _follow(orders: asyncio.StreamReader, shopping: Shopping) -> None:
    while line := await orders.readline():
        shopping.set(Stream(**json.loads(line)))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
