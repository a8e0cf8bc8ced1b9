"""Shops of files: what is right is read, what is wrong is named, and the rest goes on."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.api import InvalidValueError, Shop, normalise_host
from shopset.core.placement.shops import EdgeWish
from shopset.core.placement.tables import Table
from shopset.shops import _lines
from shopset.shops._building import host_of
from shopset.shops._plain import are_hosts, are_names
from shopset.shops.files import fingerprint, read_files

HEADER = "name,class,hosts,requestsPerSecond,connections,pins\n"
GOOD = "a,standard,a.example.com,,,\n"


def read(path: Path, content: str | bytes) -> tuple[Table, list[str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    reading = read_files(path, path.name)
    return reading.table, [str(problem) for problem in reading.problems]


def test_a_csv_file_is_read(tmp_path: Path) -> None:
    content = (
        "\ufeffhosts,name,pins,class,requestsPerSecond\r\n"
        "Hoge.Example.com *.hoge.example.com www.日本語.jp,hoge,b-1 c-1,standard,12.5\r\n"
        '"foo.example.com","foo","","single",""\r\n'
    )
    table, problems = read(tmp_path / "shops.csv", content)
    shops = table.shops
    assert problems == []
    assert shops.names == ["hoge", "foo"]
    assert shops.hosts == [
        ("hoge.example.com", "*.hoge.example.com", "www.xn--wgv71a119e.jp"),
        ("foo.example.com",),
    ]
    assert [shops.class_names[each] for each in shops.classes] == ["standard", "single"]
    np.testing.assert_equal(shops.demand, [[12.5, math.nan], [math.nan, math.nan]])
    assert shops.pins == {0: ("b-1", "c-1")}
    assert [table.place(row) for row in range(2)] == ["shops.csv:2", "shops.csv:3"]


def test_json_lines_are_read(tmp_path: Path) -> None:
    rows = [
        {"name": "hoge", "class": "standard", "hosts": ["Hoge.Example.com"], "requestsPerSecond": 2, "pins": ["b-1"]},
        {"name": "foo", "class": "single", "hosts": ["foo.example.com", "*.foo.example.com"], "connections": 4},
    ]
    table, problems = read(tmp_path / "shops.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    assert problems == []
    assert table.shops.names == ["hoge", "foo"]
    assert table.shops.hosts == [("hoge.example.com",), ("foo.example.com", "*.foo.example.com")]
    np.testing.assert_equal(table.shops.demand, [[2, math.nan], [math.nan, 4]])
    assert table.shops.pins == {0: ("b-1",)}
    assert table.place(1) == "shops.jsonl:2"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("b,standard\n", "there are 2 fields, and the header has 6: complete the line"),
        (
            "b,standard,b.example.com,,,,\n",
            "there are 7 fields, and the header has 6: put several hosts into one field",
        ),
        ("b,standard,b.example.com,nan,,\n", 'b: requestsPerSecond: "nan" is not a number: write one as in 12.5'),
        ("b,standard,b.example.com,-1,,\n", 'b: requestsPerSecond: "-1" is not more than 0: write one as in 12.5'),
        ("b,standard,b.example.com,0,,\n", 'b: requestsPerSecond: "0" is not more than 0: write what the shop needs'),
        ("b,standard,b.example.com,1e999,,\n", 'b: requestsPerSecond: "1e999" is too large: write what the shop needs'),
        ("b,standard,b.example.com,1_0,,\n", 'b: requestsPerSecond: "1_0" is not a number: write one'),
        ("b,standard,b.example.com,,1.5,\n", 'b: connections: "1.5" is not a whole number: write one as in 12'),
        ("b,standard,localhost,,,\n", 'b: hosts: "localhost" is not a host name: write a name as in'),
        ("b,standard,192.0.2.1,,,\n", 'b: hosts: "192.0.2.1" is an address: write a name as in'),
        ("b,standard,,,,\n", "b: hosts: is missing: add it"),
        ("b,standard,b.example.com B.example.com,,,\n", "b: hosts: b.example.com is there twice, once normalised"),
        ("b,,b.example.com,,,\n", "b: class: is missing: add it"),
        ("b,Standard,b.example.com,,,\n", 'b: class: "Standard" is not a name: use lower-case letters'),
        ("b,standard,b.example.com,,,B-1\n", 'b: pins: "B-1" is not a name: use lower-case letters'),
        (",standard,b.example.com,,,\n", "name: is missing: add it"),
        ("B,standard,b.example.com,,,\n", 'name: "B" is not a name: use lower-case letters'),
        ('b,standard,"b.example.com,,,\n', "the line ends inside of quotes: quote it as in RFC 4180"),
        ('b,standard,"b.example.com"x,,,\n', "the line has a quote where none may be: quote it as in RFC 4180"),
        (b"b,standard,\xff.example.com,,,\n", "byte 12 of the line is not UTF-8: save the file as UTF-8"),
    ],
)
def test_a_bad_line_of_csv_is_named_and_the_others_are_read(tmp_path: Path, line: str | bytes, problem: str) -> None:
    raw = line.encode() if isinstance(line, str) else line
    after = 'c,standard,"c.example.com",,,\n'
    table, problems = read(tmp_path / "shops.csv", HEADER.encode() + GOOD.encode() + raw + after.encode())
    assert table.shops.names == ["a", "c"]
    assert [table.place(row) for row in range(2)] == ["shops.csv:2", "shops.csv:4"]
    assert len(problems) == 1
    assert problems[0].startswith(f"shops.csv:3: {problem}") or problems[0].startswith(f"shops.csv:3: b: {problem}")
    # A shop that cannot be read is not one that was removed.
    assert table.unread == {"b"} or not table.is_whole


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("-5,,", 'limitRequestsPerSecond: "-5" is not more than 0: write one as in 12.5, or leave it empty'),
        (",1.5,", 'limitBurst: "1.5" is not a whole number: write one as in 12, or leave it empty'),
        (",0,", 'limitBurst: "0" is not more than 0'),
        (",,yes", 'maintenance: "yes" is neither true nor false: write one of the two'),
        (",,True", 'maintenance: "True" is neither true nor false: write one of the two'),
    ],
)
def test_a_bad_wish_of_the_edge_is_named_and_the_others_are_read(tmp_path: Path, fields: str, problem: str) -> None:
    lines = ("name,class,hosts,limitRequestsPerSecond,limitBurst,maintenance", f"b,c,b.example.com,{fields}")
    table, problems = read(tmp_path / "shops.csv", "\n".join((*lines, "d,c,d.example.com,4,,true\n")))
    assert (table.shops.names, table.shops.edge) == (["d"], {0: EdgeWish(4.0, None, maintenance=True)})
    assert table.unread == {"b"}
    assert len(problems) == 1
    assert problems[0].startswith(f"shops.csv:2: b: {problem}")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"name": "b", "class": "standard"}', "b: hosts: is missing: add it"),
        (
            '{"name": "b", "class": "standard", "hosts": "b.example.com"}',
            "b: hosts: is not as it should be: wanted is array, got str: correct it, or leave out what is not known",
        ),
        ('{"name": "b", "class": "standard", "hosts": []}', "b: hosts: is missing: add it"),
        (
            '{"name": "b", "class": "standard", "hosts": ["b.example.com"], "host": 1}',
            "b: host: there is no such field: did you mean hosts?",
        ),
        (
            '{"name": "b", "class": "standard", "hosts": ["b.example.com"], "requestsPerSecond": -1}',
            "b: requestsPerSecond: is not as it should be: wanted is float > 0.0: correct it, or leave out what is not known",
        ),
        (
            '{"name": "b", "class": "standard", "hosts": ["b.example.com"], "requestsPerSecond": NaN}',
            "the line is not JSON: JSON is malformed: invalid character (byte 84): write one object on each line, and NaN not at all",
        ),
        (
            '{"name": "b", "class": "standard", "hosts": ["b.example.com"], "maintenance": "yes"}',
            "b: maintenance: is not as it should be: wanted is bool, got str: correct it",
        ),
        (
            '{"name": "b", "class": "sta',
            "the line is not JSON: Input data was truncated: write one object on each line",
        ),
        ('[{"name": "b"}]', "is not as it should be: wanted is object, got array: correct it"),
    ],
)
def test_a_bad_line_of_json_is_named_and_the_others_are_read(tmp_path: Path, line: str, problem: str) -> None:
    good = '{"name": "%s", "class": "standard", "hosts": ["%s.example.com"]}\n'
    table, problems = read(tmp_path / "shops.jsonl", good % ("a", "a") + line + "\n" + good % ("c", "c"))
    assert table.shops.names == ["a", "c"]
    assert [table.place(row) for row in range(2)] == ["shops.jsonl:1", "shops.jsonl:3"]
    assert len(problems) == 1
    assert problems[0].startswith(f"shops.jsonl:2: {problem}")
    assert table.unread == {"b"} or not table.is_whole


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("shops.csv", "", "shops.csv:1: the file is empty: write name,class,hosts"),
        ("shops.csv", "name,class\n", "shops.csv:1: hosts: this column is missing: write name,class,hosts"),
        ("shops.csv", "name,class,host\n", "shops.csv:1: host: there is no such column: did you mean hosts?"),
        ("shops.csv", "name,class,hosts,name\n", "shops.csv:1: name: this column is there twice: keep one of the two"),
        ("shops.csv", HEADER.encode("utf-16"), "shops.csv:1: the file is UTF-16: save it as UTF-8"),
        ("shops.txt", GOOD, "shops.txt: it is not known what is in the file: let its name end in one of .yaml, .yml"),
        ("shops.yaml", "kind: Tier\n", 'shops.yaml:1:1: "Tier" is no Shop of shopset.dev/v1alpha1: keep only Shops'),
        ("shops.yaml", "a: [\n", "shops.yaml:2:1: this is no YAML"),
        ("shops.yaml", b"a: \xff\n", "shops.yaml:1: byte 4 is not UTF-8: save the file as UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_is_not_whole(
    tmp_path: Path, name: str, content: str | bytes, problem: str
) -> None:
    table, problems = read(tmp_path / name, content)
    assert not table.is_whole
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        reading = read_files(path, path.name)
        assert len(reading.problems) == 1
        assert not reading.table.is_whole
        assert reading.table.shops.names == []


def test_shops_of_yaml_have_the_places_of_their_fields(tmp_path: Path) -> None:
    shop = (
        "apiVersion: shopset.dev/v1alpha1\nkind: Shop\nmetadata: {name: %s}\nspec:\n  class: standard\n  hosts: [%s]\n"
    )
    demand = "  demand: {requestsPerSecond: 2.5}\n  pins: [b-1]\n"
    table, problems = read(
        tmp_path / "shops.yaml", shop % ("a", "A.example.com") + demand + "---\n" + shop % ("b", "localhost")
    )
    assert table.shops.names == ["a"]
    assert table.shops.hosts == [("a.example.com",)]
    assert table.shops.pins == {0: ("b-1",)}
    np.testing.assert_equal(table.shops.demand, [[2.5, math.nan]])
    assert table.place(0) == "shops.yaml:3"
    assert table.unread == {"b"}
    assert table.is_whole
    assert len(problems) == 1
    assert problems[0].startswith('shops.yaml:15:11: b: spec.hosts[0]: "localhost" is not a host name')


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    line = '{"name": "%s", "class": "standard", "hosts": ["%s.example.com"]}\n'
    for path, name in (("b/1.jsonl", "y"), ("a.jsonl", "x"), (".git/c.jsonl", "hidden"), ("notes.txt", "no")):
        (tmp_path / path).write_text(line % (name, name))
    (tmp_path / "c.csv").write_text(HEADER + "z,standard,z.example.com,,,\nw,standard,localhost,,,\n")
    reading = read_files(tmp_path, "shops/")
    table = reading.table
    assert table.shops.names == ["x", "y", "z"]
    assert [table.place(row) for row in range(3)] == ["shops/a.jsonl:1", "shops/b/1.jsonl:1", "shops/c.csv:2"]
    assert [problem.place for problem in reading.problems] == ["shops/c.csv:3"]


def test_the_fingerprint_changes_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + GOOD)
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    fresh = tmp_path / "fresh"
    fresh.write_text(HEADER + GOOD.replace("a", "b", 1))
    fresh.replace(path)
    assert fingerprint(tmp_path) != before
    (tmp_path / "b.csv").write_text(HEADER)
    assert len(fingerprint(tmp_path)) == 2


def test_a_last_line_without_an_end_is_read_with_a_warning(tmp_path: Path) -> None:
    table, problems = read(tmp_path / "shops.csv", HEADER + GOOD.rstrip("\n"))
    assert table.shops.names == ["a"]
    assert problems == [
        (
            "shops.csv:2: warning: the last line has no line break, so the file may have been cut off: see whether its end is"
            " missing, and end the line"
        )
    ]


def test_a_line_without_end_is_one_bad_line(tmp_path: Path) -> None:
    long = "b,standard," + "b" * (3 * _lines.LONGEST) + ",,,\n"
    for name, content in (
        ("shops.csv", HEADER + GOOD + long + GOOD.replace("a", "c")),
        (
            "shops.jsonl",
            '{"name": "a", "class": "s", "hosts": ["a.b"]}\n{"name": "'
            + long
            + '{"name": "c", "class": "s", "hosts": ["c.b"]}\n',
        ),
    ):
        table, problems = read(tmp_path / name, content)
        assert len(table) == 2
        assert (
            [problem.split(":")[1] for problem in problems] == [str(table.lines[0] + 1)]
            if table.lines is not None
            else []
        )
        assert "is longer than 1,048,576 bytes" in problems[0]


def test_one_bad_line_of_very_many_is_named(tmp_path: Path) -> None:
    count, bad = 100_000, 77_777
    lines = [f"shop-{number:06},standard,shop-{number:06}.example.com,1.5,2," for number in range(count)]
    lines[bad] = "shop-x,standard,not a host,1.5,2,"
    table, problems = read(tmp_path / "shops.csv", HEADER + "\n".join(lines) + "\n")
    assert len(table) == count - 1
    assert problems == [
        f'shops.csv:{bad + 2}: shop-x: hosts: "not" is not a host name: write a name as in shop.example.com or *.example.com',
        f'shops.csv:{bad + 2}: shop-x: hosts: "a" is not a host name: write a name as in shop.example.com or *.example.com',
        f'shops.csv:{bad + 2}: shop-x: hosts: "host" is not a host name: write a name as in shop.example.com or *.example.com',
    ]
    assert table.place(bad) == f"shops.csv:{bad + 3}"
    assert table.unread == {"shop-x"}


def test_very_many_bad_lines_are_counted(tmp_path: Path) -> None:
    table, problems = read(tmp_path / "shops.csv", HEADER + "".join(f"s{n},c,localhost,,,\n" for n in range(2500)))
    assert len(problems) == 1001
    assert problems[-1] == "shops.csv: 1,500 more shops cannot be read: mend those above first"
    assert len(table.unread) == 2500


labels = st.from_regex(r"[a-z0-9_-]{1,3}|xn--[a-z0-9]{1,4}|0x[0-9a-f]{0,2}|[A-Z]{1,2}|a{62,64}", fullmatch=True)
odd = st.sampled_from(["", " ", ":", "*", "é", "K", "。", "\t", "\n"])
hosts = st.builds(
    lambda star, parts, end: star + ".".join(parts) + end,
    st.sampled_from(["", "", "*.", "."]),
    st.lists(st.one_of(labels, labels, labels, odd), min_size=1, max_size=5),
    st.sampled_from(["", "", "", ".", ":80"]),
)


def normalised(text: str) -> str | None:
    try:
        return normalise_host(text)
    except InvalidValueError:
        return None


@given(hosts)
def test_hosts_are_normalised_as_the_resources_do(text: str) -> None:
    found: str | None
    try:
        found = host_of(text)
    except InvalidValueError:
        found = None
    assert found == normalised(text)


@given(st.lists(hosts, max_size=3))
def test_plain_hosts_are_as_they_are_normalised(texts: list[str]) -> None:
    if are_hosts(texts):
        assert texts == [normalised(text) for text in texts]


@given(st.lists(st.from_regex(r"[a-z0-9-]{0,3}|[A-Z\n_.é]|a{62,64}", fullmatch=True), max_size=3))
def test_plain_names_are_names(texts: list[str]) -> None:
    def is_name(name: str) -> bool:
        shop = {"metadata": {"name": name}, "spec": {"class": "a", "hosts": ["a.example.com"]}}
        try:
            return Shop.model_validate(shop).name == name
        except ValueError:
            return False

    assert are_names(texts) == all(map(is_name, texts))


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
good_hosts = st.from_regex(r"(\*\.)?[a-z0-9_]{1,3}(-[a-z0-9]{1,2})?(\.[a-z]{1,2}){1,2}", fullmatch=True)
shops = st.fixed_dictionaries(
    {"name": names, "class": names, "hosts": st.lists(good_hosts, min_size=1, max_size=3, unique=True)},
    optional={
        "requestsPerSecond": st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        "connections": st.integers(1, 10**15 - 1),
        "pins": st.lists(names, max_size=2),
        "limitRequestsPerSecond": st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        "limitBurst": st.integers(1, 10**15 - 1),
        "maintenance": st.booleans(),
    },
)


def expected(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            row["name"],
            row["class"],
            tuple(row["hosts"]),
            row.get("requestsPerSecond", None),
            row.get("connections", None),
            tuple(row.get("pins", ())),
            EdgeWish(row.get("limitRequestsPerSecond"), row.get("limitBurst"), row.get("maintenance", False)),
        )
        for row in rows
    ]


def taken(table: Table) -> list[tuple[Any, ...]]:
    known = table.shops
    return [
        (
            known.names[row],
            known.class_names[known.classes[row]],
            known.hosts[row],
            *(None if math.isnan(each) else each for each in known.demand[row].tolist()),
            known.pins.get(row, ()),
            known.edge.get(row, EdgeWish()),
        )
        for row in range(len(table))
    ]


@settings(max_examples=50)
@given(
    st.lists(shops, max_size=5), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"])
)
def test_what_is_written_as_csv_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], quoting: Any, end: str
) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=quoting, lineterminator=end)
    writer.writerow([*HEADER.strip().split(","), "limitRequestsPerSecond", "limitBurst", "maintenance"])
    for row in rows:
        number = row.get("requestsPerSecond")
        fields = [" ".join(row["hosts"]), number, row.get("connections"), " ".join(row.get("pins", ()))]
        limits = [row.get("limitRequestsPerSecond"), row.get("limitBurst")]
        fields += [*limits, {None: "", True: "true", False: "false"}[row.get("maintenance")]]
        writer.writerow([row["name"], row["class"], *fields])
    table, problems = read(tmp_path_factory.getbasetemp() / "trip.csv", file.getvalue())
    assert problems == []
    assert taken(table) == expected(rows)
    assert EdgeWish() not in table.shops.edge.values()


@settings(max_examples=50)
@given(st.lists(shops, max_size=5))
def test_what_is_written_as_json_lines_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    content = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    table, problems = read(tmp_path_factory.getbasetemp() / "trip.jsonl", content)
    assert problems == []
    assert taken(table) == expected(rows)


@given(st.binary(max_size=80), st.sampled_from(["csv", "jsonl", "yaml"]), st.booleans())
def test_whatever_is_in_a_file_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str, has_header: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    table, problems = read(path, HEADER.encode() * has_header + GOOD.encode() * has_header + content)
    assert len(table) == len(table.shops.hosts) == len(table.shops.classes) == len(table.shops.demand)
    if not table.is_whole or table.unread:
        assert problems
