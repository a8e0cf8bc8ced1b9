"""The large map, in which hosts share entries: the codec by itself, and what both HAProxys find in what it writes."""

import re
from collections.abc import Iterator
from itertools import combinations, islice
from pathlib import Path
from random import Random
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.core.placement.edges import EdgeClass
from shopset.edge import _rules, hostmap
from shopset.edge.hostmap import ALONE, BUCKETS, bucket_of, hosts_in, key_of, lines_of
from support.edges import Edge, edge, facts_of, shop
from support.haproxies import haproxy
from support.origins import origins

__all__ = ["haproxy"]

hosts = st.text("ab.-*0_", min_size=1, max_size=4)
values = st.text("sR=:|.-09", max_size=60)


@given(st.lists(st.tuples(hosts, values), max_size=60), st.integers(0, 200), st.integers(1, 20))
def test_what_is_said_of_each_host_is_kept(entries: list[tuple[str, str]], longest: int, buckets: int) -> None:
    """However few buckets there are, and however little room in each; of one host the first counts."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hostmap, "_LONGEST", longest)
        patched.setattr(hostmap, "BUCKETS", buckets)
        lines = list(lines_of(entries))
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for host, value in entries:
        first.setdefault(host, value)
    for host, value in hosts_in(map(bytes.decode, lines)):
        found.setdefault(host, value)
    assert found == first
    shared = [line for line in lines if not key_of(line).startswith(ALONE.encode())]
    assert len({key_of(line) for line in shared}) == len(shared) <= buckets
    assert all(len(line) - len(key_of(line)) <= longest + 2 for line in shared)


def colliding(count: int) -> list[str]:
    """Return hosts of one bucket, long ones: CRCs are linear, so anybody can make as many as they like."""
    places, tail = 26, f".{'x' * 60}.{'y' * 60}.{'z' * 60}.example"

    def host(changed: int) -> str:
        return "".join("c" if changed >> place & 1 else "a" for place in range(places)) + tail

    plain = crc32(host(0).encode())
    basis: dict[int, tuple[int, int]] = {}
    same = []
    for place in range(places):
        changed = 1 << place
        effect = (crc32(host(changed).encode()) ^ plain) % BUCKETS
        while effect and (found := basis.get(effect.bit_length())):
            effect, changed = effect ^ found[0], changed ^ found[1]
        if effect:
            basis[effect.bit_length()] = (effect, changed)
        else:
            same.append(changed)
    together = (some for size in range(len(same) + 1) for some in combinations(same, size))
    made = [host(sum_of(some)) for some in islice(together, count)]
    assert len(set(made)) == count
    assert len(set(map(bucket_of, made))) == 1
    return made


def sum_of(changes: tuple[int, ...]) -> int:
    """Return the places that an odd number of changes changes."""
    result = 0
    for each in changes:
        result ^= each
    return result


@pytest.fixture
def it(haproxy: str) -> Iterator[tuple[Edge, list[str], list[str]]]:
    """An edge with more hosts in a bucket than it has room for; those hosts; and some of the same bucket that are nobody's."""
    made = colliding(70)
    theirs, nobodys = made[:60], made[60:]
    with origins("a-1", "b-1") as shopsets:
        shops = [shop(f"s-{number}", f"standard#{number % 2}", host) for number, host in enumerate(theirs)]
        shops += [
            shop("plain", "standard#0"),
            shop("wild", "standard#1", "*.wild.example.com", "deep.wild.example.com"),
        ]
        lists = {"standard#0": ["a-1"], "standard#1": ["b-1"]}
        with edge(haproxy, facts_of(shopsets, EdgeClass("standard")), lists, shops) as running:
            yield running, theirs, nobodys


def test_haproxy_finds_every_host_and_no_other(it: tuple[Edge, list[str], list[str]]) -> None:
    running, theirs, nobodys = it
    text = running.api(f"show map {running.place.hosts_map}")
    assert sum(f" {ALONE}" in f" {line.split()[1]}" for line in text.splitlines() if line) > 20
    for number, host in enumerate(theirs):
        assert running.get(host).told == (200, ("a-1", "b-1")[number % 2]), host
    assert running.get("any.wild.example.com").told == running.get("deep.wild.example.com").told == (200, "b-1")
    assert running.get("plain.example.com.").told == running.get("PLAIN.example.com:80").told == (200, "a-1")
    for host in nobodys:
        assert running.get(host).status == 404
    bucket = bucket_of("plain.example.com")
    strange = [
        bucket,
        f"{ALONE}{theirs[-1]}",
        f"{ALONE}*.wild.example.com",
        ALONE,
        f"{bucket} Aplain.example.com",
    ]
    strange += [
        "plain.example.comBplain",
        "lain.example.com",
        "plain.example.co",
        "plain-example-com",
        ".*",
        "[^A]*",
        "\\1",
    ]
    for host in strange:
        assert running.get(host).status in {400, 404}, host


def test_in_a_full_entry_nobody_finds_what_is_not_theirs(haproxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many hosts as an entry has room for, and what a client may send that is almost one of them."""
    for module in (hostmap, _rules):
        monkeypatch.setattr(module, "BUCKETS", 1)
    names = [f"{number:x}.y" for number in range(700)]
    with origins("a-1", "b-1") as shopsets:
        shops = [shop(f"s{number}", f"c#{number % 2}", host) for number, host in enumerate(names)]
        lists = {"c#0": ["a-1"], "c#1": ["b-1"]}
        with edge(haproxy, facts_of(shopsets, EdgeClass("c")), lists, shops) as running:
            size = len(Path(running.place.hosts_map).read_bytes().splitlines()) - 1
            assert 0 < size < 600
            random = Random(haproxy)  # noqa: S311  # not for secrets
            for number in (0, 1, 2, *range(695 - size, 702 - size), 698, 699):
                assert running.get(names[number]).told == (200, ("a-1", "b-1")[number % 2]), number
            for host in (_almost(random, random.choice(names)) for _ in range(300)):
                meant = re.sub(":[0-9]*$", "", host.strip(" \t").lower()).removesuffix(".")
                owner = ("a-1", "b-1")[names.index(meant) % 2] if meant in names else ""
                assert running.get(host).told in ([(200, owner)] if owner else [(404, ""), (400, "")]), host
            assert running.get("x" * 8000).status == running.get("A" * 12000).status == 404
            assert running.haproxy.alive()


def _almost(random: Random, host: str) -> str:
    """Return a host that is another by some characters, be they none of a host."""
    for _ in range(random.randint(1, 3)):
        place = random.randint(0, len(host))
        host = (
            host[:place]
            + chr(random.choice((*range(32, 256), *b"\t\1\0AB.:*\\$%ab")))
            + host[place + random.randint(0, 1) :]
        )
    return host


def test_where_no_entry_can_be_read_nobody_gets_what_is_anothers(haproxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library of regular expressions that gives up says that nothing matches, and then HAProxy leaves the text as it was."""
    monkeypatch.setattr(_rules, "_OWN", _rules._OWN.replace('"^', '"^(?!)'))
    for module in (hostmap, _rules):
        monkeypatch.setattr(module, "BUCKETS", 1)
    with origins("a-1") as shopsets:
        shops = [shop("one", "c#0"), shop("two", "c#0")]
        with edge(haproxy, facts_of(shopsets, EdgeClass("c")), {"c#0": ["a-1"]}, shops) as running:
            for host in ("one.example.com", "two.example.com", "none.example.com"):
                assert running.get(host).told == (404, "")
