"""Following a kind through lists, events and errors, as an API server has them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Set
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
import msgspec
import pytest
from lightkube import ApiError, AsyncClient
from lightkube.core.exceptions import ConfigError
from lightkube.models.meta_v1 import Status

from shopset.kube import following
from shopset.kube.clients import RESOURCES, Manifest
from shopset.kube.following import Collection, Follower

Event = tuple[str, dict[str, Any]]
SILENCE = "silence"


def shop(name: str, version: int) -> dict[str, Any]:
    return {"kind": "Shop", "metadata": {"name": name, "resourceVersion": str(version)}}


@dataclass
class Listing:
    """An answer to a list."""

    found: list[dict[str, Any]]
    resourceVersion: str  # noqa: N815  # lightkube's name

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        for each in self.found:
            yield each


@dataclass
class Server:
    """Answers lists and watches one after the other; when it has no more to say, the test ends."""

    lists: list[Listing]
    watches: list[list[Event | Exception | str]]
    asked: list[str] = field(default_factory=list)

    def list(self, *_: object, **__: object) -> Listing:
        self.asked.append("list")
        return self.lists.pop(0)

    async def watch(self, *_: object, resource_version: str, **__: object) -> AsyncIterator[Event]:
        self.asked.append(resource_version)
        if not self.watches:
            raise asyncio.CancelledError
        for each in self.watches.pop(0):
            if isinstance(each, Exception):
                raise each
            if isinstance(each, str):
                await asyncio.sleep(60)
            else:
                yield each


@dataclass
class Sink:
    """Keeps names; whatever is about `one` is news."""

    found: dict[str, str] = field(default_factory=dict)

    def put(self, manifest: Manifest) -> bool:
        self.found[manifest["metadata"]["name"]] = manifest["metadata"]["resourceVersion"]
        return bool(manifest["metadata"]["name"] == "one")

    def remove(self, manifest: Manifest) -> bool:
        return self.found.pop(manifest["metadata"]["name"]) == "one"

    def retain(self, names: Set[str]) -> bool:
        gone = self.found.keys() - names
        self.found = {name: version for name, version in self.found.items() if name in names}
        return "one" in gone


Run = Callable[[Server], tuple[dict[str, str], int]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Follow a server to its end. Returns what the sink has, and how often there was news."""
    monkeypatch.setattr(following, "_PAUSE", 0.0)
    monkeypatch.setattr(following, "_SILENCE", 0.05)

    def follow(server: Server) -> tuple[dict[str, str], int]:
        sink, news = Sink(), list[None]()
        of = Collection(RESOURCES["Shop"], "fleet")
        follower = Follower(cast("AsyncClient", server), of, sink, lambda: news.append(None))
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(follower.run())
        return sink.found, len(news)

    return follow


def test_a_list_is_followed_by_a_watch(run: Run) -> None:
    server = Server(
        [Listing([shop("one", 3), shop("two", 5)], "7")],
        [[("ADDED", shop("three", 8)), ("MODIFIED", shop("one", 9)), ("DELETED", shop("two", 10))]],
    )
    server.watches[0].append(httpx2.ReadError("the connection was closed"))
    assert run(server) == ({"one": "9", "three": "8"}, 2)
    assert server.asked == ["list", "7", "10"]


def test_a_watch_that_is_silent_is_begun_anew_from_where_it_was(run: Run) -> None:
    server = Server([Listing([], "7")], [[("ADDED", shop("two", 8)), SILENCE], [("ADDED", shop("three", 9)), SILENCE]])
    assert run(server)[0] == {"two": "8", "three": "9"}
    assert server.asked == ["list", "7", "8", "9"]


@pytest.mark.parametrize(
    "error",
    [
        ApiError(status=Status(code=410, message="too old resource version")),
        httpx2.HTTPStatusError("Gone", request=httpx2.Request("GET", "https://x"), response=httpx2.Response(410)),
    ],
)
def test_what_was_forgotten_is_listed_anew_and_what_is_gone_is_gone(run: Run, error: Exception) -> None:
    server = Server([Listing([shop("one", 3), shop("two", 4)], "7"), Listing([shop("two", 4)], "20")], [[error]])
    assert run(server) == ({"two": "4"}, 2)
    assert server.asked == ["list", "7", "list", "20"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ApiError(status=Status(code=403, message="forbidden")), "forbidden"),
        (httpx2.ConnectError("refused"), "the API server does not answer (refused)"),
        (ConfigError("no token"), "the API server does not answer (no token)"),
        (PermissionError("no token"), "the API server does not answer (no token)"),
        (KeyError("Content-Type"), "something that is no API server answers"),
        (msgspec.DecodeError("no JSON"), "something that is no API server answers (no JSON)"),
    ],
)
def test_an_api_server_that_does_not_answer_is_asked_again(
    run: Run, error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server([Listing([shop("two", 4)], "7")], [[error], [("ADDED", shop("three", 8)), SILENCE]])
    assert run(server)[0] == {"two": "4", "three": "8"}
    assert server.asked == ["list", "7", "7", "8"]
    assert f"Shop cannot be watched: {words}" in caplog.text
