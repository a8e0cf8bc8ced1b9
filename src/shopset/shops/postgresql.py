"""Shops of a table or view of PostgreSQL, read by COPY in one read-only transaction."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString

import numpy as np
import psycopg
from psycopg import sql
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait

from shopset.api import redact
from shopset.api.errors import quoted
from shopset.core.errors import ShopsetError
from shopset.core.placement.tables import ShopProblem, Table
from shopset.shops._building import Builder, EdgeColumns

_TIMEOUT: Final = 120
"""Seconds that one statement may take."""
_CONNECT: Final = 10
_ROWS: Final = 4096
_TEXT: Final = frozenset({"text", "character varying", "character"})
_TEXTS: Final = frozenset(f"{each}[]" for each in _TEXT)
_NUMBERS: Final = frozenset({"double precision", "real", "numeric", "integer", "bigint", "smallint"})
_COUNTS: Final = frozenset({"integer", "bigint", "smallint"})
_TRUTHS: Final = frozenset({"boolean"})
_TIMES: Final = frozenset({"timestamp with time zone"})
_COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    "name": _TEXT,
    "class": _TEXT,
    "hosts": _TEXTS,
    "requests_per_second": _NUMBERS,
    "connections": _COUNTS,
    "pins": _TEXTS,
    "created_at": _TIMES,
    "limit_requests_per_second": _NUMBERS,
    "limit_burst": _COUNTS,
    "maintenance": _TRUTHS,
}
_PREFERRED: Final = {
    "name": "text",
    "class": "text",
    "hosts": "text[]",
    "pins": "text[]",
    "connections": "integer",
    "limit_burst": "integer",
}
_REQUIRED: Final = ("name", "class", "hosts")
_CALLED: Final = {each: each for each in _COLUMNS} | {
    "requestsPerSecond": "requests_per_second",
    "limitRequestsPerSecond": "limit_requests_per_second",
    "limitBurst": "limit_burst",
}
_KEYS: Final = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
}
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ELEMENT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,]+)', re.DOTALL)
_ONE: Final = 3
"""The least characters of an array that has an element."""
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


class DatabaseError(ShopsetError):
    """A table that cannot be read as a whole."""

    def __init__(self, message: str, advice: str, field: str = "") -> None:
        super().__init__(f"{message}: {advice}")
        self.message = message
        self.advice = advice
        self.field = field


@dataclass(frozen=True)
class TableReading:
    """What was read of a table."""

    table: Table
    problems: tuple[ShopProblem, ...]


def read_table(name: str, secret: Path | None) -> TableReading:
    """Read the shops of a table or view, sorted by name. Never raises: what is wrong is a problem.

    `secret` is the folder of a Secret with `uri`, or with PGHOST and so on, a file each; without one, libpq takes the
    connection from where it always does.
    """
    builder = Builder(name, lambda _: name, _CALLED)
    try:
        with _connected(secret) as connection:
            columns = _columns(connection, name)
            _copy(connection, name, columns, builder)
    except DatabaseError as error:
        builder.is_whole = False
        builder.problems.append(ShopProblem(name, "", error.field, error.message, error.advice))
    return TableReading(builder.table(), tuple(builder.problems))


def fingerprint(name: str, secret: Path | None) -> str:
    """Return what changes, within seconds, when the content of a table changes. Raises DatabaseError.

    Of a table these are PostgreSQL's own counters of rows written; of a view, or where nothing is counted, a hash that
    the server computes over all rows.
    """
    with _connected(secret) as connection:
        columns = _columns(connection, name)
        table = _identifier(name)
        counted = connection.execute(_COUNTERS, {"name": table.as_string(connection)}).fetchone()
        if counted is not None and counted[0]:
            return "counters:" + ":".join(map(str, counted[1:]))
        chosen = sql.SQL(", ").join(map(sql.Identifier, columns))
        query = sql.SQL("SELECT count(*), sum(hashtextextended(shop::text, 0)) FROM (SELECT {} FROM {}) AS shop")
        found = connection.execute(query.format(chosen, table)).fetchone()
        return "hash:" + ":".join(map(str, found or ()))


_COUNTERS: Final = """
SELECT bool_and(relkind = 'r') AND NOT pg_is_in_recovery() AND current_setting('track_counts')::bool
       AND NOT bool_or(relrowsecurity),
       pg_postmaster_start_time(), string_agg(oid || '.' || relfilenode, ',' ORDER BY oid),
       sum(pg_stat_get_tuples_inserted(oid)), sum(pg_stat_get_tuples_updated(oid)), sum(pg_stat_get_tuples_deleted(oid))
