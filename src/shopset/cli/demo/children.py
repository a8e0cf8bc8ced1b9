"""The demo's own processes: whatever it starts ends with it, by its process id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_GRACE = 5.0
"""Seconds that a process may take to end."""


@dataclass
class Children:
    """Processes by name, each with a log of its own, and in a session of its own: Ctrl-C on a terminal is for the demo."""

    logs: Path
    environment: Mapping[str, str]
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], *, answers: bool = False) -> subprocess.Popen[bytes]:
        """Start a process. Its output goes to the log, or (where it `answers`) into a pipe."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command,
                env=dict(self.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if answers else log,
                stderr=log,
                start_new_session=True,
            )
        self._running[name] = child
        return child

    def kill(self, name: str) -> None:
        """Let a process die without a word."""
        child = self._running.pop(name)
        child.kill()
        _release(child)

    def ended(self) -> list[str]:
        """Return who ended without being told to."""
        return [name for name, child in self._running.items() if child.poll() is not None]

    def close(self) -> None:
        """End all of them, the last one first: politely, then not."""
        for child in reversed(self._running.values()):
            child.terminate()
            try:
                child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
            _release(child)
        self._running.clear()


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: whatever is to be ended is ended."""
    wanted = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, lambda number, _: sys.exit(128 + number)) for each in wanted]
    try:
        yield
    finally:
        for each, handler in zip(wanted, before, strict=True):
            signal.signal(each, handler)


def end(pid: int, words: str, grace: float) -> None:
    """End a process that is nobody's child here, where it is still the one with these words in its command; within `grace` politely."""
    deadline = time.monotonic() + grace
    number = signal.SIGTERM
    while _runs(pid, words):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        time.sleep(0.05)
        if time.monotonic() > deadline:
            number = signal.SIGKILL


def _runs(pid: int, words: str) -> bool:
    try:
        os.kill(pid, 0)
        # Where there is no such folder, the number has to do.
        return not Path("/proc/self").exists() or words in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (OSError, ValueError):
        return False


def _release(child: subprocess.Popen[bytes]) -> None:
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
