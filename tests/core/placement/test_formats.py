"""The files of the placement: one content for one placement, only what changes is written, each kind of damage is named."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.core.placement.formats import (
    PlacementReading,
    difference,
    dump_placement,
    read_placement,
    shop_path,
)
from shopset.core.placement.placements import Group, PlacedShop, Placement

FIRST, SECOND = (
    Group("standard#1", "standard", ("a-1", "c-1")),
    Group("standard#2", "standard", ("a-2", "b-1"), spread=2),
)
SHOPS = (PlacedShop("hoge", "standard#1", ("hoge.shop-pro.jp", "*.hoge.jp")), PlacedShop("fuga", "standard#2"))
NOTHING = Placement.of((), ())
PLACEMENT = Placement.of((SECOND, FIRST), SHOPS)
FILES = dump_placement(PLACEMENT)
# Two shops of one shard.
TWINS = ("s-27", "s-81")

groups = st.builds(
    lambda kind, number, replicas, pinned, dedicated, spread: Group(
        f"{kind}#{number:b}", kind, replicas, pinned, dedicated, spread
    ),
    st.sampled_from(("standard", "large")),
    st.integers(1, 12),
    st.lists(st.sampled_from(("a-1", "a-2", "b-1", "c-1")), max_size=3, unique=True).map(tuple),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2),
)
names = st.integers(0, 40).map("s-{}".format)
model = st.tuples(
    st.lists(groups, min_size=1, max_size=8, unique_by=lambda group: group.name),
    st.dictionaries(names, st.tuples(st.integers(0, 7), st.lists(names, max_size=2, unique=True)), max_size=12),
)
Model = tuple[list[Group], dict[str, tuple[int, list[str]]]]


def shops_of(one: Model) -> list[PlacedShop]:
    groups, shops = one
    return [
        PlacedShop(name, groups[number % len(groups)].name, tuple(f"{host}.jp" for host in hosts))
        for name, (number, hosts) in shops.items()
    ]


def expected_files(one: Model) -> dict[str, bytes]:
    """Write the files by the words of docs/formats.md, without shopset's own writer."""
    found: dict[str, list[tuple[str, str]]] = {}
    for group in one[0]:
        line = {"name": group.name, "replicas": list(group.replicas), "pinned": group.pinned}
        line |= {"dedicated": group.dedicated, "spread": group.spread}
        kept = {key: value for key, value in line.items() if value or key in ("name", "replicas")}
        found.setdefault(f"groups/{group.shop_class}.jsonl", []).append((group.name, compact(kept)))
    for shop in shops_of(one):
        line = {"name": shop.name, "group": shop.group} | ({"hosts": list(shop.hosts)} if shop.hosts else {})
        found.setdefault(shop_path(shop.name), []).append((shop.name, compact(line)))
    return {path: "".join(f"{text}\n" for _, text in sorted(lines)).encode() for path, lines in found.items()}


def compact(line: dict[str, object]) -> str:
    return json.dumps(line, separators=(",", ":"))


class TestWriting:
    @given(one=model)
    def test_files_are_those_that_are_documented(self, one: Model) -> None:
        placement = Placement.of(one[0], shops_of(one))
        assert dump_placement(placement) == expected_files(one)
        assert read_placement(expected_files(one)) == PlacementReading(placement)

    @given(one=model, two=model)
    def test_a_difference_turns_the_one_into_the_other(self, one: Model, two: Model) -> None:
        before, after = (Placement.of(each[0], shops_of(each)) for each in (one, two))
        files, new = dump_placement(before), dump_placement(after)
        change = difference(before, after)
        assert {
            path: content for path, content in {**files, **change.writes}.items() if path not in change.deletes
        } == new
        assert all(files.get(path) != content for path, content in change.writes.items())
        assert change.before == {path: files[path] for path in change.writes if path in files}
        assert set(change.deletes) == files.keys() - new.keys()

    @given(one=model)
    def test_the_order_of_making_does_not_show(self, one: Model) -> None:
        names = {group.name: group for group in reversed(one[0])}
        shops = shops_of(one)[::-1]
        plain = Placement(names, {shop.name: shop.group for shop in shops}, {shop.name: shop.hosts for shop in shops})
        assert dump_placement(plain) == dump_placement(Placement.of(one[0], shops_of(one)))

    def test_a_class_with_one_group(self) -> None:
        one = Placement.of(
            [Group("large#", "large", ()), Group("large/hoge", "large", ("a-1",))], [PlacedShop("fuga", "large#")]
        )
        assert read_placement(dump_placement(one)) == PlacementReading(one)

    def test_lines(self) -> None:
        assert {
            "groups/standard.jsonl": b'{"name":"standard#1","replicas":["a-1","c-1"]}\n'
            b'{"name":"standard#2","replicas":["a-2","b-1"],"spread":2}\n',
            shop_path("hoge"): b'{"name":"hoge","group":"standard#1","hosts":["hoge.shop-pro.jp","*.hoge.jp"]}\n',
            shop_path("fuga"): b'{"name":"fuga","group":"standard#2"}\n',
        } == FILES


