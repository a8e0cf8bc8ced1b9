"""CSV and JSON lines: a shop a line, so that a bad line is bad for itself alone."""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, BinaryIO, Final

import msgspec
import numpy as np

from shopset.core.explaining import suggest
from shopset.core.placement.tables import ShopProblem
from shopset.shops._building import Builder, EdgeColumns, words_of
from shopset.shops._lines import LONGEST, Block, read_blocks

_REQUIRED: Final = ("name", "class", "hosts")
_OPTIONAL: Final = ("requestsPerSecond", "connections", "pins")
_OF_EDGE: Final = ("limitRequestsPerSecond", "limitBurst", "maintenance")
_NO_SEPARATORS: Final = bytes(set(range(256)) - set(b",\n"))
NAMES: Final = {name: name for name in (*_REQUIRED, *_OPTIONAL, *_OF_EDGE)}
_TOO_LARGE: Final = f"field larger than field limit ({csv.field_size_limit()})"
_HEADER: Final = "write name,class,hosts and, where they are known, requestsPerSecond,connections,pins"


class FileError(Exception):
    """Why a whole file cannot be read."""

    def __init__(self, line: int, field: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.line = line
        self.field = field
        self.message = message
        self.advice = advice


def read_csv(file: BinaryIO, builder: Builder) -> None:
    """Read shops of a CSV file (RFC 4180, in UTF-8) with a header. Raises FileError and OSError."""
    columns: list[str] = []
    for block in read_blocks(file):
        if columns and (fields := _plain_fields(block, len(columns))):
            plain = range(block.first, block.first + len(fields) // len(columns))
            _add(columns, plain, [fields[at :: len(columns)] for at in range(len(columns))], builder)
            continue
        numbers, lines = _decoded(block, builder)
        if not columns:
            columns = _header(numbers, lines)
            numbers, lines = numbers[1:], lines[1:]
        _take_csv(columns, numbers, lines, builder)
    if not columns:
        raise FileError(1, "", "the file is empty", f"{_HEADER} into its first line")


def _header(numbers: Sequence[int], lines: Sequence[str]) -> list[str]:
    if not lines or numbers[0] != 1:
        raise FileError(1, "", "the header cannot be read", _HEADER)
    columns = _split(lines[0])
    if isinstance(columns, str):
        raise FileError(1, "", f"the header {columns}", _HEADER)
    for column in columns:
        if column not in NAMES:
            raise FileError(1, column, "there is no such column", suggest(column, list(NAMES)))
        if columns.count(column) > 1:
            raise FileError(1, column, "this column is there twice", "keep one of the two")
    for column in _REQUIRED:
        if column not in columns:
            raise FileError(1, column, "this column is missing", _HEADER)
    return columns


def _plain_fields(block: Block, columns: int) -> list[str] | None:
    """Return all fields of a block, line by line, if nothing is quoted and each line has as many as it should.

    One list for all is made sooner than one for each line.
    """
    content = block.content.replace(b"\r\n", b"\n")
    lines = content.count(b"\n")
    if not block.is_ended or b'"' in content or len(content) > LONGEST:
        return None
    if content.translate(None, _NO_SEPARATORS) != (b"," * (columns - 1) + b"\n") * lines:
        return None
    try:
        return content[:-1].replace(b"\n", b",").decode().split(",")
    except UnicodeDecodeError:
        return None


def _take_csv(columns: Sequence[str], numbers: Sequence[int], lines: Sequence[str], builder: Builder) -> None:
    rows = [
        (number, _split(line) if '"' in line else line.split(",")) for number, line in zip(numbers, lines, strict=True)
    ]
    fitting = [(number, row) for number, row in rows if _is_row(columns, number, row, builder)]
    if fitting:
        found = [[row[at] for _, row in fitting] for at in range(len(columns))]
        _add(columns, [number for number, _ in fitting], found, builder)


def _add(columns: Sequence[str], numbers: Sequence[int], found: Sequence[list[str]], builder: Builder) -> None:
    taken = dict(zip(columns, found, strict=True))
    optional = (taken.get(column) for column in _OPTIONAL)
    edge = EdgeColumns(*(taken.get(column) for column in _OF_EDGE))
    hosts = words_of(taken["hosts"])
    lines = np.array(numbers, np.int32)
    builder.add(taken["name"], taken["class"], hosts, *optional, lines, None, edge)  # type: ignore[arg-type, call-arg]


def _is_row(columns: Sequence[str], number: int, row: list[str] | str, builder: Builder) -> bool:
    """Tell whether a row has a field for each column. Empty lines are none, and nothing is wrong with them."""
    if row == [""] and len(columns) > 1:
        return False
    if isinstance(row, list) and len(row) == len(columns):
        return True
    message, advice = f"the line {row}", "quote it as in RFC 4180: each quote inside of a field is doubled"
    if isinstance(row, list):
        message = f"there are {len(row)} fields, and the header has {len(columns)}"
        advice = "put several hosts into one field, with spaces between them"
        if len(row) < len(columns):
            advice = "complete the line; fields that are not known are left empty, with their commas"
    at = columns.index("name")
    refuse(builder, number, row[at] if isinstance(row, list) and at < len(row) else "", "", message, advice)
    return False


def _split(line: str) -> list[str] | str:
    """Return the fields of a line with quotes, or what is wrong with the quotes."""
    try:
        # Strict, or a field with a forgotten quote would go on to the end of the file.
        return next(csv.reader((line,), strict=True))
    except csv.Error as error:
        known = {"unexpected end of data": "ends inside of quotes", _TOO_LARGE: "has a field that is too large"}
        return known.get(str(error), "has a quote where none may be")


def _decoded(block: Block, builder: Builder) -> tuple[Sequence[int], list[str]]:
    """Return the lines that are text and their numbers."""
    raw = block.lines()
    numbers: Sequence[int] = range(block.first, block.first + len(raw))
    if not block.is_ended:
        warn_of_the_end(builder, block.first + len(raw) - 1)
    if max(map(len, raw), default=0) <= LONGEST:
        try:
            return numbers, b"\n".join(raw).decode().split("\n") if raw else []
        except UnicodeDecodeError:
            pass
    found = [(number, text) for number, line in zip(numbers, raw, strict=True) for text in _text(number, line, builder)]
    return [number for number, _ in found], [text for _, text in found]


def _text(number: int, line: bytes, builder: Builder) -> Iterator[str]:
    if len(line) > LONGEST:
        refuse(builder, number, "", "", f"the line is longer than {LONGEST:,} bytes", "a shop is one line; split it")
        return
    try:
        yield line.decode()
    except UnicodeDecodeError as error:
        if number == 1 and line[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            raise FileError(1, "", "the file is UTF-16", "save it as UTF-8") from error
        message = f"byte {error.start + 1} of the line is not UTF-8"
        refuse(builder, number, "", "", message, "save the file as UTF-8")


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """One line of JSON. Tuples, for the garbage collector goes through lists again and again."""

    name: str
    class_: str = msgspec.field(name="class")
    hosts: tuple[str, ...]
    requests_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    connections: Annotated[int, msgspec.Meta(gt=0, lt=10**15)] | None = None
    pins: tuple[str, ...] = ()
    limit_requests_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    limit_burst: Annotated[int, msgspec.Meta(gt=0, lt=10**15)] | None = None
    maintenance: bool = False


_LINES: Final = msgspec.json.Decoder(_Line)
_AT: Final = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<field>.*)`)?\Z", re.DOTALL)


def read_json_lines(file: BinaryIO, builder: Builder) -> None:
    """Read shops of a file with an object on each line, in UTF-8. Raises OSError."""
    for block in read_blocks(file):
        if not block.is_ended:
            warn_of_the_end(builder, block.first + len(block.lines()) - 1)
        numbers, found = _objects(block, builder)
        if found:
            builder.add(
                [line.name for line in found],
                [line.class_ for line in found],
                [line.hosts for line in found],
                [line.requests_per_second for line in found],
                [line.connections for line in found],
                [line.pins for line in found],
                np.array(numbers, np.int32),
                edge=EdgeColumns(
                    [line.limit_requests_per_second for line in found],
                    [line.limit_burst for line in found],
                    [line.maintenance for line in found],
                ),
            )


def _objects(block: Block, builder: Builder) -> tuple[Sequence[int], list[_Line]]:
    lines = block.lines()
    try:
        found = _LINES.decode_lines(block.content) if max(map(len, lines)) <= LONGEST else []
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = []
    # Lines and objects are the same only where each line has one.
    if len(found) == len(lines):
        return range(block.first, block.first + len(found)), found
    kept = []
    for number, line in enumerate(lines, block.first):
        if len(line) > LONGEST:
            refuse(
                builder, number, "", "", f"the line is longer than {LONGEST:,} bytes", "a shop is one line; split it"
            )
        elif line.strip():
            kept += [(number, each) for each in _object(number, line, builder)]
    return [number for number, _ in kept], [each for _, each in kept]


def _object(number: int, line: bytes, builder: Builder) -> Iterator[_Line]:
    try:
        yield _LINES.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        field, message, advice = _explained(error)
        refuse(builder, number, _name_in(line), field, message, advice)


def _name_in(line: bytes) -> str:
    """Return the name that a refused line has, or nothing."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""


def _explained(error: Exception) -> tuple[str, str, str]:
    """Return field, message and advice for a line that is not the object that it should be."""
    if not isinstance(error, msgspec.ValidationError):
        what = "UTF-8" if isinstance(error, UnicodeDecodeError) else "JSON"
        return "", f"the line is not {what}: {error}", "write one object on each line, and NaN not at all"
    match = _AT.match(str(error))
    assert match is not None  # noqa: S101  # the pattern matches every text
    what, field = match["what"], match["field"] or ""
    if (word := re.search(r"unknown field `(.*)`", what)) is not None:
        return word[1], "there is no such field", suggest(word[1], list(NAMES))
    if (word := re.search(r"missing required field `(.*)`", what)) is not None:
        return word[1], "is missing", "add it"
    wanted = what.replace("`", "").removeprefix("Expected ")
    return field, f"is not as it should be: wanted is {wanted}", "correct it, or leave out what is not known"


def refuse(builder: Builder, number: int, name: str, field: str, message: str, advice: str) -> None:
    """Note a line from which no row comes."""
    known = builder.note_unread(name)
    builder.complain(ShopProblem(builder.place(number), name if known else "", field, message, advice))


def warn_of_the_end(builder: Builder, number: int) -> None:
    """Note that the last line has no line break: it may be the beginning of a longer one."""
    message = "the last line has no line break, so the file may have been cut off"
    advice = "see whether its end is missing, and end the line"
    builder.problems.append(ShopProblem(builder.place(number), "", "", message, advice, "warning"))
