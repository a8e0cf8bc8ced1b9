"""The large map, `hosts.map`: hosts share its entries, since HAProxy keeps some 350 bytes for an entry beside what it says.

The key of an entry is the number of a bucket, which follows from the host, and its value is what is said of all hosts of that bucket:
`17 Aa.exampleBone:R=g:...Ab.exampleBtwo:R=h:...`. HAProxy looks for the number of a client's host, and takes what is said of that
host out of the entry with a regular expression (see `_rules`). It makes a client's host lower case, and no name or value has an A
or a B: no host finds what is not its own.

A host that stands for others (`*.example`), and whatever a bucket has no more room for, has an entry of its own, with the key
`A*.example`. For those HAProxy looks where the bucket says nothing. Of two entries of one host the first counts, as in any map.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final
from zlib import crc32

BUCKETS: Final = 262_144
"""Of a million hosts, four share an entry."""
ALONE: Final = "A"
"""What the key of an entry begins with that is of one host."""
VALUE: Final = "B"
"""What comes between a host and what is said of it."""
_LONGEST: Final = 8_192
"""Bytes of an entry. HAProxy cuts what is longer than a buffer, and shops choose their hosts: some may well share a bucket on purpose."""
_BEGIN, _MIDDLE = ALONE.encode(), VALUE.encode()


def bucket_of(host: str) -> str:
    """Return the key of the entry that a host shares."""
    return str(crc32(host.encode()) % BUCKETS)


def lines_of(entries: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """Yield the lines of the map from what is said of each host, where memory has room for all of them."""
    return packed(sorted((line_of(host, value) for host, value in entries), key=key_of))


def line_of(host: str, value: str) -> bytes:
    """Return what is said of a host, as `packed` takes it."""
    if host.startswith("*"):
        return f"{ALONE}{host} {value}\n".encode()
    return f"{bucket_of(host)} {ALONE}{host}{VALUE}{value}\n".encode()


def key_of(line: bytes) -> bytes:
    """Return the key of a line, by which lines are sorted before they are packed."""
    return line.partition(b" ")[0]


def packed(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of the map. `lines` are in the order of their keys; of one host the first counts."""
    for key, some in groupby(lines, key_of):
        if key.startswith(_BEGIN):
            yield from some
            continue
        shared, alone, size, start = [], [], 0, len(key) + 1
        for each in some:
            size += len(each)
            if size <= _LONGEST:
                shared.append(each[start:-1])
            else:
                alone.append(each[start:].replace(_MIDDLE, b" ", 1))
        if shared:
            yield b"%b %b\n" % (key, b"".join(shared))
        yield from alone


def unpacked(key: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield each host of an entry with what is said of it; what is no host's, and what `moved.map` has, as it is."""
    if not value.startswith(ALONE):
        yield key.removeprefix(ALONE), value
        return
    for each in value[len(ALONE) :].split(ALONE):
        host, _, said = each.partition(VALUE)
        yield host, said


def hosts_in(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what `unpacked` yields for the lines of a map."""
    for line in lines:
        key, _, value = line.rstrip("\n").partition(" ")
        yield from unpacked(key, value)
