"""Keeping a bed: start every part, write the record, start again what ends, and end everything."""

import os
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from testbed.argocd import install_argocd, start_argocd
from testbed.gitserver import start_git
from testbed.kubernetes import start_clusters, start_controllers
from testbed.monitoring import start_monitoring
from testbed.processes import Processes, answers, wait_for
from testbed.programs import PROGRAMS, program
from testbed.records import MEMBERS, Bed


def keep(folder: Path, parent: int | None, say: Callable[[str], None]) -> None:
    """Start a bed in an empty folder and keep it until SIGTERM, or until `parent` is gone. Raises StartError."""
    for name in PROGRAMS:
        program(name)
    ended = threading.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(wanted, lambda *_: ended.set())
    processes = Processes(folder / "logs")
    try:
        bed = _start(folder, processes, say)
        bed.save()
        while not ended.wait(0.5) and (parent is None or _is_alive(parent)):
            processes.restart_ended()
            if processes.pids != bed.pids:
                bed = replace(bed, pids=processes.pids)
                bed.save()
    finally:
        (folder / "bed.json").unlink(missing_ok=True)
        processes.stop()
    # What failed to start stays, for whoever looks into its logs.
    shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, processes: Processes, say: Callable[[str], None]) -> Bed:
    say("git")
    git = start_git(folder, processes)
    say("etcd and the API servers of management, a, b and c")
    servers = start_clusters(folder, processes)
    say("controllers, schedulers and nodes")
    start_controllers(folder, processes)
    say("Argo CD")
    install_argocd(folder, "management", git, {name: servers[name] for name in MEMBERS})
    redis, repo_server = start_argocd(folder, processes)
    say("Prometheus and Alertmanager")
    prometheus, alertmanager = start_monitoring(folder, processes)
    for name, url in (("prometheus", prometheus), ("alertmanager", alertmanager)):
        wait_for(name, lambda url=url: answers(f"{url}/-/ready"), lambda name=name: processes.check(name))  # type: ignore[misc]
    return Bed(
        folder=str(folder),
        supervisor=os.getpid(),
        pids=processes.pids,
        servers=servers,
        git=git,
        prometheus=prometheus,
        alertmanager=alertmanager,
        redis=redis,
        repo_server=repo_server,
    )


def end(bed: Bed) -> None:
    """End a bed and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.kill(bed.supervisor, signal.SIGTERM)
    wait_for("the end of the bed", lambda: not bed.home.exists() or not _is_alive(bed.supervisor), seconds=30)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
