"""What the oracle and the machine found, as small histories. A finding that is mended loses its mark, and stays as a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model.bases import Behaviour
from model.fleets import Design, Promotion
from model.wishes import Member
from model.worlds import PEOPLE, World
from shopset.core.release.requests import Hold, RollBack

DESIGN = Design(
    levels={"dev": 0, "beta": 1},
    promotions={"dev": Promotion(), "beta": Promotion(queue="All")},
    shopsets={"c-2": Member("dev", "staging", "c"), "c-1": Member("beta", "staging", "c")},
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, DESIGN) as made:
        made.settle()
        yield made


def test_a_mended_branch_lets_a_tier_go_on(world: World) -> None:
    world.stray("apps", "beta")
    world.develop(Behaviour())
    for attended in [False] * 6 + [True] * 14:
        world.go_round(world.processes[0], attended=attended)
    plan, _ = world.processes[0].engine.plan()
    assert plan.outlooks["beta"].pinned == plan.outlooks["dev"].pinned


def test_commands_that_are_run_late_do_not_pass_a_hold(world: World) -> None:
    slow, fast = world.processes
    world.develop(Behaviour())
    world.prepare(slow)
    assert slow.prepared is not None
    world.ask(fast, Hold(tier="dev", reason="stop"), PEOPLE[0])
    world.do_by_hand(slow.prepared.plan.actions)
    world.check()


def test_a_rollback_keeps_the_rejection(world: World) -> None:
    world.develop(Behaviour(degraded=("beta",)))
    for _ in range(6):
        world.go_round(world.processes[0], attended=True)
    world.ask(world.processes[0], RollBack(tier="beta", reason="it is broken"), PEOPLE[0])
    world.check()


def test_an_overlay_has_the_bytes_of_the_documentation(world: World) -> None:
    fleet = world.fleet()
    renderer = world.processes[0].engine.renderers.versions["v1"]
    overlay = renderer.overlay(fleet, fleet.tier("dev"), fleet.shopsets["c-2"], ("api", "cart"))
    assert overlay == DESIGN.wish().overlay("dev", "c-2", ("api", "cart"))
