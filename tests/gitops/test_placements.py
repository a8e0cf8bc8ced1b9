"""The branch `placement` on real git: what was written is read, at any time; races, reverts and what hands break."""

import shutil
from collections.abc import Mapping
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
    system: Remotes,
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
    return system.push_commits(action, {})[BRANCH]


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
        writer, reader = remotes(folder, "one"), remotes(folder, "two")
        one = commit(writer, None, NOTHING, first)
        two = commit(writer, one, first, second)
        reader.observe({})
        for made, placement in ((one, first), (two, second), (one, first)):
            assert reader.placement(made).is_whole
            assert reader.placement(made).placement == placement
            assert {shop: reader.placed(made, shop) for shop in placement.members} == {
                shop: placement.shop(shop) for shop in placement.members
            }

    def test_what_did_not_change_is_not_read_again(self, parent: Path) -> None:
        system = remotes(parent)
        one = commit(system, None, NOTHING, START)
        more = START.with_shops([PlacedShop("piyo", FIRST.name)])
        two = commit(system, one, START, more)
        first, second = (system.placement(each).placement.shards for each in (one, two))
        assert second == more.shards
        assert [key for key in second if second[key] is not first.get(key)] == [shop_path("piyo")[6:9]]

    def test_the_order_in_which_it_was_made_does_not_matter(self, parent: Path) -> None:
        other = Placement({"standard#2": SECOND, "standard#1": FIRST}, {"hoge": FIRST.name}, {"hoge": HOGE.hosts})
        again = other.with_shops([FUGA])
        trees = [tree_of(parent, "one", START), tree_of(parent, "two", again)]
        assert trees[0] == trees[1]


def tree_of(parent: Path, cache: str, placement: Placement) -> str:
    """Return the tree of a placement that is the first on the branch."""
    made = commit(remotes(parent, cache), None, NOTHING, placement)
    git("update-ref", "-d", f"refs/heads/{BRANCH}", folder=parent / "shopset-system.git")
    return git("rev-parse", f"{made}^{{tree}}", folder=parent / "shopset-system.git")


class TestRaces:
    def test_of_two_planners_one_loses_cleanly_and_plans_anew(self, parent: Path) -> None:
        one, two = remotes(parent, "one"), remotes(parent, "two")
        base = commit(one, None, NOTHING, START)
        two.observe({})
        mine = START.with_groups([replace(FIRST, replicas=("b-1", "c-1"))])
        theirs = START.with_shops([PlacedShop("piyo", SECOND.name)])
        won = commit(one, base, START, mine)
        with pytest.raises(LostRaceError):
            commit(two, base, START, theirs)
        assert head(parent, BRANCH) == won
        two.observe({})
        seen = two.placement(won).placement
        final = commit(two, won, seen, seen.with_shops([PlacedShop("piyo", SECOND.name)]))
        assert two.placement(final).placement == mine.with_shops([PlacedShop("piyo", SECOND.name)])

    def test_two_who_make_the_branch_do_not_overwrite_each_other(self, parent: Path) -> None:
        won = commit(remotes(parent, "one"), None, NOTHING, START)
        with pytest.raises(LostRaceError):
            commit(remotes(parent, "two"), None, NOTHING, START.without_shops(["hoge"]))
        assert head(parent, BRANCH) == won


