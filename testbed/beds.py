"""Starting a bed from another process: the bed has a process of its own that keeps it."""

import subprocess
import sys
import time
from pathlib import Path

from testbed.processes import StartError
from testbed.records import Bed


def start(folder: Path, parent: int | None = None, seconds: float = 180) -> Bed:
    """Start a bed in a folder that is not there yet, and wait until it is ready. Raises StartError.

    With `parent` it ends when that process does; else it goes on until `keeping.end`.
    """
    folder.mkdir(parents=True)
    given = [] if parent is None else ["--parent", str(parent)]
    with (folder / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "testbed", "keep", str(folder), *given],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + seconds
    while not (folder / "bed.json").exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            told = (folder / "keeper.log").read_text() if folder.exists() else "its folder is gone"
            keeper.terminate()
            raise StartError(told)
        time.sleep(0.1)
    # It is not waited for: it goes on, maybe longer than this process.
    keeper.returncode = 0
    return Bed.read(folder)
