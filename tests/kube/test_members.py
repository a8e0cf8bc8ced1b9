"""Connections to clusters by a kubeconfig that is rotated while somebody asks."""

import os
from pathlib import Path

import pytest

from shopset.kube.clients import RESOURCES, KubeError
from shopset.kube.members import Members
from support.servers import Request, respond, serving

_CONFIG = """
clusters: [{name: a, cluster: {server: URL}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {token: TOKEN}}]
"""


def test_whoever_asks_while_the_kubeconfig_is_rotated_is_answered(tmp_path: Path) -> None:
    path, asked = tmp_path / "kubeconfig", list[str]()

    def answer(request: Request) -> None:
        asked.append(request.headers["Authorization"])
        respond(request, 200, b'{"items": []}')

    def write(text: str, at: int) -> None:
        path.write_text(text)
        os.utime(path, (at, at))

    with serving(answer) as url:
        write(_CONFIG.replace("URL", url).replace("TOKEN", "old"), 1)
        members = Members(path, 5, {"a": "a"})
        before = members.client("a")
        assert members.client("a") is before
        write(_CONFIG.replace("URL", url).replace("TOKEN", "new"), 2)
        for client in (members.client("a"), before):
            assert list(client.list(RESOURCES["Hold"], namespace="x")) == []
        assert asked == ["Bearer new", "Bearer old"]
        write("", 3)
        with pytest.raises(KubeError, match="cannot be used"):
            members.client("a")
        members.close()
