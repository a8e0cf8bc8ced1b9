"""Shops of a table, on a real PostgreSQL."""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.api import InvalidValueError, normalise_host
from shopset.core.placement.shops import EdgeWish
from shopset.shops.postgresql import DatabaseError, TableReading, fingerprint, read_table
from support.postgresql import Server
from testbed.processes import wait_for

SHAPE = (
    "CREATE TABLE {} (name text PRIMARY KEY, class text NOT NULL, hosts text[] NOT NULL, requests_per_second double"
    " precision, connections integer, pins text[], created_at timestamptz, plan text,"
    " limit_requests_per_second double precision, limit_burst integer, maintenance boolean)"
)


def make(server: Server, table: str, *rows: str) -> None:
    server.execute(f"DROP TABLE IF EXISTS {table} CASCADE", SHAPE.format(table))
    for row in rows:
        server.execute(f"INSERT INTO {table} VALUES ({row})")  # noqa: S608  # the test's own rows


def told(reading: TableReading) -> list[str]:
    return [str(problem) for problem in reading.problems]


def test_a_table_is_read_with_all_its_columns(server: Server) -> None:
    make(
        server,
        "shops",
        "'hoge', 'standard', '{Hoge.Example.com, www.日本語.jp}', 12.5, 3, '{b-1,c-1}', '2026-11-01T09:00:00+09', 'gold'",
        "'foo', 'single', '{foo.example.com}', NULL, NULL, NULL, NULL, NULL",
        "'bar', 'single', '{bar.example.com}', NULL, NULL, NULL, NULL, NULL, 7.5, 20, false",
        "'baz', 'single', '{baz.example.com}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, true",
    )
    reading = read_table("public.shops", server.folder)
    table, shops = reading.table, reading.table.shops
    assert told(reading) == []
    assert table.is_whole
    assert shops.names == ["bar", "baz", "foo", "hoge"]
    assert shops.edge == {0: EdgeWish(7.5, 20), 1: EdgeWish(maintenance=True)}
    assert shops.hosts[2:] == [("foo.example.com",), ("hoge.example.com", "www.xn--wgv71a119e.jp")]
    assert [shops.class_names[each] for each in shops.classes[2:]] == ["single", "standard"]
    np.testing.assert_equal(shops.demand[2:], [[math.nan, math.nan], [12.5, 3]])
    assert shops.pins == {3: ("b-1", "c-1")}
    assert table.created is not None
    np.testing.assert_equal(table.created[2:], [math.nan, datetime(2026, 11, 1, tzinfo=UTC).timestamp()])
    assert table.place(0) == "public.shops"


def test_a_bad_row_is_named_and_the_others_are_read(server: Server) -> None:
    make(
        server,
        "shops",
        "'a', 'standard', '{a.example.com}', 'NaN', 0",
        "'b', 'standard', '{b.example.com,localhost}'",
        "'c', 'standard', '{}'",
        "'d', 'standard', '{d.example.com}', 1, 1",
        "'E', 'standard', '{e.example.com}'",
        "'f', 'standard', '{f.example.com,f.example.com}', '-Infinity'",
        "'h', 'standard', '{h.example.com}', NULL, NULL, NULL, NULL, NULL, 'Infinity', -1, true",
        r"'g', E'st\tan\\dard', ARRAY[E'g.exa\nmple.com,\"h\"']",
    )
    reading = read_table("shops", server.folder)
    assert reading.table.shops.names == ["d"]
    assert reading.table.unread == {"a", "b", "c", "f", "g", "h"}
    assert not reading.table.is_whole
    assert told(reading) == [
        "shops: name: \"E\" is not a name: use lower-case letters, digits and '-', beginning and ending with a letter or digit",
        'shops: a: requests_per_second: "NaN" is not a number: write one as in 12.5, or leave it empty',
        'shops: a: connections: "0" is not more than 0: write what the shop needs at its busiest, or leave it empty',
        'shops: b: hosts: "localhost" is not a host name: write a name as in shop.example.com or *.example.com',
        "shops: c: hosts: is missing: add it",
        "shops: f: hosts: f.example.com is there twice, once normalised: remove one of them",
        'shops: f: requests_per_second: "-Infinity" is not a number: write one as in 12.5, or leave it empty',
        (
            r'shops: g: hosts: "g.exa\nmple.com,\"h\"" is not a host name: '
            "write a name as in shop.example.com or *.example.com"
        ),
        (
            r'shops: g: class: "st\tan\\dard" is not a name: '
            "use lower-case letters, digits and '-', beginning and ending with a letter or digit"
        ),
        'shops: h: limit_requests_per_second: "Infinity" is not a number: write one as in 12.5, or leave it empty',
        'shops: h: limit_burst: "-1" is not more than 0: write one as in 12, or leave it empty',
    ]


