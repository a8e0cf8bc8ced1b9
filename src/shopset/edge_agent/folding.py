"""Folding: writing all files of a state folder anew for one commit, shard by shard, so that a million shops are never in memory."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from shopset import __version__
from shopset.core.placement.formats import MalformedPlacementError
from shopset.edge.changes import COMMIT_KEY, GENERATION_KEY, Side
from shopset.edge.configuration import configuration
from shopset.edge.hostmap import line_of, packed
from shopset.edge.places import Place
from shopset.edge.routes import host_entries
from shopset.edge_agent.folders import Generation, describe, map_lines, now, write
from shopset.edge_agent.following import Branch, Snapshot
from shopset.edge_agent.haproxies import ENVIRONMENT
from shopset.edge_agent.ordering import ordered

_SHORT: Final = 12


@dataclass
class _Written:
    """What was written to hosts.map."""

    entries: int = 0
    groups: Counter[str] = field(default_factory=Counter)
    problems: list[MalformedPlacementError] = field(default_factory=list)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


@dataclass(frozen=True)
class Folded:
    """A generation in a folder, which does not count yet."""

    folder: Path
    generation: Generation
    problems: tuple[MalformedPlacementError, ...]


def configuration_text(side: Side, place: Place, generation: str) -> str:
    """Return the configuration of a generation, by which HAProxy can say which one it has."""
    return f"{configuration(side.facts, place)}\nglobal\n    setenv {ENVIRONMENT} {generation}\n"


def generation_name(snapshot: Snapshot, side: Side, place: Place) -> str:
    """Return what tells a generation from others: its commit, its configuration, and who wrote it."""
    digest = hashlib.sha256(f"{__version__}\n{configuration(side.facts, place)}".encode()).hexdigest()
    return f"{snapshot.commit[:_SHORT]}-{digest[:_SHORT]}"


def fold(branch: Branch, snapshot: Snapshot, side: Side, place: Place, folder: Path) -> Folded:
    """Write a generation into an empty folder. Raises OSError, AbsentObjectError, DamagedStoreError."""
    name = generation_name(snapshot, side, place)
    written = _Written()
    text = configuration_text(side, place, name).encode()
    write(folder / "haproxy.cfg", [text])
    write(folder / "maps" / "hosts.map", _lines(branch, snapshot, side, name, folder, written))
    write(folder / "maps" / "moved.map", map_lines([(COMMIT_KEY, snapshot.commit)]))
    generation = Generation(
        name,
        snapshot.commit,
        written.entries,
        written.digest.hexdigest(),
        hashlib.sha256(text).hexdigest(),
        now(),
        dict(sorted(written.groups.items())),
    )
    write(folder / "applied.json", [describe(generation)])
    return Folded(folder, generation, tuple(written.problems))


def write_check(folder: Path, side: Side, place: Place) -> Path:
    """Write a configuration that HAProxy can judge without a large map, and return its path. Raises OSError."""
    beside = folder / "check"
    (beside / "maps").mkdir(parents=True, exist_ok=True)
    for name in ("hosts.map", "moved.map"):
        (beside / "maps" / name).write_bytes(b"")
    text = configuration(side.facts, place)
    # Only the maps are other ones: sockets and certificates are judged where they are.
    for name in (place.hosts_map, place.moved_map):
        text = text.replace(name, str(beside / "maps" / Path(name).name))
    with (beside / "haproxy.cfg").open("w") as file:
        file.write(text)
    return beside / "haproxy.cfg"


def _lines(
    branch: Branch, snapshot: Snapshot, side: Side, name: str, folder: Path, written: _Written
) -> Iterator[bytes]:
    first = [f"{GENERATION_KEY} {name}\n".encode()]
    for lines in chain([first], map(packed, ordered(_shards(branch, snapshot, side, written), folder))):
        piece = b"".join(lines)
        written.entries += piece.count(b"\n")
        written.digest.update(piece)
        yield piece


def _shards(branch: Branch, snapshot: Snapshot, side: Side, written: _Written) -> Iterator[list[bytes]]:
    for path, blob in sorted(snapshot.shards.items()):
        read = branch.read(path, blob)
        written.problems += read.problems
        for shop in read.shard:
            written.groups[shop.group] += len(shop.hosts)
        yield [line_of(host, value) for host, value in host_entries(read.shard, side.facts, side.routes)]


__all__ = ["Folded", "configuration_text", "fold", "generation_name", "write_check"]
