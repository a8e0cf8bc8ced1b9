"""The branch `placement` on real git: what was written is read, at any time; races, reverts and what hands break."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shopset.core.placement.formats import BRANCH, difference, shop_path
from shopset.core.placement.placements import Group, PlacedShop, Placement, Whereabouts
from shopset.core.release.actions import ActionKind, Commit, Identity, PushCommits
from shopset.gitops import LostRaceError, Remotes
from support.git import head, remotes
from support.worlds import git

AT = datetime(2026, 11, 1, tzinfo=UTC)
NOTHING = Placement.of((), ())
FIRST, SECOND = Group("standard#1", "standard", ("a-1", "c-1")), Group("standard#2", "standard", ("a-2", "b-1"))
HOGE, FUGA = PlacedShop("hoge", "standard#1", ("hoge.shop-pro.jp",)), PlacedShop("fuga", "standard#2")
START = Placement.of((FIRST, SECOND), (HOGE, FUGA))


def commit(
    git: Remotes,
    parent: str | None,
    before: Placement,
    after: Placement,
    days: int = 0,
    subject: str = "place",
    **trailers: str,
) -> str:
    change = difference(before, after)
    named = tuple(trailers.items())
    made = Commit(BRANCH, parent, subject, change.writes, change.deletes, trailers=named, before=change.before)
    action = PushCommits(
        kind=ActionKind.PIN,
        what="x",
        why=(),
        at=AT + timedelta(days=days),
        commits=(made,),
        author=Identity("Yamada", "y@example.com"),
    )
    return git.push_commits(action, {})[BRANCH]


def by_hand(parent: Path, edit: Mapping[str, bytes | None], *arguments: str) -> str:
    """Change files of the branch as a person does, and push; return the head."""
    work = parent / "by-hand"
    shutil.rmtree(work, ignore_errors=True)
    git("clone", "--quiet", "--branch", BRANCH, str(parent / "shopset-system.git"), str(work))
    for path, content in edit.items():
        if content is None:
            (work / path).unlink()
        else:
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(content)
    git("add", "--all", folder=work)
    git(*(arguments or ("commit", "--quiet", "-m", "by hand")), folder=work)
    git("push", "--quiet", "origin", BRANCH, folder=work)
    return head(parent, BRANCH)


def system(folder: Path, cache: str = "cache") -> Remotes:
    """Return the repositories of `folder`, of which only the one that has placements is there."""
    return remotes(folder, cache)


names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,6}[a-z0-9])?", fullmatch=True)
shopsets = st.lists(names, max_size=3, unique=True).map(tuple)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    numbers = draw(st.sets(st.tuples(st.sampled_from(("standard", "large")), st.integers(1, 30)), max_size=6))
    groups = [
        Group(
            f"{kind}#{number}", kind, draw(shopsets), draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 3))
        )
        for kind, number in sorted(numbers)
    ]
    shops = draw(st.sets(names, max_size=20)) if groups else set()
    hosts = st.lists(names.map("{}.example.com".format), max_size=2, unique=True).map(tuple)
    return Placement.of(
        groups, [PlacedShop(shop, draw(st.sampled_from(groups)).name, draw(hosts)) for shop in sorted(shops)]
    )


class TestReading:
    @given(first=placements(), second=placements())
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_what_is_written_is_read(
        self, tmp_path_factory: pytest.TempPathFactory, first: Placement, second: Placement
    ) -> None:
        folder = tmp_path_factory.mktemp("placement")
        git("init", "--quiet", "--bare", str(folder / "shopset-system.git"))
        writer, reader = system(folder, "one"), system(folder, "two")
        one = commit(writer, None, NOTHING, first)
        two = commit(writer, one, first, second)
        reader.observe({})
        for made, placement in ((one, first), (two, second), (one, first)):
            assert reader.placement(made).is_whole
            assert reader.placement(made).placement == placement
            assert {shop: reader.placed(made, shop) for shop in placement.members} == {
                shop: placement.shop(shop) for shop in placement.members
            }
