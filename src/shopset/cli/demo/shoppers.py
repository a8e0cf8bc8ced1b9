"""The shoppers of the demo: a process of their own asks, and here is what they got."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Condition, Thread

from shopset.cli.demo.children import Children
from shopset.cli.demo.stages import PATIENCE, StoryError
from shopset.cli.demo.tallies import Tally, Visit, tally

_NAME = "shoppers"


@dataclass
class Shoppers:
    """People who visit shops at the edge, at a constant rate."""

    children: Children
    port: int
    _process: subprocess.Popen[bytes] = field(init=False)
    _visits: list[Visit] = field(default_factory=list)
    _settled: float = 0.0
    """All that began before have ended."""
    _news: Condition = field(default_factory=Condition)

    def __post_init__(self) -> None:
        command = (sys.executable, "-m", "shopset.cli.demo.shopping", str(self.port))
        self._process = self.children.start(_NAME, command, answers=True)
        # Daemonic: it ends with the process that it reads from, and nobody is to wait for it.
        Thread(target=self._read, daemon=True).start()

    def visit(self, name: str, shops: Mapping[str, float], rate: float, others: float = 0.15) -> None:
        """Let a stream of shoppers visit hosts by their shares, `others` of them to buy; a rate of 0 ends the stream."""
        order = {"name": name, "hosts": list(shops), "shares": list(shops.values()), "rate": rate, "others": others}
        pipe = self._process.stdin
        if pipe is None or self._process.poll() is not None:
            raise StoryError("the shoppers are gone")
        pipe.write(f"{json.dumps(order)}\n".encode())
        pipe.flush()

    def since(self, began: float, until: float | None = None) -> list[Visit]:
        """Return the visits that began in a span of the monotonic clock, once each has ended. Raises StoryError."""
        until = time.monotonic() if until is None else until
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while self._settled < until:
                if not self._news.wait(1) and (self._process.poll() is not None or time.monotonic() > deadline):
                    raise StoryError("the shoppers are gone")
            return [each for each in self._visits if began <= each.began < until]

    def lately(self) -> Tally:
        """Count what ended in the last second."""
        with self._news:
            now = self._visits[-1].ended if self._visits else 0.0
            # They come in the order of their ends, but for the tenths of a second between two reports.
            found = [each for each in self._visits[-4000:] if each.ended > now - 1.0]
        return tally(found)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            report = json.loads(line)
            visits = [Visit(*each) for each in report["done"]]
            with self._news:
                self._visits += visits
                self._settled = report["oldest"]
                self._news.notify_all()
