"""Ends what a killed test run left: `python reaping.py MARK SECONDS` waits for the end of its input, which its run holds however that ends.

Nobody but this finds an HAProxy whose test was killed: it has a session of its own. What belongs to a run has its mark in the environment.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

VARIABLE = "SHOPSET_TEST_RUN"


def start(mark: str, grace: float = 5.0) -> "subprocess.Popen[bytes]":
    """Start waiting for the end of this process; what has the mark then has some seconds to end politely in."""
    command = [sys.executable, "-S", __file__, mark, str(grace)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env={})


def stop(reaper: "subprocess.Popen[bytes]") -> None:
    """Let nothing be ended: a run that ends in order has ended what it started."""
    with reaper:
        reaper.kill()


def _of_run(mark: str) -> list[int]:
    wanted = f"{VARIABLE}={mark}".encode()
    found = []
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            if each.name.isdigit() and wanted in (each / "environ").read_bytes().split(b"\0"):
                found.append(int(each.name))
    return found


def _reap(mark: str, grace: float) -> None:
    until = time.monotonic() + grace
    told: set[int] = set()
    while pids := _of_run(mark):
        is_late = time.monotonic() > until
        for pid in pids:
            if is_late or pid not in told:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if is_late else signal.SIGTERM)
        told.update(pids)
        time.sleep(0.2)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    _reap(sys.argv[1], float(sys.argv[2]))
