"""The engine: what fails is told and left for later, what was lost to others is planned anew, what crashed goes on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from shopset.cli.scaffolding import Copy
from shopset.core.release.actions import ActionKind, AnyAction, ApplyApplication, DeleteApplication, PushCommits
from shopset.core.release.requests import Hold, Resume
from shopset.directory.clusters import DirectoryError
from shopset.engine import TooManyRacesError, Watching, converge
from shopset.engine.placing import place
from shopset.gitops import LostRaceError, UnreachableError
from support.worlds import YAMADA, World, workplace_of


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_crash_after_any_step_leaves_a_state_from_which_the_next_run_finishes(tmp_path: Path) -> None:
    steps = 0
    while True:
        world, left = World(tmp_path / str(steps)), steps

        def started(_: AnyAction) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash

        crashed = False
        world.workplace.reconcile()
        try:
            for _ in converge(world.workplace.engine, Watching(lambda _: None, started)):
                pass
        except Crash:
            crashed = True
        # Another process goes on, with nothing but the repositories.
        world.workplace = workplace_of(world)
        world.climb("beta")
        if not crashed:
            assert steps > 3
            return
        steps += 1


def test_two_engines_on_the_same_remotes_do_every_step_once(world: World) -> None:
    other = workplace_of(world)
    for _ in range(30):
        first, _ = world.workplace.engine.plan()
        second, _ = other.engine.plan()
        assert not world.workplace.engine.act(first.actions).failures
        assert not other.engine.act(second.actions).failures
        world.step()
    observed = world.plan()[1]
    assert [len(pins) for pins in observed.ledger.pins.values()] == [1, 1, 1]
    assert observed.ledger.malformed == ()


def test_without_a_look_nothing_is_found_and_nothing_is_done_on_old_news(world: World) -> None:
    world.climb()
    engine, other = world.workplace.engine, workplace_of(world)
    engine.plan()
    world.annotate(release="2")
    made, observed = engine.plan(look=False)
    assert (made.actions, observed.looked) == ((), False)
    assert engine.plan()[0].actions
    assert not other.engine.act(other.engine.plan()[0].actions).failures
    # What is known leaves something to do, which somebody else has done meanwhile.
    made, observed = engine.plan(look=False)
    assert (made.actions, observed.looked) == (other.engine.plan()[0].actions, True)


def test_without_a_look_no_shop_is_placed_on_old_news(world: World) -> None:
    world.place_shops({"hoge": ["hoge.example.com"]})
    world.climb()
    placer, other = world.workplace.placer, workplace_of(world)
    stale = placer.engine.observe()
    (first,) = [each for each in place(other.placer, Watching(lambda _: None)) if each.outcome.done]
    assert not first.outcome.failures
    # What is known leaves something to do, which somebody else has done meanwhile.
    assert placer.plan(stale)[0].actions
    made, seen, observed = placer.plan(replace(stale, looked=False))
    assert (made.actions, observed.looked, seen.head) == ((), True, other.placer.plan(other.engine.observe())[1].head)
    made, _, observed = placer.plan(placer.engine.observe(look=False))
    assert (made.actions, observed.looked) == ((), False)


def test_a_hold_that_came_in_between_makes_the_pin_lose(world: World) -> None:
    world.climb()
    world.annotate(release="2")
    stale, _ = world.workplace.engine.plan()
    assert any(isinstance(action, PushCommits) for action in stale.actions)
    other = workplace_of(world)
    made, _ = other.engine.respond(Hold(tier="dev", reason="stop"), YAMADA)
    other.engine.act(made.actions)
    outcome = world.workplace.engine.act(stale.actions)
    assert outcome.lost_race is not None
    fresh, observed = world.workplace.engine.plan()
    assert not fresh.actions
    revision = observed.tiers["dev"].revision
    assert revision is not None
    assert revision.apps != world.head("apps", "tier-0")
    world.ask(Resume(tier="dev", reason="go on"))
    world.climb("dev")


def test_what_fails_on_one_tier_does_not_stop_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.climb("dev")
    git = world.workplace.remotes
    push_commits = git.push_commits

    def failing(action: PushCommits, parents: Mapping[str, str | None]) -> dict[str, str]:
        if action.tier == "dev":
            message = "shopset-system does not answer"
            raise UnreachableError(message, "")
        return push_commits(action, parents)

    world.annotate(release="2")
    monkeypatch.setattr(git, "push_commits", failing)
    plan, _ = world.plan()
    outcome = world.workplace.engine.act(plan.actions)
    assert {failure.action.tier for failure in outcome.failures} == {"dev"}
    monkeypatch.undo()
    world.climb("beta")


def test_an_application_that_cannot_be_deleted_stops_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, actions = several(tmp_path, at_once=1)
    gone = DeleteApplication(
        kind=ActionKind.DELETE, what="delete it", why=(), at=world.now, shopset="x", cluster="c", application="shop-x"
    )

    def failing(cluster: str, application: str) -> None:
        message = f"{application} of {cluster} cannot be deleted"
        raise DirectoryError(message)

    monkeypatch.setattr(world.workplace.engine.delivery, "delete", failing)
    outcome = world.workplace.engine.act([gone, *actions])
    assert [failure.action for failure in outcome.failures] == [gone]
    assert outcome.done == tuple(actions)


def test_races_are_bounded_and_the_pauses_grow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(action: PushCommits, parents: Mapping[str, str | None]) -> dict[str, str]:
        del action, parents
        message = "shopset-system had moved on"
        raise LostRaceError(message, "")

    monkeypatch.setattr(world.workplace.remotes, "push_commits", lose)
    pauses: list[float] = []
    with pytest.raises(TooManyRacesError, match="Nothing was lost"):
        list(converge(world.workplace.engine, Watching(pauses.append)))
    assert pauses == sorted(pauses)
    assert len(pauses) == 7
    assert sum(pauses) < 10


def test_an_unchanged_world_asks_nothing_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.climb()
    world.plan()
    monkeypatch.setattr(world.workplace.remotes, "answer", lambda question: pytest.fail(f"asked again: {question}"))
    assert not world.plan()[0].actions


def several(tmp_path: Path, at_once: int) -> tuple[World, list[AnyAction]]:
    """Return a world with six ShopSets on one tier that is pinned, and what is to be done for their Applications."""
    copies = [Copy(f"c-{number}", "dev", "staging", "c") for number in range(6)]
    world = World(tmp_path, {"dev": ()}, copies)
    world.workplace.engine.at_once = at_once
    while not any(isinstance(action, ApplyApplication) for action in world.plan()[0].actions):
        assert not world.workplace.engine.act(world.plan()[0].actions[:1]).failures
    return world, list(world.plan()[0].actions)


def test_applications_of_a_tier_are_applied_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, actions = several(tmp_path, at_once=3)
    together = Barrier(3, timeout=10)
    apply = world.workplace.engine.delivery.apply

    def meeting(cluster: str, application: str, manifest: bytes) -> None:
        together.wait()
        apply(cluster, application, manifest)

    monkeypatch.setattr(world.workplace.engine.delivery, "apply", meeting)
    begun: list[AnyAction] = []
    outcome = world.workplace.engine.act(actions, begun.append)
    assert list(outcome.done) == begun == actions
    monkeypatch.undo()
    world.climb("dev")


def test_what_fails_side_by_side_leaves_the_rest_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, actions = several(tmp_path, at_once=3)
    apply = world.workplace.engine.delivery.apply

    def failing(cluster: str, application: str, manifest: bytes) -> None:
        if application.endswith("c-1"):
            message = "the API server does not answer"
            raise DirectoryError(message)
        apply(cluster, application, manifest)

    monkeypatch.setattr(world.workplace.engine.delivery, "apply", failing)
    outcome = world.workplace.engine.act(actions)
    assert [failure.action for failure in outcome.failures] == [actions[1]]
    assert list(outcome.done) == [actions[0], actions[2]]
    monkeypatch.undo()
    world.climb("dev")


def test_who_may_no_longer_act_finishes_only_what_has_begun(tmp_path: Path) -> None:
    world, actions = several(tmp_path, at_once=3)
    answers = iter([True] * 4 + [False] * 9)
    assert list(world.workplace.engine.act(actions, may_act=lambda: next(answers)).done) == actions[:4]
