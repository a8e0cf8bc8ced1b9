"""Where the programs of the bed are: `scripts/testbed` and `scripts/test` build them and put them on the PATH."""

import shutil
import socket
from pathlib import Path
from typing import Final

PROGRAMS: Final = (
    "etcd",
    "kube-apiserver",
    "kube-apiserver-next",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kwok",
    "argocd",
    "argocd-application-controller",
    "argocd-repo-server",
    "kustomize",
    "git",
    "redis-server",
    "nginx",
    "fcgiwrap",
    "prometheus",
    "prometheus-alertmanager",
    "setpriv",
    "openssl",
)


class ProgramMissingError(Exception):
    """A program of the bed is not to be found."""


def program(name: str) -> str:
    """Return the path of a program. Raises ProgramMissingError."""
    found = shutil.which(name, path=None) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        message = f"{name} is not on the PATH: run `scripts/testbed` or `scripts/test`, which build what the bed needs"
        raise ProgramMissingError(message)
    return found


def beside(name: str, folder: str) -> Path:
    """Return a folder of files that were laid beside a program when it was built. Raises ProgramMissingError."""
    return Path(program(name)).resolve().parent / folder


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
