"""An API server of its own: definitions, policies and roles belong to a whole cluster, and these tests change them."""

import json
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shopset.api import KINDS
from shopset.kube.definitions import definitions
from testbed.processes import Part, Processes, answers, wait_for
from testbed.programs import free_ports, program
from testbed.records import kubeconfig

ROOT = Path(__file__).parents[3]
USERS = ("admin", "anna", "ben")


@dataclass(frozen=True)
class ApiServer:
    """A running API server, kubectl as each of its users, and requests that are only checked."""

    folder: Path
    client: httpx2.Client

    def kubectl(self, *arguments: str, user: str = "admin", stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [program("kubectl"), "--kubeconfig", str(self.folder / f"{user}.kubeconfig"), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=ROOT)

    def done(self, *arguments: str, user: str = "admin", stdin: str = "") -> str:
        found = self.kubectl(*arguments, user=user, stdin=stdin)
        assert found.returncode == 0, found.stderr
        return found.stdout

    def refusal(self, path: str, document: dict[str, Any]) -> str:
        """Return why an object can't be created, or nothing; it is not created. An unknown field is an error."""
        parameters = {"dryRun": "All", "fieldValidation": "Strict"}
        answer = self.client.post(path, params=parameters, json=document)
        return "" if answer.status_code == 201 else str(answer.json()["message"])

    def apply(self, *objects: dict[str, Any]) -> None:
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.done("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=items)


@pytest.fixture(scope="session")
def bare_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("api-server")
    processes = Processes(folder / "logs")
    try:
        server = _start(folder, processes)
        yield server
        server.client.close()
    finally:
        processes.stop()


@pytest.fixture(scope="session")
def api_server(bare_api_server: ApiServer) -> ApiServer:
    bare_api_server.apply(*definitions().values())
    bare_api_server.done("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    # The discovery of a kind may lag behind its being established.
    wait_for("every kind", lambda: not any(_lags(bare_api_server, kind) for kind in KINDS))
    return bare_api_server


def _lags(server: ApiServer, kind: str) -> bool:
    return server.kubectl("get", f"{kind.lower()}.shopset.dev").returncode != 0


def _start(folder: Path, processes: Processes) -> ApiServer:
    client, peer, port = free_ports(3)
    etcd, peers, key = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}", folder / "key"
    urls = {"listen-client": etcd, "advertise-client": etcd, "listen-peer": peers, "initial-advertise-peer": peers}
    options = [f"--{name}-urls={url}" for name, url in urls.items()]
    processes.start(
        Part(
            "etcd",
            [
                "etcd",
                f"--data-dir={folder / 'etcd'}",
                *options,
                f"--initial-cluster=default={peers}",
                "--unsafe-no-fsync",
            ],
        )
    )
    wait_for("etcd", lambda: answers(f"{etcd}/health"), lambda: processes.check("etcd"))
    subprocess.run([program("openssl"), "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    public = [program("openssl"), "rsa", "-in", str(key), "-pubout", "-out", f"{key}.pub"]
    subprocess.run(public, check=True, capture_output=True)
    groups = {"admin": ',"system:masters"'}
    tokens = "".join(f"{user}-token,{user},{user}{groups.get(user, '')}\n" for user in USERS)
    (folder / "tokens.csv").write_text(tokens)
    processes.start(Part("kube-apiserver", ["kube-apiserver", *_api_server_options(folder, etcd, port, key)]))
    certificate = folder / "certificates" / "apiserver.crt"
    wait_for("the certificate", certificate.exists, lambda: processes.check("kube-apiserver"))
    for user in USERS:
        config = kubeconfig({"test": f"https://127.0.0.1:{port}"}, {"test": certificate}, f"{user}-token")
        (folder / f"{user}.kubeconfig").write_text(config)
    server = ApiServer(folder, _client(port, certificate))
    wait_for(
        "the API server",
        lambda: server.kubectl("get", "--raw", "/readyz").stdout == "ok",
        lambda: processes.check("kube-apiserver"),
    )
    return server


def _client(port: int, certificate: Path) -> httpx2.Client:
    return httpx2.Client(
        base_url=f"https://127.0.0.1:{port}",
        headers={"Authorization": "Bearer admin-token"},
        verify=ssl.create_default_context(cafile=str(certificate)),
        timeout=30,
    )


def _api_server_options(folder: Path, etcd: str, port: int, key: Path) -> list[str]:
    return [
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        f"--service-account-key-file={key}.pub",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://test.example.com",
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.9.0.0/16",
    ]