class TestChanges:
    @given(one=model, edits=st.lists(st.tuples(names, st.none() | st.integers(0, 7)), max_size=8))
    def test_shops_come_and_go_as_in_a_dictionary(self, one: Model, edits: list[tuple[str, int | None]]) -> None:
        placement = start = Placement.of(one[0], shops_of(one))
        expected = {shop.name: shop for shop in shops_of(one)}
        for name, number in edits:
            if number is None:
                placement = placement.without_shops([name])
                expected.pop(name, None)
            else:
                expected[name] = PlacedShop(name, one[0][number % len(one[0])].name, (f"{number}.jp",))
                placement = placement.with_shops([expected[name]])
        assert dict(placement.members.items()) == {name: shop.group for name, shop in expected.items()}
        assert {name: placement.hosts[name] for name in placement.hosts} == {
            name: shop.hosts for name, shop in expected.items()
        }
        assert placement == Placement.of(one[0], expected.values())
        assert start == Placement.of(one[0], shops_of(one))
        assert len(placement.members) == len(expected)
        touched = {shop_path(name)[6:9] for name, _ in edits}
        assert all(placement.shards[key] is start.shards[key] for key in start.shards.keys() - touched)

    @given(one=model)
    def test_it_answers_as_a_scan_does(self, one: Model) -> None:
        placement = Placement.of(one[0], shops_of(one))
        for group in one[0]:
            assert placement.shops_of([group.name]) == {
                group.name: sorted(shop.name for shop in shops_of(one) if shop.group == group.name)
            }
        for name in ("s-1", "s-2", "s-3"):
            found = placement.shop(name)
            assert (found and found.shop) == next((shop for shop in shops_of(one) if shop.name == name), None)
            owners = {shop.name for shop in shops_of(one) if f"{name}.jp" in shop.hosts}
            theirs = placement.owners([f"{name}.jp"])
            assert set(theirs) == ({f"{name}.jp"} if owners else set())
            assert set(theirs.values()) <= owners

    def test_placements_are_equal_where_they_say_the_same(self) -> None:
        hoge, fuga = SHOPS
        rehosted, regrouped = (
            PLACEMENT.with_shops([hoge._replace(hosts=())]),
            PLACEMENT.with_shops([fuga._replace(group="standard#1")]),
        )
        assert (rehosted.members, rehosted.groups) == (PLACEMENT.members, PLACEMENT.groups)
        assert (regrouped.hosts, regrouped.groups) == (PLACEMENT.hosts, PLACEMENT.groups)
        assert PLACEMENT not in (rehosted, regrouped, PLACEMENT.without_shops(["hoge"]), NOTHING)
        assert PLACEMENT.members == {"hoge": "standard#1", "fuga": "standard#2"}

    def test_groups_are_sorted_and_replaced(self) -> None:
        new, other = Group("large/hoge", "large", ("b-1",)), Group("standard#1", "standard", ("b-1",), pinned=True)
        after = PLACEMENT.with_groups([other, new], without=["standard#2"])
        assert list(after.groups.items()) == [("large/hoge", new), ("standard#1", other)]
        assert after.members is PLACEMENT.members


