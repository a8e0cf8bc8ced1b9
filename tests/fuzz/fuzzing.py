"""Fuzzing with coverage as a guide (atheris): what anybody may send as a host, and what the maps of an edge say.

scripts/fuzz names|placement|values|map [options of libFuzzer]
"""

import re
import sys
from collections.abc import Callable
from contextlib import suppress

import atheris  # type: ignore[import-untyped]  # scripts/fuzz installs it

with atheris.instrument_imports(include=["shopset", "idna"]):
    from shopset.api.errors import InvalidValueError
    from shopset.api.hosts import normalise_host
    from shopset.core.placement.formats import read_file
    from shopset.edge.hostmap import ALONE, VALUE, hosts_in, lines_of, unpacked
    from shopset.edge.routes import host_value, parse_host_value, route_text

_WORD = re.compile(r"[-a-z0-9._*#/]+")
_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)+")


def names(data: bytes) -> None:
    """A host is normalised once and for all, and is then one for all."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(300)
    try:
        host = normalise_host(text)
    except InvalidValueError:
        return
    assert normalise_host(host) == host == host.lower()
    assert _HOST.fullmatch(host), host
    # As HAProxy writes it: host_only, lower.
    assert normalise_host(f"{host.upper()}:8080") == host


def placement(data: bytes) -> None:
    """Whatever a file of the branch has is read or told of, and what is read is nothing that maps could not say."""
    for path in ("shops/000.jsonl", "groups/standard.jsonl", "edge/classes.jsonl"):
        read = read_file(path, data)
        for shop in read.shard:
            for text in (shop.name, shop.group, *shop.hosts):
                assert _WORD.fullmatch(text), text


def values(data: bytes) -> None:
    """A value is refused as such, or is read back as it is written."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(300)
    try:
        value = parse_host_value(text)
    except ValueError:
        return
    if value is not None:
        again = host_value(value.shop, value.route_id, route_text(value.route))
        assert parse_host_value(again) == value, (text, again)


def large_map(data: bytes) -> None:
    """What is said of each host is kept, of two of one host the first; whatever lines say, reading them fails in no other way."""
    source = atheris.FuzzedDataProvider(data)
    first: dict[str, str] = {}
    entries = []
    for _ in range(source.ConsumeIntInRange(0, 12)):
        # Neither has a capital letter, nor a blank or the end of a line.
        host, said = (re.sub(r"[\sA-Z]", "", source.ConsumeUnicodeNoSurrogates(20)) for _ in range(2))
        if host:
            entries.append((host, said))
            first.setdefault(host, said)
    found: dict[str, str] = {}
    for host, said in hosts_in(line.decode() for line in lines_of(entries)):
        found.setdefault(host, said)
    assert found == first
    for host, said in unpacked(source.ConsumeUnicode(20), f"{ALONE}{source.ConsumeUnicode(60)}"):
        assert ALONE not in host + said
        assert VALUE not in host


TARGETS: dict[str, Callable[[bytes], None]] = {
    "names": names,
    "placement": placement,
    "values": values,
    "map": large_map,
}


def main() -> None:
    """Fuzz until told otherwise; exits as libFuzzer does."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"say what: {', '.join(TARGETS)}")
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    with suppress(KeyboardInterrupt):
        atheris.Fuzz()


if __name__ == "__main__":
    main()
