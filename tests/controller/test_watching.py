"""Watching the Applications of several clusters, which come and go."""

import asyncio
from collections.abc import Callable
from typing import Any, Never, cast

import pytest
from lightkube import Client

from shopset.controller import watching
from shopset.controller.objects import Objects
from shopset.controller.watching import make_registry, watch_members

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


def test_what_people_change_hurries_the_loop_and_what_argo_cd_changes_wakes_it() -> None:
    hurried, woken = list[str](), list[str]()
    objects = Objects(A, "fleet")
    made: dict[str, dict[str, Any]] = {
        "Hold": {"apiVersion": "shopset.dev/v1alpha1", "kind": "Hold", "metadata": {"name": "h", "namespace": "fleet"}},
        "applications": {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": "shop-a-1", "namespace": "argocd"},
        },
    }
    registry = make_registry(objects, hurried.append, woken.append)
    # kopf shows no other way.
    handlers: dict[str, Callable[..., Any]] = {str(each.id): each.fn for each in registry._watching.get_all_handlers()}
    for name, manifest in made.items():
        asyncio.run(handlers[name](event={"type": "ADDED", "object": manifest}))
    assert (hurried, woken) == (["Hold/h ADDED"], ["Application/shop-a-1 ADDED"])
