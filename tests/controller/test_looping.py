"""The loop: what people ask for and cannot be had is told, and is no reason to hurry."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from lightkube import Client

from shopset.api import Hold
from shopset.controller.looping import Loop
from shopset.controller.metrics import Metrics
from shopset.controller.objects import Objects
from shopset.controller.settings import Settings
from shopset.core.release.actions import PushCommits
from shopset.engine.ports import GitObservation
from shopset.gitops import RefusedError
from shopset.kube.fleets import Reading
from support.worlds import World

HOLD = {
    "apiVersion": "shopset.dev/v1alpha1",
    "kind": "Hold",
    "metadata": {"name": "stop", "namespace": "fleet", "uid": "1", "resourceVersion": "1"},
    "spec": {"tier": "dev", "reason": "stop", "by": "Yamada <yamada@example.com>"},
}


class ApiServer:
    """Keeps what is written of the Hold."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {}

    def patch(self, _: object, __: str, patch: dict[str, Any], **___: object) -> dict[str, Any]:
        self.status |= patch["status"]
        return {**HOLD, "status": self.status}

    def create(self, _: object) -> None:
        """Take an Event."""


def test_git_is_looked_at_when_somebody_pushed_and_not_whenever_an_object_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, looks, rounds = World(tmp_path), list[bool](), threading.Semaphore(0)
    world.climb("dev")
    engine, observe = world.workplace.engine, world.workplace.remotes.observe

    def watched(branches: Mapping[str, str], *, look: bool = True) -> GitObservation:
        looks.append(look)
        rounds.release()
        return observe(branches, look=look)

    monkeypatch.setattr(world.workplace.remotes, "observe", watched)
    objects = Objects(cast("Client", ApiServer()), "fleet")
    monkeypatch.setattr(objects, "list_all", lambda: None)
    monkeypatch.setattr(objects, "read", lambda: Reading(engine.fleet, (), ()))
    monkeypatch.setattr(Loop, "_engine", lambda *_: engine)
    loop = Loop(objects, Settings("fleet", tmp_path), Metrics(), lambda: True, lambda: world.now)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        for _ in range(2):
            assert rounds.acquire(timeout=20)
        for wake in (loop.wake, loop.wake, loop.look, loop.wake):
            wake("a test")
            assert rounds.acquire(timeout=20)
    finally:
        loop.stop()
        thread.join()
    assert looks == [True, True, False, False, True, False]


def test_a_hold_that_the_repository_refuses_is_told_and_tried_again_at_leisure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, server, pushes = World(tmp_path), ApiServer(), list[PushCommits]()
    world.climb("dev")
    engine, hold = world.workplace.engine, Hold.model_validate(HOLD)

    def refuse(action: PushCommits, parents: Mapping[str, str | None]) -> dict[str, str]:
        del parents
        pushes.append(action)
        message = "shopset-system refused: the branch is protected"
        raise RefusedError(message, "")

    monkeypatch.setattr(world.workplace.remotes, "push_commits", refuse)
    objects = Objects(cast("Client", server), "fleet")
    objects.fleet.put(HOLD)
    monkeypatch.setattr(objects, "list_all", lambda: None)
    monkeypatch.setattr(objects, "read", lambda: Reading(engine.fleet, (hold,), ()))
    monkeypatch.setattr(Loop, "_engine", lambda *_: engine)
    loop = Loop(objects, Settings("fleet", tmp_path), Metrics(), lambda: True, lambda: world.now)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.status and time.monotonic() < deadline:
            time.sleep(0.05)
        before = len(pushes)
        time.sleep(1.0)
    finally:
        loop.stop()
        thread.join()
    (condition,) = server.status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Recorded", "False", "Refused")
    assert "the branch is protected" in condition["message"]
    assert len(pushes) - before == 0