def test_a_view_does_for_a_table_of_another_shape(server: Server) -> None:
    server.execute(
        "DROP TABLE IF EXISTS tenants CASCADE",
        "CREATE TABLE tenants (id integer, domain varchar(100))",
        "INSERT INTO tenants VALUES (7, 'seven.example.com')",
        "CREATE VIEW shop_view AS SELECT 'shop-' || id AS name, 'standard'::text AS class, ARRAY[domain] AS hosts FROM tenants",
    )
    reading = read_table("shop_view", server.folder)
    assert told(reading) == []
    assert reading.table.shops.names == ["shop-7"]
    before = fingerprint("shop_view", server.folder)
    assert fingerprint("shop_view", server.folder) == before
    server.execute("UPDATE tenants SET domain = 'eight.example.com'")
    assert fingerprint("shop_view", server.folder) != before


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO changing VALUES ('b', 'standard', '{b.example.com}')",
        "UPDATE changing SET class = 'single'",
        "DELETE FROM changing",
        "TRUNCATE changing",
    ],
)
def test_a_change_of_a_table_changes_its_fingerprint(server: Server, change: str) -> None:
    make(server, "changing", "'a', 'standard', '{a.example.com}'")
    wait_for("the counters of the insert", lambda: ":1:0:0" in fingerprint("changing", server.folder))
    before = fingerprint("changing", server.folder)
    assert fingerprint("changing", server.folder) == before
    server.execute(change)
    wait_for("the change", lambda: fingerprint("changing", server.folder) != before)


@pytest.mark.parametrize(
    ("statements", "table", "message"),
    [
        (("SELECT 1",), "nowhere.shops", "nowhere.shops: there is no table or view nowhere.shops: create it"),
        (("SELECT 1",), "a.b.c", 'a.b.c: "a.b.c" is not the name of a table: write it as in public.shops'),
        (
            ("DROP TABLE IF EXISTS odd", "CREATE TABLE odd (name text, class text, hosts text)"),
            "odd",
            "odd: hosts: this column is of the type text, where text[] is wanted: make a view with hosts::text[]",
        ),
        (
            ("DROP TABLE IF EXISTS odd", "CREATE TABLE odd (name text, hosts text[])"),
            "odd",
            "odd: class: this column is missing: add it as text, or make a view that has it",
        ),
        (
            (
                "CREATE OR REPLACE VIEW broken AS SELECT 'a'::text AS name,"  # noqa: ISC004  # one statement
                " (1 / (random() * 0)::int)::text AS class, '{}'::text[] AS hosts",
            ),
            "broken",
            "broken: the server says: division by zero: mend the table or view",
        ),
    ],
)
def test_a_table_that_cannot_be_read_says_what_to_do(
    server: Server, statements: tuple[str, ...], table: str, message: str
) -> None:
    server.execute(*statements)
    reading = read_table(table, server.folder)
    assert not reading.table.is_whole
    assert [each[: len(message)] for each in told(reading)] == [message]