FROM pg_class
WHERE oid IN (SELECT to_regclass(%(name)s) UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(%(name)s))
"""


@contextmanager
def _connected(secret: Path | None) -> Iterator[psycopg.Connection[Any]]:
    """Connect, and translate whatever the server or the network says."""
    parameters = {} if secret is None else _parameters(secret)
    hidden: list[str] = []
    try:
        conninfo = make_conninfo(
            parameters.pop("uri", ""), **parameters, connect_timeout=_CONNECT, application_name="shopset"
        )
        hidden += [str(value) for key, value in conninfo_to_dict(conninfo).items() if key == "password" and value]
        with psycopg.connect(conninfo) as connection:
            connection.read_only = True
            connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(_TIMEOUT * 1000))
            yield connection
    except psycopg.Error as error:
        raise _translated(error, hidden) from None


def _parameters(secret: Path) -> dict[str, str]:
    """Return the parameters of a connection as the files of a Secret have them now."""
    found = {}
    try:
        for file, name in {"uri": "uri", **_KEYS}.items():
            if (secret / file).exists():
                found[name] = (secret / file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"the Secret {secret.name} cannot be read: {type(error).__name__}"
        raise DatabaseError(message, "mend its mount") from None
    if not found:
        message = f"the Secret {secret.name} has no connection"
        raise DatabaseError(message, f"give it a key `uri`, or {', '.join(_KEYS)}, a key each")
    return found


def _translated(error: psycopg.Error, hidden: Sequence[str]) -> DatabaseError:
    """Return what to tell a person; nothing of it is a password."""
    said = " ".join((error.diag.message_primary or str(error)).split())
    for each in hidden:
        said = said.replace(each, "…")
    said = redact(said)
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        # The parser of connection strings quotes what it does not understand, passwords too.
        return DatabaseError(
            "the connection is not written as it should be", "write `uri` as in postgresql://user@host/db"
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return DatabaseError(f"the server says: {said}", "GRANT SELECT on it to this user")
    if isinstance(error, psycopg.errors.QueryCanceled):
        return DatabaseError(f"reading took longer than {_TIMEOUT} s", "name a table, or a view that is sooner read")
    if isinstance(error, psycopg.errors.InvalidPassword | psycopg.errors.InvalidAuthorizationSpecification):
        return DatabaseError(f"the server refuses the user: {said}", "correct the user and its password in the Secret")
    if isinstance(error, psycopg.OperationalError):
        advice = "see that PostgreSQL runs there, and that host, port, user and password are right"
        return DatabaseError(f"the server cannot be reached: {said}", advice)
    return DatabaseError(f"the server says: {said}", "mend the table or view")


def _identifier(name: str) -> sql.Identifier:
    """Return a table's name, with or without its schema, as SQL; whatever is in it is taken as a name."""
    parts = name.split(".")
    if len(parts) > 2 or not all(parts):
        raise DatabaseError(f"{quoted(name)} is not the name of a table", "write it as in public.shops")
    return sql.Identifier(*parts)


