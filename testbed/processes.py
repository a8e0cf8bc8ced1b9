"""The processes of a bed: started in one process group each, told apart by name, and ended by process id."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.programs import program

_SPARING = {"GOGC": "400"}
"""Of Go's programs: memory for time. Collecting garbage is a third of what API servers do while they start."""


class StartError(Exception):
    """A part of the bed did not come up."""


@dataclass(frozen=True)
class Part:
    """One program of the bed, with all that starting it again needs."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


class Processes:
    """Keeps parts running. They end with the process that started them, however that ends."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, tuple[Part, subprocess.Popen[bytes]]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    @property
    def pids(self) -> dict[str, int]:
        """Part -> process id."""
        return {name: process.pid for name, (_, process) in self._running.items()}

    def start(self, part: Part) -> None:
        """Start a part; its output goes to `<name>.log`."""
        name, *arguments = part.command
        # The kernel ends a part whose parent is gone, so that not even SIGKILL leaves one behind.
        command = [program("setpriv"), "--pdeathsig", "KILL", "--", program(name), *arguments]
        with (self._logs / f"{part.name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**_SPARING, **os.environ, **part.environment},
                cwd=part.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running[part.name] = part, process

    def restart_ended(self) -> None:
        """Start again what has ended by itself or was killed, as a node's supervisor would."""
        for part, process in list(self._running.values()):
            if process.poll() is not None:
                self.start(part)

    def check(self, name: str) -> None:
        """Check that a part still runs. Raises StartError with the end of its log."""
        if self._running[name][1].poll() is not None:
            end = (self._logs / f"{name}.log").read_text(errors="replace")[-2000:]
            message = f"{name} ended: {end}"
            raise StartError(message)

    def stop(self) -> None:
        """End everything, in the opposite order: first politely, then not."""
        processes = [process for _, process in reversed(self._running.values())]
        for wanted in (signal.SIGTERM, signal.SIGKILL):
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, wanted)
                    process.send_signal(signal.SIGCONT)
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline and any(process.poll() is None for process in processes):
                time.sleep(0.02)
        self._running.clear()


def wait_for(
    what: str, ready: Callable[[], bool], alive: Callable[[], None] = lambda: None, seconds: float = 120
) -> None:
    """Wait until something is ready. Raises StartError."""
    deadline = time.monotonic() + seconds
    while not ready():
        alive()
        if time.monotonic() > deadline:
            message = f"{what} was not ready within {seconds:g} s"
            raise StartError(message)
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether a URL answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  # addresses of the bed's own parts
            return bool(response.status == 200)
    except OSError:
        return False
    except urllib.error.URLError:
        return False
