"""When Argo CD is asked to look at git, and to sync again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from shopset.core.release.actions import ActionKind
from support.pure import PureWorld, three_tiers


def looked(world: PureWorld, **changes: Any) -> None:
    """Let Argo CD have looked at c-1 now."""
    world.applications["c-1"] = replace(world.applications["c-1"], looked_at=world.now, **changes)


def kinds(world: PureWorld) -> list[ActionKind]:
    return [action.kind for action in world.plan().actions]


def pinned_anew() -> PureWorld:
    """Return a world in which dev has just been pinned anew, and Argo CD has not looked yet."""
    world = three_tiers()
    world.rounds(8)
    looked(world)
    world.now += timedelta(minutes=1)
    world.push()
    world.act(world.plan().actions)
    return world


def test_what_is_pinned_is_asked_for_right_after_the_push() -> None:
    world = three_tiers()
    world.rounds(8)
    looked(world)
    assert kinds(world) == []
    world.push()
    assert kinds(world)[-2:] == [ActionKind.PIN, ActionKind.REFRESH]


def test_nothing_is_asked_for_on_a_tier_that_takes_nothing() -> None:
    world = three_tiers(dev={"bake": "1h"})
    world.rounds(3)
    looked(world)
    world.push()
    assert kinds(world) == []


def test_a_request_that_was_lost_is_made_again_at_once() -> None:
    assert kinds(pinned_anew()) == [ActionKind.REFRESH]


def test_nobody_asks_twice_while_argo_cd_has_the_request() -> None:
    world = pinned_anew()
    looked(world, refreshing=True)
    world.now += timedelta(minutes=5)
    assert kinds(world) == []


def test_nobody_asks_while_a_sync_runs() -> None:
    world = pinned_anew()
    looked(world, operating=True)
    world.now += timedelta(minutes=5)
    assert kinds(world) == []


def test_the_pauses_double_up_to_a_quarter_of_a_minute() -> None:
    world = pinned_anew()
    pauses = []
    for _ in range(7):
        world.now += timedelta(seconds=1)
        looked(world)
        since = world.now
        while kinds(world) != [ActionKind.REFRESH]:
            wake_at = world.plan().wake_at
            assert wake_at is not None, "nothing would wake the loop"
            world.now = wake_at
        pauses.append((world.now - since).seconds)
    assert pauses == [1, 3, 7, 15, 15, 15, 15]


def test_what_is_seen_is_not_asked_for_again() -> None:
    world = pinned_anew()
    looked(world)
    world.sync("c-1")
    world.round()
    world.now += timedelta(hours=1)
    assert ActionKind.REFRESH not in kinds(world)
