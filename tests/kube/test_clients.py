"""What can go wrong with a kubeconfig or an answer, and reading in several threads."""

import subprocess
import sys
from pathlib import Path

import pytest

from shopset.kube.clients import RESOURCES, KubeError, asking, connect
from support.servers import Request, respond, serving

_AT_ONCE = """
import sys, threading
from shopset.kube import clients
from lightkube.core import decoders
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)
def read():
    barrier.wait()
    decoders.decode_status(b'{"kind": "Status", "details": {"causes": [{"field": "x"}]}}')
    decoders.decode_watch_event(b'{"type": "ADDED", "object": {}}')
    for kind in (clients.APPLICATION, *clients.RESOURCES.values()):
        decoders.decode_list(b'{"items": [{"metadata": {"name": "x"}}], "metadata": {"continue": "x"}}', kind)[2][0].metadata
threads = [threading.Thread(target=read) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""


def test_threads_that_read_for_the_first_time_at_once_do_not_end_the_process() -> None:
    # Without `ready` it ends by SIGSEGV in two of three runs.
    for _ in range(3):
        subprocess.run([sys.executable, "-c", _AT_ONCE], check=True, timeout=60)


_GOOD = """
clusters: [{name: a, cluster: {server: URL}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {token: x}}]
"""


@pytest.mark.parametrize(
    "text", ["", "a: [", "[]", "clusters: null\ncontexts: null", "{}", _GOOD.replace("user: a}", "user: b}")]
)
def test_what_is_no_kubeconfig_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeError, match=r"the kubeconfig \S+/config cannot be used"):
        connect(str(path), "a")


def test_what_is_no_api_server_is_told(tmp_path: Path) -> None:
    answers = {"page": (200, b"<html>"), "gone": (502, b"Bad Gateway"), "error": (500, b"<html>")}

    def answer(request: Request) -> None:
        status, body = answers[request.path.rpartition("/")[2]]
        json = {"Content-Type": "application/json"} if body == b"<html>" else {"Content-Type": "text/plain"}
        respond(request, status, body, **json)

    with serving(answer) as url:
        path = tmp_path / "config"
        path.write_text(_GOOD.replace("URL", url))
        client = connect(str(path), "a")
        said = []
        for name in answers:
            with pytest.raises(KubeError) as error, asking(name):
                client.get(RESOURCES["Hold"], name, namespace="x")
            said.append(str(error.value).partition(" (")[0])
        client.close()
    no_server = "something that is no API server answers"
    assert said == [f"page: {no_server}", "gone: the API server answers 502", f"error: {no_server}"]


def test_a_context_alone_is_looked_up_in_the_kubeconfig_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    file.write_text(
        "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "users: [{name: u, user: {}}]\ncontexts: [{name: here, context: {cluster: c, user: u, namespace: fleet}}]\n"
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    with connect(context="here") as client:
        assert client.namespace == "fleet"
