"""Patches that `git apply` takes: a difference in one walk over both contents, which is short where they are sorted."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_CONTEXT: Final = 3
_PLAIN: Final = re.compile(r"[A-Za-z0-9._/#@+-]+")
_UNENDED: Final = b"\n\\ No newline at end of file\n"


class _Change(NamedTuple):
    """Lines of the one content that others take the place of; from and to are indices."""

    old_from: int
    old_to: int
    new_from: int
    new_to: int


def patch(path: str, before: bytes | None, after: bytes) -> bytes:
    """Return the patch that makes a plain file what it is to be; empty where it is that already. None: it is not there."""
    if before == after:
        return b""
    names = [_quoted(f"{side}/{path}") for side in "ab"]
    lines = [f"diff --git {names[0]} {names[1]}\n"]
    if before is None:
        lines.append("new file mode 100644\n")
    if before or after:
        lines += [f"--- {names[0] if before is not None else '/dev/null'}\n", f"+++ {names[1]}\n"]
    return "".join(lines).encode() + b"".join(_hunks(_split(before or b""), _split(after)))


def _split(content: bytes) -> list[bytes]:
    """Return the lines with what ends them: only a newline does, and the last may have none."""
    lines = [line + b"\n" for line in content.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _changes(old: list[bytes], new: list[bytes]) -> Iterator[_Change]:
    """Yield what differs. It is right for any two contents, and shortest for sorted ones."""
    start = 0
    shorter = min(len(old), len(new))
    while start < shorter and old[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old_end, new_end = len(old) - end, len(new) - end
    i = old_from = start
    j = new_from = start
    while i < old_end and j < new_end:
        if old[i] == new[j]:
            if (i, j) != (old_from, new_from):
                yield _Change(old_from, i, new_from, j)
            i, j = i + 1, j + 1
            old_from, new_from = i, j
        elif old[i] < new[j]:
            i += 1
        else:
            j += 1
    if (old_from, new_from) != (old_end, new_end):
        yield _Change(old_from, old_end, new_from, new_end)


def _hunks(old: list[bytes], new: list[bytes]) -> Iterator[bytes]:
    hunk: list[_Change] = []
    for change in _changes(old, new):
        if hunk and change.old_from - hunk[-1].old_to > 2 * _CONTEXT:
            yield _hunk(old, new, hunk)
            hunk = []
        hunk.append(change)
    if hunk:
        yield _hunk(old, new, hunk)


def _hunk(old: list[bytes], new: list[bytes], changes: list[_Change]) -> bytes:
    first, last = changes[0], changes[-1]
    before = min(_CONTEXT, first.old_from)
    after = min(_CONTEXT, len(old) - last.old_to)
    old_from, old_to = first.old_from - before, last.old_to + after
    new_from, new_to = first.new_from - before, last.new_to + after
    parts = [f"@@ -{_range(old_from, old_to)} +{_range(new_from, new_to)} @@\n".encode()]
    position = old_from
    for change in changes:
        parts += [_line(b" ", line) for line in old[position : change.old_from]]
        parts += [_line(b"-", line) for line in old[change.old_from : change.old_to]]
        parts += [_line(b"+", line) for line in new[change.new_from : change.new_to]]
        position = change.old_to
    parts += [_line(b" ", line) for line in old[position:old_to]]
    return b"".join(parts)


def _range(start: int, end: int) -> str:
    """Return lines as a hunk's head names them: of no lines, the one before."""
    return f"{start + (end > start)},{end - start}"


def _line(sign: bytes, line: bytes) -> bytes:
    return sign + line if line.endswith(b"\n") else sign + line + _UNENDED


def _quoted(path: str) -> str:
    """Return a path as git quotes it."""
    if _PLAIN.fullmatch(path):
        return path
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}"
        for byte in path.encode(errors="surrogateescape")
    )
    return f'"{escaped}"'
