"""Webhooks over loopback, as the git servers send them; and the pure rules by which they are judged."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from shopset.gitops.webhooks import PATH, Provider, make_application, normalised, repositories, touched, verify

SECRET = b"correct horse"
WATCHED = {
    "apps": "git@git.example.com:team/shopset-apps.git",
    "configuration": "https://git.example.com/team/shopset-configuration.git",
    "system": "ssh://git@git.example.com:2222/team/shopset-system",
}


def github(name: str) -> dict[str, Any]:
    """As docs.github.com shows a push, cut to what is near what is read."""
    return {
        "ref": "refs/heads/tier-0",
        "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
        "after": "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5",
        "repository": {
            "id": 186853002,
            "name": name,
            "full_name": f"team/{name}",
            "private": True,
            "owner": {"name": "team", "login": "team"},
            "html_url": f"https://git.example.com/team/{name}",
            "url": f"https://git.example.com/team/{name}",
            "git_url": f"git://git.example.com/team/{name}.git",
            "ssh_url": f"git@git.example.com:team/{name}.git",
            "clone_url": f"https://git.example.com/team/{name}.git",
            "default_branch": "main",
        },
        "pusher": {"name": "anna", "email": "anna@example.com"},
        "commits": [],
    }


def gitlab(name: str) -> dict[str, Any]:
    """As docs.gitlab.com shows a push."""
    return {
        "object_kind": "push",
        "event_name": "push",
        "ref": "refs/heads/tier-0",
        "project": {
            "id": 15,
            "name": name,
            "web_url": f"https://git.example.com/team/{name}",
            "git_ssh_url": f"git@git.example.com:team/{name}.git",
            "git_http_url": f"https://git.example.com/team/{name}.git",
            "path_with_namespace": f"team/{name}",
        },
        "repository": {
            "name": name,
            "url": f"git@git.example.com:team/{name}.git",
            "homepage": f"https://git.example.com/team/{name}",
            "git_http_url": f"https://git.example.com/team/{name}.git",
            "git_ssh_url": f"git@git.example.com:team/{name}.git",
        },
        "total_commits_count": 0,
    }


def signed(body: bytes, header: str = "X-Hub-Signature-256", secret: bytes = SECRET) -> dict[str, str]:
    return {header: f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"}


@dataclass
class Hooks:
    """A server on loopback for each request; `woken` are the reasons that it was given."""

    secret: Path
    watched: dict[str, str] = field(default_factory=lambda: dict(WATCHED))
    woken: list[str] = field(default_factory=list)
    max_seconds: float = 60

    def send(self, body: bytes | list[bytes], headers: Mapping[str, str], method: str = "POST") -> tuple[int, str]:
        """Return status and text of the answer; a list of chunks is sent without a Content-Length."""
        return asyncio.run(self._send(body, headers, method))

    async def _send(self, body: bytes | list[bytes], headers: Mapping[str, str], method: str) -> tuple[int, str]:
        application = make_application(self.secret, lambda: self.watched, self.woken.append, 20_000, self.max_seconds)
        async with TestServer(application) as server, ClientSession() as session:
            data = chunks(body) if isinstance(body, list) else body
            async with session.request(method, server.make_url(PATH), data=data, headers=headers) as answer:
                return answer.status, await answer.text()


async def chunks(parts: list[bytes]) -> Any:
    """Yield parts; an empty one never comes."""
    for part in parts:
        if not part:
            await asyncio.Event().wait()
        yield part


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")
    return Hooks(secret)


class TestPushes:
    def test_github_wakes(self, hooks: Hooks) -> None:
        body = json.dumps(github("shopset-apps")).encode()
        headers = {**signed(body), "X-GitHub-Event": "push", "Content-Type": "application/json"}
        assert hooks.send(body, headers) == (202, "apps\n")
        assert hooks.woken == ["GitHub told of a push to apps"]

    def test_gitlab_wakes(self, hooks: Hooks) -> None:
        body = json.dumps(gitlab("shopset-configuration")).encode()
        headers = {"X-Gitlab-Token": SECRET.decode(), "X-Gitlab-Event": "Push Hook"}
        assert hooks.send(body, headers)[0] == 202
        assert hooks.woken == ["GitLab told of a push to configuration"]

    @pytest.mark.parametrize("key", ["repository", "repositories"])
    def test_a_hook_of_ones_own_wakes(self, hooks: Hooks, key: str) -> None:
        url = "https://git.example.com/team/shopset-system.git"
        body = json.dumps({key: url if key == "repository" else [url]}).encode()
        assert hooks.send(body, signed(body, "X-Shopset-Signature-256"))[0] == 202
        assert hooks.woken == ["generic told of a push to system"]

    def test_a_push_elsewhere_wakes_nobody(self, hooks: Hooks) -> None:
        body = json.dumps(github("another")).encode()
        assert hooks.send(body, signed(body)) == (202, "not a repository of this fleet\n")
        assert hooks.woken == []

    def test_a_platform_that_changed_is_asked_anew(self, hooks: Hooks) -> None:
        body = json.dumps(github("another")).encode()
        hooks.watched["apps"] = "https://git.example.com/team/another"
        hooks.send(body, signed(body))
        assert hooks.woken == ["GitHub told of a push to apps"]

    @pytest.mark.parametrize("header", ["X-Hub-Signature-256", "X-Shopset-Signature-256"])
    def test_a_ping_is_answered_and_wakes_nobody(self, hooks: Hooks, header: str) -> None:
        body = json.dumps({"zen": "Design for failure.", **github("shopset-apps")}).encode()
        headers = {**signed(body, header), "X-GitHub-Event": "ping", "X-Shopset-Event": "ping"}
        assert hooks.send(body, headers) == (200, "pong: apps\n")
        assert hooks.woken == []


class TestRefusals:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"X-Hub-Signature-256": "sha256=" + "0" * 64},
            {"X-Hub-Signature-256": ""},
            {"X-Hub-Signature": "sha1=" + "0" * 40},
            {"X-Gitlab-Token": "correct hors"},
            {"X-Gitlab-Token": "ü"},
            {"Authorization": "Bearer correct horse"},
        ],
    )
    def test_without_the_secret_nothing_is_told(self, hooks: Hooks, headers: dict[str, str]) -> None:
        assert hooks.send(json.dumps(github("shopset-apps")).encode(), headers) == (401, "401: Unauthorized")
        assert hooks.woken == []

    def test_a_changed_body_is_refused(self, hooks: Hooks) -> None:
        body = json.dumps(github("shopset-apps")).encode()
        assert hooks.send(body + b" ", signed(body))[0] == 401

    def test_the_secret_is_read_at_each_request(self, hooks: Hooks) -> None:
        body = json.dumps(github("shopset-apps")).encode()
        assert hooks.send(body, signed(body))[0] == 202
        hooks.secret.write_text("rotated")
        assert hooks.send(body, signed(body))[0] == 401
        assert hooks.send(body, signed(body, secret=b"rotated"))[0] == 202

    def test_an_empty_secret_is_known_to_nobody(self, hooks: Hooks) -> None:
        hooks.secret.write_text("\n")
        assert hooks.send(b"{}", signed(b"{}", secret=b""))[0] == 401
        assert hooks.send(b"{}", {"X-Gitlab-Token": ""})[0] == 401

    def test_a_secret_that_is_not_there_is_not_the_senders_fault(self, hooks: Hooks) -> None:
        hooks.secret.unlink()
        assert hooks.send(b"{}", signed(b"{}"))[0] == 503

    @pytest.mark.parametrize("body", [b"", b"payload=%7B%7D", b"\xff", b"[" * 10_000])
    def test_what_is_not_json_is_refused_with_what_to_set(self, hooks: Hooks, body: bytes) -> None:
        status, text = hooks.send(body, signed(body))
        assert (status, "application/json" in text) == (400, True)

    def test_a_body_too_large_is_refused_unread(self, hooks: Hooks) -> None:
        assert hooks.send(b" " * 20_001, {})[0] == 413

    def test_a_body_that_does_not_say_how_large_it_is_is_read_up_to_the_bound(self, hooks: Hooks) -> None:
        assert hooks.send([b" " * 7_000] * 3, {})[0] == 413
        assert hooks.send([b" " * 7_000] * 2, {})[0] == 401

    def test_a_body_that_never_ends_is_not_waited_for(self, hooks: Hooks) -> None:
        hooks.max_seconds = 0.05
        assert hooks.send([b"{", b""], {})[0] == 408

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_other_methods_are_not_allowed(self, hooks: Hooks, method: str) -> None:
        assert hooks.send(b"", {}, method)[0] == 405


class TestVerifying:
    def test_where_two_proofs_are_shown_both_have_to_be_right(self) -> None:
        right, wrong = signed(b"{}"), {"X-Gitlab-Token": "wrong"}
        assert verify(right, b"{}", SECRET) is Provider.GITHUB
        assert verify({**right, **wrong}, b"{}", SECRET) is None


class TestRepositories:
    @pytest.mark.parametrize(
        "payload",
        [None, 1, "x", [], {}, {"repository": None}, {"repository": {"clone_url": 1}}, {"repositories": {"a": "b"}}],
    )
    def test_another_shape_names_none(self, payload: object) -> None:
        assert repositories(payload) == frozenset()

    def test_what_is_no_url_is_nobodys(self) -> None:
        assert (
            touched({"repositories": ["", "https://[", "://", "/", "git@:x", "https://git.example.com/"]}, WATCHED)
            == ()
        )

    @given(
        host=st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z]{2,5}){1,2}", fullmatch=True),
        path=st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,6}(/[A-Za-z][A-Za-z0-9_-]{0,6}){0,2}", fullmatch=True),
    )
    def test_all_urls_of_a_repository_are_the_same(self, host: str, path: str) -> None:
        forms = [
            f"https://{host}/{path}.git",
            f"https://{host.upper()}/{path}",
            f"https://{host}:8443/{path}.git/",
            f"https://anna@{host}/{path}",
            f"ssh://git@{host}:2222/{path}.git",
            f"git://{host}/{path}",
            f"git@{host}:{path}.git",
            f"{host.title()}:/{path}",
        ]
        assert {normalised(form) for form in forms} == {(host, path)}

    @given(name=st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True))
    def test_another_host_or_path_is_another_repository(self, name: str) -> None:
        same = normalised(f"git@git.example.com:team/{name}.git")
        others = [f"https://git.example.org/team/{name}", f"https://git.example.com/team/{name}x", f"/team/{name}"]
        assert same not in {normalised(other) for other in others}
