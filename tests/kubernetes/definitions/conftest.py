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
from testbed.kubernetes import TOKEN, start_clusters
from testbed.processes import Processes, wait_for
from testbed.programs import program
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
    # The discovery of a kind may lag behind its being established, and kubectl wait fails where there is no status yet.
    wait_for("every kind", lambda: not any(_lags(bare_api_server, kind) for kind in KINDS))
    return bare_api_server


def _lags(server: ApiServer, kind: str) -> bool:
    return server.kubectl("get", f"{kind.lower()}.shopset.dev").returncode != 0


def _start(folder: Path, processes: Processes) -> ApiServer:
    url = start_clusters(folder, processes, ["test"])["test"]
    certificate = folder / "test" / "apiserver.crt"
    for user in USERS:
        (folder / f"{user}.kubeconfig").write_text(kubeconfig({"test": url}, {"test": certificate}, f"{user}-token"))
    return ApiServer(folder, _client(url, certificate))


def _client(url: str, certificate: Path) -> httpx2.Client:
    return httpx2.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {TOKEN}"},
        verify=ssl.create_default_context(cafile=str(certificate)),
        timeout=30,
    )


def may(server: ApiServer, user: str, verb: str, what: str, namespace: str) -> bool:
    """Whether RBAC lets a user do something to `resource[.group][/subresource or :name]`; in no namespace where it is empty."""
    path, _, name = what.partition(":")
    kind, _, subresource = path.partition("/")
    resource, _, group = kind.partition(".")
    attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": {**attributes, "namespace": namespace}},
    }
    answer = server.client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    return bool(answer.json()["status"]["allowed"])