class TestHistory:
    def test_git_revert_is_a_way_back(self, parent: Path) -> None:
        system = remotes(parent)
        base = commit(system, None, NOTHING, START)
        commit(system, base, START, START.with_groups([replace(FIRST, replicas=("b-1",))]).without_shops(["fuga"]))
        back = by_hand(parent, {}, "revert", "--no-edit", "HEAD")
        system.observe({})
        assert system.placement(back).is_whole
        assert system.placement(back).placement == START

    def test_where_a_shop_was_at_a_time(self, parent: Path) -> None:
        system = remotes(parent)
        moved = START.with_groups([replace(FIRST, replicas=("c-1",))])
        base = commit(system, None, NOTHING, START, days=1)
        after = commit(system, base, START, moved, days=20)
        moments = {0: None, 1: base, 19: base, 20: after, 30: after}
        assert {days: system.placement_at(AT + timedelta(days=days)) for days in moments} == moments
        assert system.placed(base, "hoge") == Whereabouts(HOGE, FIRST)
        assert system.placed(after, "hoge") == Whereabouts(HOGE, moved.groups[FIRST.name])
        assert system.placed(after, "nobody") is None

    def test_since_when_groups_are_as_they_are(self, parent: Path) -> None:
        system = remotes(parent)
        first = commit(system, None, NOTHING, START)
        between = replace(FIRST, replicas=("b-1", "c-1", "a-1"))
        moving = START.with_groups([between])
        second = commit(system, first, START, moving, days=1)
        more = moving.with_shops([PlacedShop("piyo", SECOND.name)])
        third = commit(system, second, moving, more, days=2)
        other = more.with_groups([replace(SECOND, replicas=("a-2", "c-1"))])
        fourth = commit(system, third, more, other, days=3)
        # What others do makes a group that is between two ShopSets no younger.
        assert system.placed_since(fourth, [between]) == AT + timedelta(days=1)
        assert system.placed_since(fourth, [between, other.groups[SECOND.name]]) == AT + timedelta(days=3)
        assert system.placed_since(fourth, []) == AT + timedelta(days=3)
        assert system.placed_since(first, [FIRST]) == AT

    def test_without_a_branch_there_was_nothing(self, parent: Path) -> None:
        assert remotes(parent).placement_at(AT) is None

    def test_the_log_has_what_moved_a_shop_and_nothing_else(self, parent: Path) -> None:
        system = remotes(parent)
        steps = [
            START,
            START.with_shops([PlacedShop("piyo", SECOND.name)]),
            START.with_shops([PlacedShop("piyo", SECOND.name)]).with_groups([replace(SECOND, replicas=("c-1",))]),
            START.with_groups([replace(SECOND, replicas=("c-1",))]),
            START.with_groups([replace(SECOND, replicas=("c-1",)), replace(FIRST, replicas=("c-1", "b-1"))]),
            START.with_groups([replace(SECOND, replicas=("c-1",)), replace(FIRST, replicas=("c-1", "b-1"))]).with_shops(
                [replace_group(HOGE, SECOND.name)]
            ),
            START.with_groups([SECOND, replace(FIRST, replicas=("c-1", "b-1"))]).without_shops(["hoge"]),
        ]
        made: list[str] = []
        before = NOTHING
        for day, after in enumerate(steps):
            subject = f"step {day}"
            made.append(
                commit(system, made[-1] if made else None, before, after, day, subject, **{"Shopset-Reason": "x: y"})
            )
            before = after
        changes = list(system.placement_log(made[-1], "hoge"))
        assert [each.subject for each in changes] == ["step 6", "step 5", "step 4", "step 0"]
        assert [(each.before, each.after) for each in reversed(changes)] == [
            (None, steps[0].shop("hoge")),
            (steps[3].shop("hoge"), steps[4].shop("hoge")),
            (steps[4].shop("hoge"), steps[5].shop("hoge")),
            (steps[5].shop("hoge"), None),
        ]
        assert {(str(each.author), each.trailers) for each in changes} == {
            ("Yamada <y@example.com>", (("Shopset-Reason", "x: y"),))
        }
        assert changes[0].at == AT + timedelta(days=6)
        assert [each.subject for each in system.placement_log(made[-1], "hoge", limit=2)] == ["step 6", "step 5"]
        assert list(system.placement_log(made[-1], "nobody")) == []


def replace_group(shop: PlacedShop, group: str) -> PlacedShop:
    return shop._replace(group=group)


class TestByHand:
    @pytest.mark.parametrize(
        ("path", "content", "line", "words"),
        [
            (shop_path("hoge"), b"hoge\n", 1, "malformed"),
            (shop_path("hoge"), b"", 0, "empty"),
            (shop_path("piyo"), b'{"name":"piyo","group":"standard#9"}\n', 1, "no group 'standard#9'"),
            ("groups/standard.jsonl", b"", 0, "empty"),
            ("README.md", b"hello\n", 0, "no file of it has such a path"),
        ],
    )
    def test_what_is_malformed_is_named_and_the_rest_is_read(
        self, parent: Path, path: str, content: bytes, line: int, words: str
    ) -> None:
        system = remotes(parent)
        commit(system, None, NOTHING, START)
        damaged = by_hand(parent, {path: content})
        system.observe({})
        reading = system.placement(damaged)
        assert not reading.is_whole
        assert (reading.problems[0].path, reading.problems[0].line) == (path, line)
        assert words in str(reading.problems[0])
        assert "git revert" in str(reading.problems[0])
        assert set(reading.placement.members) == (
            set() if path.startswith("groups") else {"fuga"} if path == shop_path("hoge") else {"hoge", "fuga"}
        )
        mended = by_hand(parent, {}, "revert", "--no-edit", "HEAD")
        system.observe({})
        assert system.placement(mended).placement == START

    def test_a_submodule_is_no_file_of_it(self, parent: Path) -> None:
        system = remotes(parent)
        base = commit(system, None, NOTHING, START)
        made = Commit(BRANCH, base, "x", gitlinks={"shops/0af.jsonl": "a" * 40})
        damaged = system.push_commits(PushCommits(kind=ActionKind.PIN, what="x", why=(), at=AT, commits=(made,)), {})[
            BRANCH
        ]
        reading = system.placement(damaged)
        assert [(each.path, "submodule" in str(each)) for each in reading.problems] == [("shops/0af.jsonl", True)]
        assert reading.placement == START
