"""The files of `edge/`: one content for the same facts, what is as usual left out, and each kind of damage named."""

import json
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shopset.core.placement.edges import (
    NO_EDGE,
    EdgeClass,
    EdgeFacts,
    EdgeHealth,
    EdgeSettings,
    EdgeShop,
    EdgeShopSet,
    RateLimit,
)
from shopset.core.placement.formats import (
    PlacementReading,
    difference,
    dump_placement,
    facts_of,
    read_file,
    read_placement,
    schema,
)
from shopset.core.placement.placements import Group, PlacedShop, Placement

SETTINGS, SHOPSETS, CLASSES, SHOPS = (f"edge/{name}.jsonl" for name in ("settings", "shopsets", "classes", "shops"))
SCHEMAS = {SETTINGS: "edge-settings", SHOPSETS: "edge-shopset", CLASSES: "edge-class", SHOPS: "edge-shop"}
GROUPS = (Group("standard#", "standard", ("a-1", "b-1")),)
PLACED = (PlacedShop("hoge", "standard#", ("hoge.example.com",)),)

names = st.sampled_from(("a-1", "a-2", "b-1", "hoge", "standard"))
rates = st.floats(0.001, 1e9, allow_nan=False)
paths = st.sampled_from(("/", "/cart", "/checkout/v2", "/~x._-"))
limits = st.builds(RateLimit, st.none() | rates, st.integers(0, 10**6))
urls = st.sampled_from(
    ("https://a-1.example.com", "http://10.0.0.1:8080", "https://[2001:db8::1]:443", "http://x:65535")
)
healths = st.builds(
    EdgeHealth,
    paths,
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 10**6),
)
settings = st.just(EdgeSettings()) | st.builds(
    EdgeSettings,
    healths,
    limits,
    st.lists(paths, max_size=3).map(tuple),
    st.sampled_from(("None", "Https")),
)
shopsets = st.builds(
    EdgeShopSet, names, urls, st.just("") | names, st.just("") | names, st.none() | st.integers(1, 999)
)
classes = st.builds(
    lambda name, limit, weights, overload, canaries, replicas: EdgeClass(
        name, limit, weights, overload, canaries, 5 if canaries else 0, replicas
    ),
    names,
    limits,
    st.sampled_from(((), (100,), (50, 50), (70, 20, 10))),
    st.sampled_from(("Refuse", "Spill")),
    st.lists(names, max_size=2, unique=True).map(tuple),
    st.integers(1, 16),
)
special = st.builds(EdgeShop, names, st.none() | limits, st.booleans()).filter(lambda shop: shop != EdgeShop(shop.name))