class TestDamage:
    @pytest.mark.parametrize(
        ("content", "line", "words"),
        [
            (b"hoge\n", 1, "JSON is malformed"),
            (b"\n", 1, "Input data was truncated"),
            (b'{"name":"standard#1","replicas":["a-1"],"primary":"a-1"}\n', 1, "unknown field `primary`"),
            (b'{"name":"standard#1"}\n', 1, "missing required field `replicas`"),
            (b'{"name":"standard#1","replicas":"a-1"}\n', 1, "Expected `array`"),
            (b'{"name":"standard#1","replicas":["a-1","a-1"]}\n', 1, "has the replica 'a-1' twice"),
            (b'{"name":"standard#1","replicas":["A 1"]}\n', 1, "matching regex"),
            (b'{"name":"standard#1","replicas":[],"spread":-1}\n', 1, ">= 0"),
            (b'{"name":"large#1","replicas":[]}\n', 1, "is no group of standard"),
            (b'{"name":"standard","replicas":[]}\n', 1, "matching regex"),
            (b'{"name":"standard#1","replicas":[]}\n{"name":"standard#1","replicas":[]}\n', 2, "is there twice"),
            (b'{"name":"standard#2","replicas":[]}\n{"name":"standard#1","replicas":[]}\n', 2, "sorted by name"),
            (b'{"name":"standard#1", "replicas":[]}\n', 1, 'not written as {"name":"standard#1","replicas":[]}'),
            (b'{"name":"standard#1","replicas":[]}\r\n', 1, "is not written as"),
            (b'{"name":"standard#1","replicas":[]}', 1, "not ended by a newline"),
            (b'{"name":"standard#1","replicas":[]}\n<<<<<<< HEAD\n', 2, "malformed"),
            (b'{"name":"standard#1","replicas":["\xff"]}\n', 1, "utf-8"),
            (b"", 0, "the file is empty"),
        ],
    )
    def test_of_groups(self, content: bytes, line: int, words: str) -> None:
        problem = read_placement(FILES | {"groups/standard.jsonl": content}).problems[0]
        assert (problem.path, problem.line) == ("groups/standard.jsonl", line)
        assert words in str(problem)
        assert "docs/formats.md" in str(problem)

    @pytest.mark.parametrize(
        ("content", "line", "words"),
        [
            (b'{"name":"s-27","group":"standard#1"}\nnot JSON\n', 2, "malformed"),
            (b'{"name":"s-27","group":"standard#1","host":"x"}\n', 1, "unknown field `host`"),
            (b'{"name":"hoge","group":"standard#1"}\n', 1, "'hoge' belongs into shops/"),
            (b'{"name":"s-81","group":"standard#1"}\n{"name":"s-27","group":"standard#1"}\n', 2, "sorted by name"),
            (b'{"name":"s-27","group":"standard#1"}\n{"name":"s-27","group":"standard#2"}\n', 2, "is there twice"),
            (b'{"name":"s-27","group":"standard#7"}\n', 1, "no group 'standard#7', which s-27 is in"),
            (b'{"name":"s-27","group":"standard#1"}\n{"name":"s-81","group":"other"}\n', 2, "no group 'other'"),
            (b'{"name":"s-27","group":"standard#1","hosts":["A"]}\n', 1, "matching regex"),
            (b'{"name":"s-27","group":"standard#1","hosts":[]}\n', 1, "is not written as"),
            (b'{"name":"s-27","group":\n"standard#1"}{"name":"s-81","group":"standard#1"}\n', 1, "truncated"),
            (b'{"name":"s-27","group":"standard#1"}', 1, "not ended by a newline"),
            (b"", 0, "the file is empty"),
        ],
    )
    def test_of_shops(self, content: bytes, line: int, words: str) -> None:
        path = shop_path("s-27")
        reading = read_placement(FILES | {path: content})
        assert (reading.problems[0].path, reading.problems[0].line) == (path, line)
        assert words in str(reading.problems[0])
        assert reading.placement.shop("hoge") == PLACEMENT.shop("hoge")

    def test_one_problem_for_each_group_that_is_not_there(self) -> None:
        reading = read_placement({path: content for path, content in FILES.items() if path.startswith("shops")})
        assert len(reading.problems) == 2
        assert not reading.placement.members
        twins = b"".join(b'{"name":"%b","group":"standard#9"}\n' % name.encode() for name in TWINS)
        problems = read_placement(FILES | {shop_path(TWINS[0]): twins}).problems
        assert "which s-27 and 1 more are in" in str(problems[0])

    @pytest.mark.parametrize("path", ["README.md", "shops/0AF.jsonl", "shops/0af", "groups/a/b.jsonl", "groups/.jsonl"])
    def test_files_that_it_does_not_have(self, path: str) -> None:
        assert [(each.path, each.line) for each in read_placement(FILES | {path: b"x"}).problems] == [(path, 0)]

    @given(
        st.binary(max_size=60) | st.sampled_from(sorted(FILES.values())).map(lambda text: text[:-9] + b"0" + text[-8:])
    )
    @settings(max_examples=200)
    def test_whatever_is_in_a_file_the_others_are_read(self, content: bytes) -> None:
        reading = read_placement(FILES | {shop_path("s-27"): content})
        assert reading.placement.shop("fuga") == PLACEMENT.shop("fuga")
        assert not reading.is_whole

    def test_unsorted_shops_are_found_nevertheless(self) -> None:
        content = b"".join(b'{"name":"%b","group":"standard#1"}\n' % name.encode() for name in reversed(TWINS))
        reading = read_placement(FILES | {shop_path(TWINS[0]): content})
        assert {reading.placement.members[name] for name in TWINS} == {"standard#1"}
        assert not reading.is_whole
