"""The versions of clusters, and those that do not answer."""

from pathlib import Path

from shopset.kube.members import Members
from shopset.kube.versions import read_versions
from support.servers import Request, respond, serving

_CONFIG = """
clusters: [{name: a, cluster: {server: URL}}, {name: b, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: a, context: {cluster: a, user: a}}, {name: b, context: {cluster: b, user: a}}]
users: [{name: a, user: {token: secret}}]
"""


def test_each_cluster_tells_its_version_or_why_it_does_not(tmp_path: Path) -> None:
    path, answers = tmp_path / "kubeconfig", [b'{"gitVersion": "v1.36.3"}', b"[]", b"{}"]
    with serving(lambda request: _answer(request, answers)) as url:
        path.write_text(_CONFIG.replace("URL", url))
        members = Members(path, 5, {"a": "a", "b": "b", "c": "nowhere"})
        first = read_versions(members, ("a", "b", "c"), 5)
        assert first.found == {"a": "v1.36.3"}
        assert list(first.silent) == ["b", "c"]
        assert "does not answer" in first.silent["b"]
        for _ in range(2):
            assert "no API server" in read_versions(members, ("a",), 5).silent["a"]
        assert "answers 500" in read_versions(members, ("a",), 5).silent["a"]
        members.close()


def _answer(request: Request, answers: list[bytes]) -> None:
    if answers:
        respond(request, 200, answers.pop(0))
    else:
        respond(request, 500, b"")
