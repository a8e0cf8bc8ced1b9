"""A ShopSet as shoppers see it: `python -m shopset.cli.demo.origins NAME PORT [FOLDER]`, until its standard input ends.

It answers which ShopSet it is, which release it runs, as the folder of its Kubernetes namespace says, and whose shop was asked for.
"""

import asyncio
import json
import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

_RELEASE = re.compile(r"demo\.shopset\.dev/release: ['\"]?([^'\"\s]+)")
_LOOKS_EVERY = 0.5
"""Seconds between two looks at what was delivered."""


@dataclass
class Origin:
    """One ShopSet."""

    name: str
    folder: Path | None = None
    _release: str = field(default="", init=False)
    _looked: float = field(default=0.0, init=False)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests until it is closed."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
                await reader.readexactly(int(fields.get("content-length", 0)))
                writer.write(self._page(lines[0].partition(" ")[0], fields.get("host", "")))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError):
            pass  # the other end is gone, or speaks no HTTP
        finally:
            writer.close()

    def _page(self, method: str, host: str) -> bytes:
        release = {"release": found} if (found := self._running()) else {}
        body = json.dumps({"shopset": self.name, **release, "host": host}).encode() + b"\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + (b"" if method == "HEAD" else body)

    def _running(self) -> str:
        """Return the release that was delivered; empty where there is none."""
        if self.folder is not None and time.monotonic() > self._looked + _LOOKS_EVERY:
            self._looked = time.monotonic()
            self._release = next(filter(None, map(_release, sorted(self.folder.glob("*.yaml")))), "")
        return self._release


def _release(file: Path) -> str:
    try:
        found = _RELEASE.search(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""  # it is being replaced
    return found[1] if found else ""


async def _serve(origin: Origin, port: int) -> None:
    ended = asyncio.Event()

    def listen() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            ended.set()

    # Whoever started it holds the other end: however that one ends, so does this.
    asyncio.get_running_loop().add_reader(sys.stdin, listen)
    server = await asyncio.start_server(origin.answer, "127.0.0.1", port, backlog=1024)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(Origin(sys.argv[1], Path(sys.argv[3]) if len(sys.argv) > 3 else None), int(sys.argv[2])))
