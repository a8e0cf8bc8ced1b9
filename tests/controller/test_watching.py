"""Watching the Applications of several clusters, which come and go."""

import asyncio
from typing import Never, cast

import pytest
from lightkube import Client

from shopset.controller import watching
from shopset.controller.objects import Objects
from shopset.controller.watching import watch_members

A, B = cast("Client", "a"), cast("Client", "b")


def test_each_cluster_is_watched_as_long_as_it_is_there_and_a_watch_that_ends_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched: list[Client] = []
    ends = asyncio.Event()

    async def follow(client: Client, *_: object) -> Never:
        watched.append(client)
        try:
            await ends.wait()
            message = "no more"
            raise RuntimeError(message)
        finally:
            watched.remove(client)

    async def settled() -> list[Client]:
        await asyncio.sleep(0.05)
        return watched.copy()

    async def watch() -> None:
        objects = Objects(A, "fleet")
        objects.members.follow({"a": A})
        task = asyncio.create_task(watch_members(objects, lambda _: None))
        assert await settled() == [A]
        objects.members.follow({"a": A, "b": B})
        assert await settled() == [A, B]
        objects.members.follow({"b": B})
        assert await settled() == [B]
        ends.set()
        with pytest.raises(RuntimeError, match="no more"):
            await asyncio.wait_for(task, 5)
        assert watched == []

    monkeypatch.setattr(watching, "_follow", follow)
    monkeypatch.setattr(watching, "_LOOK", 0.01)
    asyncio.run(watch())
