"""A ShopSet that the fleet has no more stays while it serves shops, with the releases of its tier."""

from dataclasses import replace

from shopset.core.release.actions import ActionKind
from support.pure import PureWorld, three_tiers

GONE = "c-1"


def without() -> PureWorld:
    """Return a world whose fleet has just lost the ShopSet of dev."""
    world = three_tiers()
    world.rounds(8)
    shopsets = {name: each for name, each in world.fleet.shopsets.items() if name != GONE}
    world.fleet = replace(world.fleet, shopsets=shopsets)
    return world


def files(world: PureWorld) -> set[str]:
    return {path for path in world.system["tier-0"].files if GONE in path}


def told(world: PureWorld) -> list[str]:
    return [each.message for each in world.plan().conditions if each.resource == f"ShopSet/{GONE}"]


def test_it_stays_until_its_shops_have_moved() -> None:
    world = without()
    there = files(world)
    world.serving[GONE] = 1234
    world.push()
    world.rounds(4)
    assert GONE in world.applications
    assert files(world) == there
    assert "the 1,234 shops that it still serves have moved" in told(world)[0]
    del world.serving[GONE]
    world.rounds(4)
    assert (files(world), GONE in world.applications, told(world)) == (set(), False, [])


def test_it_runs_what_its_tier_takes_meanwhile() -> None:
    world = without()
    world.serving[GONE] = 0
    apps = world.push()
    world.act(world.plan().actions)
    assert world.done[-1].kind in (ActionKind.PIN, ActionKind.REFRESH)
    assert world.system["tier-0"].gitlinks["base"] == apps
    assert files(world)
    assert "the placement can be read again" in told(world)[0]


def test_an_application_alone_is_kept_too() -> None:
    world = without()
    world.rounds(2)
    world.applications[GONE] = replace(world.applications["b-1"], shopset=GONE, name="shop-c-1")
    world.serving[GONE] = 1
    assert not world.plan().actions
    world.serving.clear()
    assert [action.kind for action in world.plan().actions] == [ActionKind.DELETE]
