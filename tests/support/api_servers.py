"""One real API server on an etcd of its own, which a test may pause and kill as it likes."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from testbed.processes import Part, Processes, answers, wait_for
from testbed.programs import free_ports, program

CONTEXT = "alpha"
_TOKEN = "admin-token"


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
    client, peer, port = free_ports(3)
    etcd = f"http://127.0.0.1:{client}"
    processes.start(Part("etcd", _etcd(folder, etcd, f"http://127.0.0.1:{peer}")))
    wait_for("etcd", lambda: answers(f"{etcd}/health"), lambda: processes.check("etcd"))
    processes.start(Part("apiserver", _apiserver(folder, port, etcd)))
    (folder / "kubeconfig").write_text(yaml.safe_dump(_kubeconfig(f"https://127.0.0.1:{port}")))
    server = ApiServer(folder / "kubeconfig", processes.pids["apiserver"])
    wait_for("the API server", lambda: _is_ready(server), lambda: processes.check("apiserver"))
    return server


def _is_ready(server: ApiServer) -> bool:
    try:
        return server.kubectl("get", "namespace", "default", "--output=name") == "namespace/default\n"
    except AssertionError:
        return False


def _etcd(folder: Path, client: str, peer: str) -> list[str]:
    urls = [f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"]
    cluster = [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    return ["etcd", f"--data-dir={folder / 'etcd'}", *urls, *cluster, "--unsafe-no-fsync"]


def _apiserver(folder: Path, port: int, etcd: str) -> list[str]:
    key = folder / "service-accounts.key"
    subprocess.run([program("openssl"), "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    public = [program("openssl"), "rsa", "-in", str(key), "-pubout", "-out", f"{key}.pub"]
    subprocess.run(public, check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
    return [
        "kube-apiserver",
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-account-key-file={key}.pub",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://test.example.com",
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.9.0.0/16",
    ]


def _kubeconfig(server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "contexts": [{"name": CONTEXT, "context": {"cluster": "it", "user": "admin"}}],
        "clusters": [{"name": "it", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": _TOKEN}}],
    }
