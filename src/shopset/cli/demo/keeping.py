"""The edge of the demo: `python -m shopset.cli.demo.keeping STATE COMMAND...` runs the agent, until standard input ends or SIGTERM.

An agent and its HAProxy go on without whoever started them, as they should at a real edge. Here the demo holds the other end of the input:
however it ends, so do they.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from shopset.cli.demo.children import end

_AGENT_GRACE: Final = 3.0
_HAPROXY_GRACE: Final = 1.0
"""Seconds that each may take to end; together less than the demo waits for both."""


def keep(state: Path, command: Sequence[str]) -> int:
    """Run the agent with its state folder; in the end HAProxy ends too. Returns the agent's exit code."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    threading.Thread(target=_listen, args=(told,), daemon=True).start()
    agent = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while agent.poll() is None and not told.wait(0.1):
        pass
    agent.terminate()
    try:
        code = agent.wait(_AGENT_GRACE)
    except subprocess.TimeoutExpired:
        agent.kill()
        code = agent.wait()
    with suppress(OSError, ValueError):
        end(int((state / "run" / "haproxy.pid").read_text()), str(state), _HAPROXY_GRACE)
    return code


def _listen(told: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    told.set()


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1]), sys.argv[2:]))
