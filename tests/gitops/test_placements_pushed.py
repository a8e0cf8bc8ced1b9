"""What a push to the placement may do, on real repositories with what a pre-receive hook gets."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from shopset.cli.scaffolding import install_hook
from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeShopSet
from shopset.core.placement.formats import BRANCH, difference, dump_placement, shop_path
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.release.actions import Commit
from shopset.gitops import RefusedError
from shopset.gitops.pre_receive import Update, check_push
from support.git import forge_head, forge_tree, head, push, remotes
from support.worlds import ENVIRONMENT, git

REF = f"refs/heads/{BRANCH}"
NONE = "0" * 40
NOTHING = Placement.of((), ())
FIRST, SECOND = Group("standard#1", "standard", ("a-1", "c-1")), Group("standard#2", "standard", ("a-2",))
START = Placement.of((FIRST, SECOND), (PlacedShop("hoge", "standard#1"), PlacedShop("fuga", "standard#2")))
GROUPS = "groups/standard.jsonl"
FACTS = EdgeFacts(
    shopsets={name: EdgeShopSet(name, f"https://{name}.example.com") for name in ("a-1", "a-2", "b-1")},
    classes={"standard": EdgeClass("standard", replicas=2)},
)
EDGE = START.with_edge(FACTS)


@pytest.fixture
def base(parent: Path) -> str:
    """Return the first commit of the branch."""
    return made(parent, None, dump_placement(START))


def made(parent: Path, before: str | None, writes: Mapping[str, bytes], deletes: tuple[str, ...] = ()) -> str:
    """Push without a hook; return the commit."""
    system = remotes(parent, "anybody")
    system.observe({})
    return system.push_commits(push(Commit(BRANCH, before, "x", writes, deletes)), {})[BRANCH]


def refusals(parent: Path, old: str, new: str) -> list[str]:
    """Return what the hook says, a line for each rule."""
    found = check_push(parent / "shopset-system.git", [Update(old, new, REF)], ENVIRONMENT)
    return [f"{each.rule}: {each.message}" for each in found]


class TestAllowed:
    def test_what_the_planner_pushes(self, parent: Path, base: str) -> None:
        assert refusals(parent, NONE, base) == []
        after = START.with_groups([Group("large/piyo", "large", ("b-1",))]).without_shops(["fuga"])
        change = difference(START, after.with_shops([PlacedShop("piyo", "large/piyo")]))
        assert refusals(parent, base, made(parent, base, change.writes, change.deletes)) == []

    def test_groups_and_their_shops_go_together(self, parent: Path, base: str) -> None:
        change = difference(START, START.without_shops(["fuga"]).with_groups([], without=["standard#2"]))
        assert refusals(parent, base, made(parent, base, change.writes, change.deletes)) == []

    def test_a_repair_of_one_file_while_another_is_still_damaged(self, parent: Path, base: str) -> None:
        damaged = made(parent, base, {shop_path("hoge"): b"x\n", shop_path("fuga"): b"x\n"})
        mended = made(parent, damaged, {shop_path("hoge"): dump_placement(START)[shop_path("hoge")]})
        assert refusals(parent, damaged, mended) == []
        assert len(refusals(parent, base, damaged)) == 2


class TestFactsForEdges:
    """c-1 is a replica that edges do not know yet."""

    @pytest.fixture
    def known(self, parent: Path) -> str:
        return made(parent, None, dump_placement(EDGE))

    def said(self, parent: Path, old: str, before: Placement, after: Placement) -> list[str]:
        change = difference(before, after)
        return refusals(parent, old, made(parent, old, change.writes, change.deletes))

    def test_they_come(self, parent: Path, base: str) -> None:
        assert self.said(parent, base, START, EDGE) == []

    def test_they_go_as_a_whole(self, parent: Path, known: str) -> None:
        assert self.said(parent, known, EDGE, START) == []

    def test_a_shopset_goes_with_its_groups(self, parent: Path, known: str) -> None:
        fewer = EdgeFacts(shopsets={"a-1": FACTS.shopsets["a-1"]}, classes=FACTS.classes)
        after = EDGE.with_groups([Group("standard#2", "standard", ("a-1",))])
        assert self.said(parent, known, EDGE, after.with_edge(fewer)) == []

    def test_a_shopset_does_not_go_while_shops_are_there(self, parent: Path, known: str) -> None:
        fewer = EdgeFacts(shopsets={"a-1": FACTS.shopsets["a-1"]}, classes=FACTS.classes)
        (said,) = self.said(parent, known, EDGE, EDGE.with_edge(fewer))
        assert "placement:edge/shopsets.jsonl: the ShopSet 'a-2', which is a replica of standard#2" in said

    def test_groups_are_of_classes_that_are_known(self, parent: Path, known: str) -> None:
        after = EDGE.with_groups([Group("large/piyo", "large", ("b-1",))])
        (said,) = self.said(parent, known, EDGE, after)
        assert "placement:edge/classes.jsonl: the class 'large', which has groups in groups/large.jsonl" in said
        # What a push does not touch is no reason to refuse it.
        joined = after.with_shops([PlacedShop("piyo", "large/piyo")])
        assert self.said(parent, head(parent, BRANCH), after, joined) == []

    def test_a_class_does_not_go_while_it_has_groups(self, parent: Path, known: str) -> None:
        (said,) = self.said(parent, known, EDGE, EDGE.with_edge(EdgeFacts(shopsets=FACTS.shopsets)))
        assert "the class 'standard'" in said

    def test_a_line_that_is_wrong(self, parent: Path, known: str) -> None:
        (said,) = refusals(parent, known, made(parent, known, {"edge/settings.jsonl": b"{}\n"}))
        assert said.startswith("WellFormed: placement:edge/settings.jsonl:1: it says nothing")


class TestRefused:
    @pytest.mark.parametrize(
        ("path", "content", "words"),
        [
            (shop_path("hoge"), b"hoge\n", "malformed"),
            (shop_path("hoge"), b"", "empty"),
            (shop_path("hoge"), b'{"name":"hoge", "group":"standard#1"}\n', "is not written as"),
            (shop_path("piyo"), b'{"name":"hoge","group":"standard#1"}\n', "'hoge' belongs into"),
            (shop_path("piyo"), b'{"name":"piyo","group":"standard#9"}\n', "no group 'standard#9'"),
            (GROUPS, b'{"name":"standard#1","replicas":["a-1","a-1"]}\n', "the replica 'a-1' twice"),
            (
                GROUPS,
                b'{"name":"standard#2","replicas":[]}\n{"name":"standard#1","replicas":[]}\n',
                "lines are sorted by name",
            ),
            ("README.md", b"x", "no file of it has such a path"),
        ],
    )
    def test_what_would_not_be_read(self, parent: Path, base: str, path: str, content: bytes, words: str) -> None:
        said = refusals(parent, base, made(parent, base, {path: content}))
        assert said
        assert words in said[0]
        assert said[0].startswith(f"WellFormed: placement:{path}")

    def test_a_group_does_not_go_while_shops_are_in_it(self, parent: Path, base: str) -> None:
        change = difference(START, START.with_groups([], without=["standard#2"]))
        said = refusals(parent, base, made(parent, base, change.writes))
        assert len(said) == 1
        assert "no group 'standard#2', which fuga is in" in said[0]
        said = refusals(parent, base, made(parent, head(parent, BRANCH), {}, (GROUPS,)))
        assert len(said) == 2

    def test_what_is_no_file(self, parent: Path, base: str) -> None:
        system = parent / "shopset-system.git"
        blob = git("rev-parse", f"{base}:{GROUPS}", folder=system)
        folder = forge_tree(system, [("120000", b"standard.jsonl", blob)])
        forged = forge_head(system, forge_tree(system, [("40000", b"groups", folder)]), BRANCH)
        assert refusals(parent, NONE, forged) == [f"WellFormed: {GROUPS} is no plain file"]

    def test_it_is_neither_deleted_nor_rewritten(self, parent: Path, base: str) -> None:
        assert refusals(parent, base, NONE) == ["NotDeleted: it can't be deleted"]
        git("update-ref", "-d", REF, folder=parent / "shopset-system.git")
        other = made(parent, None, dump_placement(START.without_shops(["hoge"])))
        assert refusals(parent, base, other) == ["FastForward: the push is no fast-forward"]

    def test_the_hook_tells_who_pushes(self, parent: Path, base: str) -> None:
        install_hook(parent / "shopset-system.git", (sys.executable, "-m", "shopset.cli"))
        with pytest.raises(RefusedError, match="no group 'standard#9'"):
            made(parent, base, {shop_path("piyo"): b'{"name":"piyo","group":"standard#9"}\n'})
        assert head(parent, BRANCH) == base
        change = difference(START, START.with_shops([PlacedShop("piyo", "standard#1")]))
        assert made(parent, base, change.writes) == head(parent, BRANCH)