def test_the_name_of_a_table_is_only_a_name(server: Server) -> None:
    make(server, "shops", "'a', 'standard', '{a.example.com}'")
    server.execute('DROP TABLE IF EXISTS "x; drop table shops"', SHAPE.format('"x; drop table shops"'))
    assert told(read_table("x; drop table shops", server.folder)) == []
    assert not read_table('shops"; DROP TABLE shops; --', server.folder).table.is_whole
    assert read_table("shops", server.folder).table.shops.names == ["a"]


def test_who_may_not_read_is_told_so(server: Server) -> None:
    make(server, "shops", "'a', 'standard', '{a.example.com}'")
    server.execute("DROP ROLE IF EXISTS nobody", "CREATE ROLE nobody LOGIN PASSWORD 'correct-horse'")
    reading = read_table("shops", server.secret_of("nobody", "correct-horse"))
    assert told(reading) == [
        "shops: the server says: permission denied for table shops: GRANT SELECT on it to this user"
    ]
    server.execute("GRANT SELECT ON shops TO nobody")
    assert told(read_table("shops", server.secret_of("nobody", "correct-horse"))) == []


def test_no_password_is_told(server: Server, tmp_path: Path) -> None:
    refused = read_table("shops", server.secret_of("owner", "hunter2hunter2"))
    assert "password authentication failed" in told(refused)[0]
    for uri in (
        f"postgresql://owner:hunter2hunter2@/postgres?host={tmp_path}",
        "postgresql://owner:hunter2hunter2%zz@localhost/postgres",
        "owner:hunter2hunter2@localhost",
    ):
        (tmp_path / "uri").write_text(uri)
        reading = read_table("shops", tmp_path)
        assert not reading.table.is_whole
        assert len(reading.problems) == 1
        assert "hunter2" not in told(reading)[0] + told(refused)[0]
        with pytest.raises(DatabaseError) as error:
            fingerprint("shops", tmp_path)
        assert "hunter2" not in str(error.value)


def test_a_secret_without_a_connection_is_told(tmp_path: Path) -> None:
    assert "give it a key `uri`, or PGHOST" in told(read_table("shops", tmp_path))[0]


hosts = st.one_of(
    st.from_regex(r"(\*\.)?[A-Za-z0-9_-]{1,4}(\.[a-z0-9-]{1,3}){0,2}(:[0-9]{2})?", fullmatch=True),
    st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=6),
)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.lists(hosts, max_size=3), st.none() | st.floats()), max_size=12))
def test_what_is_taken_of_a_table_is_what_a_resource_would_have(
    server: Server, rows: list[tuple[list[str], float | None]]
) -> None:
    server.execute(f"CREATE TABLE IF NOT EXISTS many{SHAPE.partition('{}')[2]}", "TRUNCATE many")
    with server.connect() as connection:
        for index, (given_hosts, demand) in enumerate(rows):
            connection.execute(
                "INSERT INTO many (name, class, hosts, requests_per_second) VALUES (%s, 'standard', %s, %s)",
                (f"s{index:02}", given_hosts, demand),
            )
    found = read_table("many", server.folder).table
    expected = {
        f"s{index:02}": normal
        for index, (given_hosts, demand) in enumerate(rows)
        if (normal := normalised(given_hosts)) and (demand is None or 0 < demand < math.inf)
    }
    assert dict(zip(found.shops.names, found.shops.hosts, strict=True)) == expected
    assert found.unread == {f"s{index:02}" for index in range(len(rows))} - expected.keys()
    stated = {name: rows[int(name[1:])][1] for name in expected}
    for name, demand in zip(found.shops.names, found.shops.demand[:, 0].tolist(), strict=True):
        assert demand == stated[name] or (math.isnan(demand) and stated[name] is None)


def normalised(given_hosts: list[str]) -> tuple[str, ...] | None:
    """Return the hosts as a Shop resource has them; None where it is refused."""
    try:
        found = tuple(normalise_host(host) for host in given_hosts)
    except InvalidValueError:
        return None
    return found if len(set(found)) == len(found) else None
