"""What a person is shown instead of a push to the placement: patches, which make the same trees on real git."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shopset.core.placement.formats import BRANCH, difference
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.release._patches import patch
from shopset.core.release.actions import Commit
from shopset.core.release.commands import Places, script
from shopset.core.release.observed import Repository
from support.git import head, push, remotes
from support.worlds import ENVIRONMENT, git

lines = st.lists(
    st.sampled_from((b"a\n", b"b\n", b"c\r\n", b"\n", b"+\n", b"END-OF-FILE\n", b"\xe3\x81\x82\n")), max_size=12
)
contents = st.builds(lambda parts, last: b"".join(parts) + last, lines, st.sampled_from((b"", b"", b"x", b"\r", b"a")))


def by_hand(parent: Path, commit: Commit) -> str:
    """Run what a person is shown for a commit; return the tree that it makes."""
    urls = {kind: str(parent / f"shopset-{kind}.git") for kind in Repository}
    text = script((push(commit),), Places(urls, ""))
    done = subprocess.run(["bash"], input=text, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + text
    return tree(parent)


def tree(parent: Path) -> str:
    return git("rev-parse", f"{head(parent, BRANCH)}^{{tree}}", folder=parent / "shopset-system.git")


def both(parent: Path, commit: Commit) -> tuple[str, str]:
    """Return the trees that a person's script and the engine's own push make, of the same commit."""
    system = parent / "shopset-system.git"
    theirs = by_hand(parent, commit)
    git("update-ref", f"refs/heads/{BRANCH}", str(commit.parent), folder=system)
    again = remotes(parent, "again")
    again.observe({})
    again.push_commits(push(commit), {})
    return theirs, tree(parent)


class TestPatch:
    @given(
        before=st.none() | contents,
        after=contents,
        path=st.sampled_from(("x", "a b/c.txt", 'q"\\é', "shops/0af.jsonl")),
    )
    @example(before=None, after=b"", path="x")
    @example(before=b"", after=b"a", path="x")
    @example(before=b"a", after=b"", path="x")
    @example(before=b"a\n" * 30, after=b"b\n" + b"a\n" * 30 + b"c", path="x")
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_git_makes_the_new_content_of_the_old(
        self, tmp_path: Path, before: bytes | None, after: bytes, path: str
    ) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        if before is not None:
            file.write_bytes(before)
        text = patch(path, before, after)
        if before == after:
            assert text == b""
            return
        command = ["git", "apply", "--whitespace=nowarn"]
        done = subprocess.run(command, input=text, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert file.read_bytes() == after

    @given(before=st.sets(st.integers(0, 400)), after=st.sets(st.integers(0, 400)), moved=st.sets(st.integers(0, 400)))
    @settings(max_examples=50, deadline=None)
    def test_of_sorted_lines_only_those_that_differ_are_in_it(
        self, before: set[int], after: set[int], moved: set[int]
    ) -> None:
        def content(keys: set[int], other: set[int]) -> bytes:
            return b"".join(b'{"name":"s-%03d","x":%d}\n' % (key, key in other) for key in sorted(keys))

        old, new = content(before, set()), content(after, moved)
        removed, added = (set(one.split(b"\n")) - set(two.split(b"\n")) for one, two in ((old, new), (new, old)))
        text = patch("x", old, new).split(b"\n")
        assert {line[1:] for line in text if line.startswith(b"-{")} == removed
        assert {line[1:] for line in text if line.startswith(b"+{")} == added
        assert len([line for line in text if line.startswith((b"-{", b"+{"))]) == len(removed) + len(added)


class TestScript:
    @pytest.fixture
    def start(self) -> Placement:
        groups = [Group(f"standard#{number}", "standard", ("a-1", "b-1")) for number in range(200)]
        return Placement.of(groups, [PlacedShop(f"shop-{number}", f"standard#{number}") for number in range(300)])

    def test_it_makes_the_tree_of_the_engines_own_push(self, parent: Path, start: Placement) -> None:
        first = difference(Placement.of((), ()), start)
        base = remotes(parent).push_commits(push(Commit(BRANCH, None, "first", first.writes, before=first.before)), {})
        gone = next(iter(start.members))
        after = (
            start.with_groups([Group(f"standard#{number}", "standard", ("c-1", "b-1")) for number in range(0, 200, 7)])
            .with_groups([Group("large/hoge", "large", ("c-1",))])
            .with_shops([PlacedShop("hoge", "large/hoge", ("hoge.example.com",))])
            .without_shops([gone])
        )
        change = difference(start, after)
        commit = Commit(BRANCH, base[BRANCH], "by hand", change.writes, change.deletes, before=change.before)
        theirs, ours = both(parent, commit)
        assert theirs == ours

    def test_what_the_branch_lacks_is_made(self, parent: Path, start: Placement) -> None:
        first = difference(Placement.of((), ()), start)
        commit = Commit(BRANCH, None, "first", first.writes, before=first.before)
        theirs = by_hand(parent, commit)
        git("update-ref", "-d", f"refs/heads/{BRANCH}", folder=parent / "shopset-system.git")
        remotes(parent, "again").push_commits(push(commit), {})
        assert theirs == tree(parent)

    def test_it_is_as_long_as_what_changes(self, start: Placement) -> None:
        after = start.with_groups([Group("standard#7", "standard", ("c-1", "b-1"))])
        change = difference(start, after)
        commit = Commit(BRANCH, "f" * 40, "by hand", change.writes, change.deletes, before=change.before)
        text = script((push(commit),), Places(dict.fromkeys(Repository, "u"), ""))
        assert text.count('"name":"standard#') == 8
        assert '+{"name":"standard#7","replicas":["c-1","b-1"]}\n' in text
