"""Whatever ends at whatever step, HAProxy holds what git says in the end, and serves the old or the new in between."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shopset.core.placement.edges import EdgeShop
from shopset.core.placement.placements import Placement
from shopset.edge_agent.statuses import Mode
from support.edge_agents import Edge, edge, placement
from support.haproxies import debian
from support.worlds import ENVIRONMENT

GROUPS = {"standard#0": ("a-1", "b-1"), "standard#1": ("b-1", "a-1")}
SHOPS = {f"shop-{number}": f"standard#{number % 2}" for number in range(20)}
ENDPOINTS = {"a-1": "http://127.0.0.1:9", "b-1": "http://127.0.0.1:9"}
BEFORE = placement(GROUPS, SHOPS, ENDPOINTS)
OVERLAY = placement(
    {**GROUPS, "standard#1": ("c-1", "a-1")},
    {**SHOPS, "new": "standard#0"},
    {**ENDPOINTS, "c-1": "http://127.0.0.1:10"},
    special=[EdgeShop("shop-3", maintenance=True)],
)
"""With a spare backend."""
FOLD = placement(GROUPS, {**SHOPS, "new": "standard#0"}, {**ENDPOINTS, "a-1": "http://127.0.0.1:11"})


class Killed(BaseException):
    """The agent is gone."""


class Fate:
    """Does something after a step, counted from 0."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.steps: list[str] = []

    def __call__(self, effect: str) -> None:
        self.steps.append(effect)
        if len(self.steps) == self.step + 1:
            raise Killed


@pytest.fixture(scope="module")
def shared() -> Iterator[Edge]:
    """One edge for all moments: it has to get over each of them anyway."""
    with edge(debian()) as made:
        yield made


@pytest.mark.parametrize("after", [OVERLAY, FOLD], ids=["overlay", "fold"])
@pytest.mark.parametrize("also_haproxy", [False, True], ids=["agent", "both"])
def test_an_agent_that_is_killed_after_any_step_is_succeeded(
    shared: Edge, after: Placement, also_haproxy: bool
) -> None:
    """And HAProxy with it: then it starts with what is on disk before there is an agent."""
    steps: list[str] = []
    for step in range(20):
        shared.repository.push(BEFORE)
        shared.follow(shared.agent())
        commit = shared.repository.push(after)
        fate = Fate(step)
        agent = shared.agent(fate)
        agent.look()
        try:
            shared.until(agent, lambda agent=agent, commit=commit: agent.status.commit == commit)  # type: ignore[misc]
        except Killed:
            steps = fate.steps
        else:
            break
        if also_haproxy:
            shared.kill_haproxy()
        successor = shared.follow(shared.agent())
        assert (successor.status.mode, successor.status.commit) == (Mode.FRESH, commit)
        assert successor.backends()["a-1"][0].endpoint == after.edge.shopsets["a-1"].endpoint
    assert len(steps) > 1, "it was hardly ever killed"


@pytest.mark.parametrize("after", [OVERLAY, FOLD], ids=["overlay", "fold"])
def test_haproxy_that_is_killed_after_any_step_gets_there(shared: Edge, after: Placement) -> None:
    for step in range(20):
        shared.repository.push(BEFORE)
        agent = shared.follow(shared.agent())
        commit = shared.repository.push(after)
        steps: list[str] = []

        def kill(effect: str, steps: list[str] = steps, step: int = step) -> None:
            steps.append(effect)
            if len(steps) == step + 1:
                shared.kill_haproxy()

        agent = shared.agent(kill)
        shared.follow(agent)
        assert (agent.status.mode, agent.status.commit) == (Mode.FRESH, commit)
        if len(steps) <= step:
            break
    assert step > 1


_SCRIPT = """
import os, signal, sys
from pathlib import Path
from shopset.edge.places import Place
from shopset.edge_agent.agents import Agent
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.following import Branch
from shopset.edge_agent.haproxies import Haproxy
from shopset.edge_agent.settings import Settings
state, url, program, http, step = sys.argv[1:]
left = [int(step)]
def die(effect):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
folder = StateFolder.at(Path(state))
place = Place(state, http=(http,), threads=1, connections=1000)
branch = Branch(url, folder.path / "git" / "system.git", dict(os.environ), 60)
with folder.locked():
    agent = Agent(folder, place, branch, Haproxy(folder, place, program), Settings(poll=0.2, settle=3600), None, die)
    agent.look()
    agent.turn()
    print(agent.status.mode.value, agent.status.reason)
"""


def test_a_real_sigkill_leaves_a_folder_that_the_next_agent_takes_over(shared: Edge) -> None:
    """The lock goes with the process; nothing of what it had open keeps the next one off."""
    for step in (1, 2):
        shared.repository.push(BEFORE)
        shared.follow(shared.agent())
        commit = shared.repository.push(FOLD)
        arguments = [str(shared.folder.path), str(shared.repository.path), str(shared.program), shared.place.http[0]]
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *arguments, str(step)],
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        with shared.folder.locked():
            assert shared.follow(shared.agent()).status.commit == commit


def test_an_old_generation_that_is_left_over_does_no_harm(shared: Edge) -> None:
    shared.repository.push(BEFORE)
    shared.follow(shared.agent())
    left = shared.folder.path / "generations" / "new" / "maps"
    left.mkdir(parents=True)
    (left / "hosts.map").write_text("half a li")
    (Path(shared.folder.path) / "current.link").symlink_to("nowhere")
    shared.settings = replace(shared.settings, overlay_most=0)
    shared.repository.push(OVERLAY)
    agent = shared.follow(shared.agent())
    shared.until(agent, lambda: agent.status.overlay == 0)
    assert [each.name == "new" for each in (shared.folder.path / "generations").iterdir()] == [False]