def tables(rows: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return mappings by name, in any order."""
    return st.lists(rows, max_size=4, unique_by=lambda row: row.name).map(
        lambda found: {row.name: row for row in found}
    )


facts = st.builds(EdgeFacts, settings, tables(shopsets), tables(classes), tables(special))


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each.capitalize() for each in others)


def said(value: Any, usual: Any) -> Any:
    """Write by the words of docs/formats.md, without shopset's own writer."""
    if not is_dataclass(value):
        return value
    if usual is None:
        usual = RateLimit()
    found = {field.name: (getattr(value, field.name), getattr(usual, field.name)) for field in fields(value)}
    return {
        camel(name): said(mine, default)
        for name, (mine, default) in found.items()
        if mine != default or name in ("name", "endpoint")
    }


def expected_files(one: EdgeFacts) -> dict[str, bytes]:
    rows: dict[str, list[Any]] = {
        SETTINGS: [said(one.settings, EdgeSettings())],
        SHOPSETS: [said(one.shopsets[name], EdgeShopSet("", "")) for name in sorted(one.shopsets)],
        CLASSES: [said(one.classes[name], EdgeClass("")) for name in sorted(one.classes)],
        SHOPS: [said(one.shops[name], EdgeShop("")) for name in sorted(one.shops)],
    }
    return {path: b"".join(map(line, found)) for path, found in rows.items() if found and found != [{}]}


def line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


class TestWriting:
    @given(one=facts)
    def test_files_are_those_that_are_documented(self, one: EdgeFacts) -> None:
        files = dump_placement(Placement.of((), (), one))
        assert {path: _parsed(content) for path, content in files.items()} == {
            path: _parsed(content) for path, content in expected_files(one).items()
        }
        assert read_placement(files) == PlacementReading(Placement.of((), (), one))
        assert facts_of([read_file(path, content) for path, content in files.items()]) == one

    @given(one=facts)
    def test_lines_fit_their_schemas(self, one: EdgeFacts) -> None:
        for path, content in dump_placement(Placement.of((), (), one)).items():
            validator = Draft202012Validator(schema(SCHEMAS[path]))
            for value in _parsed(content):
                validator.validate(value)

    @given(one=facts, two=facts)
    def test_a_difference_has_only_what_changes(self, one: EdgeFacts, two: EdgeFacts) -> None:
        before, after = (Placement.of(GROUPS, PLACED, each) for each in (one, two))
        files, new = dump_placement(before), dump_placement(after)
        change = difference(before, after)
        kept = {path: content for path, content in {**files, **change.writes}.items() if path not in change.deletes}
        assert kept == new
        assert all(path.startswith("edge/") and files.get(path) != change.writes[path] for path in change.writes)
        assert change.before == {path: files[path] for path in change.writes if path in files}

    def test_fleets_without_an_edge_have_no_such_files(self) -> None:
        plain = Placement.of(GROUPS, PLACED)
        assert plain.edge == NO_EDGE
        assert not any(path.startswith("edge/") for path in dump_placement(plain))

    def test_lines(self) -> None:
        one = EdgeFacts(
            EdgeSettings(EdgeHealth(interval=200), RateLimit(50.0, 100), ("/pay",), "Https"),
            {"b-1": EdgeShopSet("b-1", "http://b:80", "prod", "b", 400), "a-1": EdgeShopSet("a-1", "http://a:80")},
            {"standard": EdgeClass("standard", RateLimit(20.0), (70, 30), "Spill", ("c-1",), 5, 2)},
            {"hoge": EdgeShop("hoge", RateLimit(5.0, 10)), "piyo": EdgeShop("piyo", maintenance=True)},
        )
        assert dump_placement(Placement.of((), (), one)) == {
            SETTINGS: b'{"health":{"interval":200},"clients":{"requestsPerSecond":50.0,"burst":100},'
            b'"lanes":["/pay"],"redirect":"Https"}\n',
            SHOPSETS: b'{"name":"a-1","endpoint":"http://a:80"}\n'
            b'{"name":"b-1","endpoint":"http://b:80","tier":"prod","cluster":"b","concurrency":400}\n',
            CLASSES: b'{"name":"standard","limit":{"requestsPerSecond":20.0},"weights":[70,30],"overload":"Spill",'
            b'"canaries":["c-1"],"canaryPercent":5,"replicas":2}\n',
            SHOPS: b'{"name":"hoge","limit":{"requestsPerSecond":5.0,"burst":10}}\n'
            b'{"name":"piyo","maintenance":true}\n',
        }

    def test_changes_of_shops_leave_the_facts(self) -> None:
        one = EdgeFacts(shopsets={"a-1": EdgeShopSet("a-1", "http://a:80")})
        placement = Placement.of(GROUPS, PLACED, one)
        for after in (
            placement.with_shops([PlacedShop("fuga", "standard#")]),
            placement.without_shops(["hoge"]),
            placement.with_groups([Group("large#", "large", ())]),
        ):
            assert after.edge is one
        assert placement.with_edge(EdgeFacts(shopsets=dict(one.shopsets))) is placement
        assert placement.with_edge(NO_EDGE) == Placement.of(GROUPS, PLACED)


def _parsed(content: bytes) -> list[Any]:
    assert content.endswith(b"\n")
    return [json.loads(each) for each in content.splitlines()]


A1 = b'{"name":"a-1","endpoint":"http://a:80"}\n'


class TestDamage:
    @pytest.mark.parametrize(
        ("path", "content", "number", "words"),
        [
            (SETTINGS, b"{}\n", 1, "remove the file"),
            (SETTINGS, b"", 0, "the file is empty"),
            (SETTINGS, b'{"redirect":"None"}\n', 1, "remove the file"),
            (SETTINGS, b'{"redirect":"Https"}\n{"redirect":"Https"}\n', 2, "is there twice"),
            (SETTINGS, b'{"health":{"interval":0}}\n', 1, ">= 1"),
            (SETTINGS, b'{"health":{"interval":80,"fall":3}}\n', 1, 'not written as {"health":{"fall":3}}'),
            (SETTINGS, b'{"health":{"path":"/a b"}}\n', 1, "matching regex"),
            (SETTINGS, b'{"lanes":["cart"]}\n', 1, "matching regex"),
            (SETTINGS, b'{"redirect":"http"}\n', 1, "Invalid enum value"),
            (SHOPSETS, b'{"name":"a-1"}\n', 1, "missing required field `endpoint`"),
            (SHOPSETS, b'{"name":"a-1","endpoint":"http://a:80","weight":1}\n', 1, "unknown field `weight`"),
            (SHOPSETS, b'{"name":"a-1","endpoint":"http://a:80/path"}\n', 1, "matching regex"),
            (SHOPSETS, b'{"name":"a-1","endpoint":"http://a:80 check"}\n', 1, "matching regex"),
            (SHOPSETS, b'{"name":"a-1","endpoint":"http://a\\n"}\n', 1, "matching regex"),
            (SHOPSETS, b'{"name":"a-1","endpoint":"http://a:65536"}\n', 1, "a port beyond"),
            (SHOPSETS, b'{"name":"a-1","endpoint":"http://a:0"}\n', 1, "a port beyond"),
            (SHOPSETS, b'{"name":"a-1","endpoint":"ftp://a"}\n', 1, "matching regex"),
            (SHOPSETS, b'{"name":"A","endpoint":"http://a"}\n', 1, "matching regex"),
            (SHOPSETS, b'{"name":"b","endpoint":"http://b"}\n' + A1, 2, "sorted by name"),
            (SHOPSETS, A1 + A1, 2, "'a-1' is there twice"),
            (SHOPSETS, A1[:-1], 1, "not ended by a newline"),
            (SHOPSETS, b'{"name":"a-1","endpoint":"http://a:80","concurrency":0}\n', 1, ">= 1"),
            (CLASSES, b'{"name":"x","weights":[50,40]}\n', 1, "a sum of 90"),
            (CLASSES, b'{"name":"x","canaryPercent":5}\n', 1, "or neither"),
            (CLASSES, b'{"name":"x","canaries":["a"]}\n', 1, "or neither"),
            (CLASSES, b'{"name":"x","canaries":["a","a"],"canaryPercent":5}\n', 1, "the canary 'a' twice"),
            (CLASSES, b'{"name":"x","limit":{"requestsPerSecond":0}}\n', 1, "> 0"),
            (CLASSES, b'{"name":"x","limit":{"requestsPerSecond":5}}\n', 1, '"requestsPerSecond":5.0'),
            (CLASSES, b'{"name":"x","replicas":1}\n', 1, 'not written as {"name":"x"}'),
            (SHOPS, b'{"name":"x"}\n', 1, "nothing is special about 'x'"),
            (SHOPS, b'{"name":"x","maintenance":false}\n', 1, "nothing is special about 'x'"),
            (SHOPS, b'{"name":"x","maintenance":null}\n', 1, "Expected `bool`"),
            ("edge/other.jsonl", b"x", 0, "no file of it has such a path"),
        ],
    )
    def test_it_is_named(self, path: str, content: bytes, number: int, words: str) -> None:
        whole = dump_placement(Placement.of(GROUPS, PLACED, EdgeFacts(shopsets={"x": EdgeShopSet("x", "http://x")})))
        reading = read_placement(whole | {path: content})
        assert [(each.path, each.line) for each in reading.problems] == [(path, number)]
        assert words in str(reading.problems[0])
        assert reading.placement.shop("hoge") is not None

    def test_what_is_right_is_read_all_the_same(self) -> None:
        found = read_file(SHOPSETS, b'{"name":"b","endpoint":"x"}\n' + A1)
        assert found.edge == EdgeFacts(shopsets={"a-1": EdgeShopSet("a-1", "http://a:80")})
        assert len(found.problems) == 1