def _columns(connection: psycopg.Connection[Any], name: str) -> list[str]:
    """Return those columns of a table that shops have. Raises DatabaseError where it has not the shape that it should."""
    query = """
        SELECT attname, format_type(CASE typtype WHEN 'd' THEN typbasetype ELSE atttypid END, NULL)
        FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
        WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"""
    found = dict(connection.execute(query, (_identifier(name).as_string(connection),)).fetchall())
    if not found:
        message = f"there is no table or view {name}"
        raise DatabaseError(message, "create it (docs/shops.md has its shape), or correct `table`; upper case counts")
    for column in _REQUIRED:
        if column not in found:
            raise DatabaseError(
                "this column is missing", f"add it as {_PREFERRED[column]}, or make a view that has it", column
            )
    for column, types in _COLUMNS.items():
        if column in found and found[column] not in types:
            wanted = _PREFERRED.get(column, min(types))
            message = f"this column is of the type {found[column]}, where {wanted} is wanted"
            raise DatabaseError(message, f"make a view with {column}::{wanted}", column)
    return [column for column in _COLUMNS if column in found]


def _expression(column: str) -> sql.Composable:
    """Return the SQL by which a column is copied: text that is never NULL."""
    forms: dict[str, LiteralString] = {"created_at": "coalesce(extract(epoch FROM {})::text, 'NaN')"}
    return sql.SQL(forms.get(column, "coalesce({}::text, '')")).format(sql.Identifier(column))


def _copy(connection: psycopg.Connection[Any], name: str, columns: Sequence[str], builder: Builder) -> None:
    expressions = sql.SQL(", ").join(map(_expression, columns))
    # Sorted as Python sorts, so that of two rows with one name it is always the same that is taken.
    query = sql.SQL('SELECT {} FROM {} ORDER BY name COLLATE "C"').format(expressions, _identifier(name))
    statement = sql.SQL("COPY ({}) TO STDOUT (ENCODING 'UTF8')").format(query)
    with connection.cursor() as cursor, cursor.copy(statement):
        goes_on = True
        while goes_on:
            block, goes_on = connection.wait(_next_rows(connection.pgconn))
            if block:
                _take(block.decode(), columns, builder)


def _next_rows(server: PGconn) -> PQGen[tuple[bytes, bool]]:
    """Return the next rows of a COPY, and whether others may follow.

    psycopg's own loop waits for each row by itself, which takes longer than all else.
    """
    rows: list[memoryview] = []
    while len(rows) < _ROWS:
        size, row = server.get_copy_data(1)
        if size > 0:
            rows.append(row)
        elif size < 0:
            # How it ended is there already, or follows at once.
            while (result := server.get_result()) is not None:
                if result.status != ExecStatus.COMMAND_OK:
                    raise psycopg.errors.error_from_result(result)
            return b"".join(rows), False
        else:
            while not (yield Wait.R):
                pass
            server.consume_input()
    return b"".join(rows), True


def _take(text: str, columns: Sequence[str], builder: Builder) -> None:
    """Add the rows of COPY's text format."""
    lines = text.split("\n")[:-1]
    fields = "\t".join(lines).split("\t")
    found: dict[str, list[str]] = {column: fields[at :: len(columns)] for at, column in enumerate(columns)}
    if "\\" in text:
        found = {column: [_unescaped(field) for field in values] for column, values in found.items()}
    lists = {column: _arrays(found[column]) for column in ("hosts", "pins") if column in found}
    builder.add(
        found["name"],
        found["class"],
        lists["hosts"],
        found.get("requests_per_second"),
        found.get("connections"),
        lists.get("pins"),
        np.zeros(len(lines), np.int32),
        np.array(found["created_at"], np.float64) if "created_at" in found else None,
        EdgeColumns(found.get("limit_requests_per_second"), found.get("limit_burst"), found.get("maintenance")),
    )


def _arrays(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the elements of arrays as PostgreSQL writes them; nothing of NULL."""
    if not any(texts):
        return [()] * len(texts)
    # Nearly all have one element.
    return [_elements(text) if "," in text or '"' in text or len(text) < _ONE else (text[1:-1],) for text in texts]


def _elements(array: str) -> tuple[str, ...]:
    inside = array[1:-1]
    if '"' in inside:
        found = _ELEMENT.finditer(inside)
        return tuple(_ESCAPED.sub(r"\1", match[1]) if match[2] is None else match[2] for match in found)
    return tuple(inside.split(",")) if inside else ()


def _unescaped(field: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[1], match[1]), field) if "\\" in field else field
