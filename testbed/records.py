"""What a running bed is: written by the process that keeps it, read by everybody who uses it."""

import base64
import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

CLUSTERS: Final = ("management", "a", "b", "c")
MEMBERS: Final = CLUSTERS[1:]
USERS: Final = {"anna": "anna-pass", "shopset": "shopset-pass", "argocd": "argocd-pass"}
"""Users of the git server with their passwords; `argocd` only reads."""


@dataclass(frozen=True)
class Bed:
    """A bed that is ready."""

    folder: str
    supervisor: int
    """Process id of who keeps it."""
    pids: dict[str, int]
    """Part -> process id, as of the start: a part that was killed is started again with another."""
    servers: dict[str, str]
    """Cluster -> URL of its API server."""
    git: str
    """URL under which the sets of repositories lie, without user and with a slash at the end."""
    prometheus: str
    alertmanager: str
    redis: int
    repo_server: int

    @property
    def home(self) -> Path:
        """The bed's folder."""
        return Path(self.folder)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with a context for each cluster; its user may do everything."""
        return self.home / "kubeconfig"

    @property
    def repositories(self) -> Path:
        """The folder of the bare repositories, `<set>/<name>.git`."""
        return self.home / "repositories"

    @property
    def metrics(self) -> Path:
        """Each file `<name>` in here is scraped once a second, as the job `<name>`, as soon as `watch_metrics` was told."""
        return self.home / "metrics"

    @property
    def rules(self) -> Path:
        """The folder of Prometheus' rule files."""
        return self.home / "prometheus" / "rules"

    def git_as(self, user: str) -> str:
        """Return the URL under which the sets of repositories lie, with a user and the password."""
        return self.git.replace("://", f"://{user}:{USERS[user]}@")

    def pid(self, part: str) -> int:
        """Return the process id that a part has now. Raises KeyError where it has just ended."""
        return Bed.read(self.home).pids[part]

    def reload_prometheus(self) -> None:
        """Let Prometheus read its rules and targets again."""
        os.kill(self.pid("prometheus"), signal.SIGHUP)

    def watch_metrics(self, name: str) -> None:
        """Let Prometheus scrape the file `metrics/<name>`."""
        address = self.git.split("/")[2]
        target = [{"targets": [address], "labels": {"__metrics_path__": f"/metrics/{name}", "job": name}}]
        write(self.home / "prometheus" / "targets" / f"{name}.json", json.dumps(target))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the record of a bed. Raises OSError where there is none."""
        return cls(**json.loads((folder / "bed.json").read_text()))

    def save(self) -> None:
        """Write the record."""
        write(self.home / "bed.json", json.dumps(asdict(self), indent=1))


def write(path: Path, text: str) -> None:
    """Write a file so that whoever reads it sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.rename(path)


def kubeconfig(servers: dict[str, str], authority: dict[str, Path], token: str, namespace: str = "default") -> str:
    """Return a kubeconfig with a context for each of `servers`; all take the same bearer token."""
    certificates = {name: base64.b64encode(path.read_bytes()).decode() for name, path in authority.items()}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": next(iter(servers)),
            "clusters": [
                {"name": name, "cluster": {"server": url, "certificate-authority-data": certificates[name]}}
                for name, url in servers.items()
            ],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [
                {"name": name, "context": {"cluster": name, "user": "user", "namespace": namespace}} for name in servers
            ],
        },
        indent=1,
    )
