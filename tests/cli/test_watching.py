"""shopctl release watch: what it tells while a release climbs, and how it ends."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shopset.cli import exits
from shopset.cli.printing import Printer
from shopset.cli.watching import follow
from shopset.core.release.requests import Approve, RequestRefusedError
from support.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, {"dev": ("failureGrace: 1s",), "beta": ("bake: 3s",), "prod": ("mode: Manual",)})
    world.climb("beta")
    return world


def watch(
    world: World, revision: str | None = None, until: str | None = None, also: Callable[[], object] = lambda: None
) -> int:
    """Watch while the world goes on between two looks, of which there are not too many."""
    looks = iter(range(60))

    def go_on() -> None:
        next(looks)
        also()
        world.step()

    return follow(world.workplace, Printer(colour=False), revision, until, go_on)


def told(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Return tier and words of each line but the first."""
    lines = [re.split(" {2,}", line, maxsplit=2) for line in capsys.readouterr().out.splitlines()[1:]]
    return [(tier, words) for _, tier, words in lines]


def test_it_follows_the_newest_release_up_to_a_tier(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.annotate(subject="cart 2", release="2")
    assert watch(world, until="beta") == exits.OK
    found = told(capsys)
    assert found[0] == ("dev", "Next")
    assert [tier for tier, words in found if words == "Verified"] == ["dev", "beta"]
    assert ("beta", "Baking: baking 3s") in found
    assert len(set(found)) == len(found), "it tells a thing twice"


def test_it_says_what_is_waited_for(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    revision = world.plan()[1].ledger.pins["beta"][-1].revision
    approve = Approve(tier="prod", revision=revision, reason="it sells")
    assert watch(world, revision[:9], also=lambda: world.ask(approve)) == exits.OK
    tier, words = told(capsys)[2]
    assert tier == "prod"
    assert words.startswith("Waiting: ")
    assert "approv" in words


def test_it_ends_where_a_release_is_rejected(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.annotate(subject="bad", degraded="*")
    assert watch(world) == exits.FAILURE
    tier, words = told(capsys)[-1]
    assert tier == "dev"
    assert words.startswith("Rejected: Degraded: ")


def test_it_ends_where_a_newer_one_is_taken_instead(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    first = world.plan()[1].ledger.pins["beta"][-1].revision
    second = world.climb("beta", world.annotate(subject="cart 2", release="2"))
    world.ask(Approve(tier="prod", revision=second, reason="it sells"))
    world.climb("prod", world.head("apps", "tier-0"))
    assert watch(world, first) == exits.FAILURE
    assert told(capsys)[-1] == ("prod", f"Superseded: it takes {second[:7]}")


def test_what_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(RequestRefusedError, match="the fleet has no tier 'qa'"):
        watch(world, until="qa")
    with pytest.raises(RequestRefusedError, match="no revision starts with"):
        watch(world, "0000")
