"""One real API server on an etcd of its own, which a test may pause and kill as it likes."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.kubernetes import start_clusters
from testbed.processes import Processes, wait_for
from testbed.programs import program

CONTEXT = "alpha"


@dataclass(frozen=True)
class ApiServer:
    """A running API server; `pid` is its process id."""

    kubeconfig: Path
    pid: int

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl on it as one who may do everything."""
        command = [program("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout


@contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """Start an API server; it ends with the context."""
    processes = Processes(folder / "logs")
    try:
        yield _start(folder, processes)
    finally:
        processes.stop()


def _start(folder: Path, processes: Processes) -> ApiServer:
    start_clusters(folder, processes, [CONTEXT])
    server = ApiServer(folder / "kubeconfig", processes.pids[f"{CONTEXT}-apiserver"])
    wait_for("the namespace default", lambda: _is_ready(server))
    return server


def _is_ready(server: ApiServer) -> bool:
    try:
        return server.kubectl("get", "namespace", "default", "--output=name") == "namespace/default\n"
    except AssertionError:
        return False
