"""The files of the branch `placement`: a JSON object a line, sorted by name; groups by class, shops by the hash of their names.

What edges have to know besides is in the folder `edge/`, which fleets without an edge do not have.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import attrgetter, lt
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from shopset.core.errors import ShopsetError
from shopset.core.placement import _edge_lines
from shopset.core.placement._edge_lines import EdgeRow, NamedSettings
from shopset.core.placement._shards import PlacedShop, Shard, shard_of, shards_of
from shopset.core.placement.edges import NO_EDGE, EdgeClass, EdgeFacts, EdgeSettings, EdgeShop, EdgeShopSet
from shopset.core.placement.placements import Group, Placement

BRANCH: Final = "placement"
"""The branch of the system repository."""
EDGE_FOLDER: Final = "edge/"
EDGE_CLASSES: Final = _edge_lines.CLASSES
EDGE_SHOPSETS: Final = _edge_lines.SHOPSETS
_PATH: Final = re.compile(r"groups/[a-z0-9]([-a-z0-9]*[a-z0-9])?\.jsonl|shops/[0-9a-f]{3}\.jsonl")
_NAME_CHARACTERS: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_HOST_CHARACTERS: Final = _NAME_CHARACTERS + b"._*"


class MalformedPlacementError(ShopsetError):
    """A line of the branch `placement` that does not have the form of docs/formats.md."""

    def __init__(self, path: str, line: int, detail: str, lost: str = "nothing of it was read") -> None:
        place = f"{BRANCH}:{path}:{line}" if line else f"{BRANCH}:{path}"
        super().__init__(
            f"{place}: {detail}. See docs/formats.md; {lost}: put the last good commit back with git revert, or repair it"
        )
        self.path = path
        self.line = line
        """From 1; 0 where it is about the whole file."""


_GroupName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][-a-z0-9]*(#[-a-z0-9.]*|/[-a-z0-9.]+)$(?!\n)")]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[-a-z0-9]+$(?!\n)")]
_Host = Annotated[str, msgspec.Meta(pattern=r"^[-a-z0-9._*]+$(?!\n)")]


class _GroupLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    name: _GroupName
    replicas: tuple[_Name, ...]
    pinned: bool = False
    dedicated: bool = False
    spread: Annotated[int, msgspec.Meta(ge=0)] = 0


class _ShopLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    name: _Name
    group: _GroupName
    hosts: tuple[_Host, ...] = ()


class _SoundShopLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A line of which only the types are checked, because patterns take ten times as long."""

    name: str
    group: str
    hosts: tuple[str, ...] = ()


LINES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "group": _GroupLine,
    "shop": _ShopLine,
    "edge-settings": _edge_lines.SettingsLine,
    "edge-shopset": _edge_lines.ShopSetLine,
    "edge-class": _edge_lines.ClassLine,
    "edge-shop": _edge_lines.ShopLine,
}
"""What a line of each kind of file says."""
_GROUP: Final = msgspec.json.Decoder(_GroupLine)
_SHOP: Final = msgspec.json.Decoder(_ShopLine)
_SOUND_SHOP: Final = msgspec.json.Decoder(_SoundShopLine)
_ENCODER: Final = msgspec.json.Encoder()


def schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema of a line of a kind of file."""
    whole = msgspec.json.schema(LINES[kind])
    parts: dict[str, Any] = whole["$defs"]
    definition = parts.pop(LINES[kind].__name__)
    title = kind.replace("-", " ").capitalize()
    found = {**definition, "title": title, "$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**found, "$defs": parts} if parts else found


_EMPTY: Final = Shard()

# -- paths


def group_path(shop_class: str) -> str:
    """Return the path of the groups of a class."""
    return f"groups/{shop_class}.jsonl"


def shop_path(shop: str) -> str:
    """Return the path of the file that a shop is in."""
    return shard_path(shard_of(shop))


def shard_path(shard: str) -> str:
    """Return the path of a shard."""
    return f"shops/{shard}.jsonl"


# -- reading


@dataclass(frozen=True, slots=True)
class PlacementFile:
    """What one file says: groups, a shard or something for edges; and what of it could not be read."""

    path: str
    groups: tuple[Group, ...] = ()
    shard: Shard = _EMPTY
    edge: EdgeFacts = NO_EDGE
    """Of a file of `edge/`: what it says of the facts."""
    problems: tuple[MalformedPlacementError, ...] = ()

    @property
    def key(self) -> str:
        """The name of the shard."""
        return self.path[len("shops/") : -len(".jsonl")]


@dataclass(frozen=True)
class PlacementReading:
    """What the branch says. Nothing is to be planned on one that is not whole: what is left out would count as gone."""

    placement: Placement = field(default_factory=lambda: Placement.of((), ()))
    problems: tuple[MalformedPlacementError, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every line was read."""
        return not self.problems


def read_file(path: str, content: bytes) -> PlacementFile:
    """Read one file. Lines that are malformed are listed in the result, the others count."""
    if path in _edge_lines.PATHS:
        rows, problems = _read(path, content, partial(_edge_row, path))
        return PlacementFile(path, edge=_facts(rows), problems=problems)
    if _PATH.fullmatch(path) is None:
        return PlacementFile(path, problems=(MalformedPlacementError(path, 0, "no file of it has such a path"),))
    folder, stem = path.removesuffix(".jsonl").split("/")
    if folder == "shops" and (shard := _sound_shard(stem, content)) is not None:
        return PlacementFile(path, shard=shard)
    if folder == "groups":
        groups, problems = _read(path, content, partial(_group, stem))
        return PlacementFile(path, groups=tuple(groups), problems=problems)
    shops, problems = _read(path, content, partial(_shop, stem))
    return PlacementFile(path, shard=Shard.of(shops), problems=problems)


def read_placement(files: Mapping[str, bytes]) -> PlacementReading:
    """Read the branch from its files (path -> content)."""
    return assemble([read_file(path, files[path]) for path in sorted(files)])


def assemble(files: Sequence[PlacementFile], sound: Collection[str] = ()) -> PlacementReading:
    """Return the placement that some files, sorted by path, make together. Shops whose group is not there are left out.

    `sound` has the paths of files whose groups are known to be there.
    """
    groups = {group.name: group for each in files for group in each.groups}
    groups = {name: groups[name] for name in sorted(groups)}
    shards = {each.key: each.shard for each in files if each.shard}
    problems = [problem for each in files for problem in each.problems]
    strays = [each for each in files if each.path not in sound and not groups.keys() >= set(each.shard.groups)]
    if strays:
        problems += missing_groups(groups, strays)
        left = {each.key: Shard.of(shop for shop in each.shard if shop.group in groups) for each in strays}
        shards = {key: shard for key, shard in (shards | left).items() if shard}
    return PlacementReading(Placement.of_shards(groups, shards, facts_of(files)), tuple(problems))


def facts_of(files: Iterable[PlacementFile]) -> EdgeFacts:
    """Return what some files say together for edges."""
    found = {each.path: each.edge for each in files if each.path in _edge_lines.PATHS}
    return EdgeFacts(
        settings=found[_edge_lines.SETTINGS].settings if _edge_lines.SETTINGS in found else EdgeSettings(),
        shopsets=found[_edge_lines.SHOPSETS].shopsets if _edge_lines.SHOPSETS in found else {},
        classes=found[_edge_lines.CLASSES].classes if _edge_lines.CLASSES in found else {},
        shops=found[_edge_lines.SHOPS].shops if _edge_lines.SHOPS in found else {},
    )


def missing_groups(groups: Collection[str], files: Iterable[PlacementFile]) -> list[MalformedPlacementError]:
    """Return a problem for each group that shops of some files are in and that is not there."""
    first: dict[str, tuple[PlacementFile, str]] = {}
    count: Counter[str] = Counter()
    for each in files:
        for shop in each.shard:
            if shop.group not in groups:
                first.setdefault(shop.group, (each, shop.name))
                count[shop.group] += 1
    return [_missing(file, shop, group, count[group]) for group, (file, shop) in first.items()]


def _missing(file: PlacementFile, shop: str, group: str, count: int) -> MalformedPlacementError:
    # Where a line of the file was not read, rows are no lines.
    line = 0 if file.problems else (file.shard.row(shop) or 0) + 1
    others = f" and {count - 1} more" if count > 1 else ""
    detail = f"there is no group {group!r}, which {shop}{others} {'are' if others else 'is'} in"
    return MalformedPlacementError(file.path, line, detail, "those shops were not read")


def _sound_shard(key: str, content: bytes) -> Shard | None:
    """Return a shard with which nothing is wrong; None where a look at each of its lines has to say what is."""
    try:
        lines = _SOUND_SHOP.decode_lines(content)
    except ValueError:
        return None
    names = tuple([line.name for line in lines])
    # Thousands of shops share a group's name: one object for all of them is a third of the memory.
    groups = tuple([sys.intern(line.group) for line in lines])
    hosts = tuple([line.hosts for line in lines])
    is_sound = (
        names
        and all(map(lt, names, names[1:]))
        and shards_of(names) == {key}
        and _consist_of(names, _NAME_CHARACTERS)
        and _consist_of(tuple(chain.from_iterable(hosts)), _HOST_CHARACTERS)
        and bytes(_ENCODER.encode_lines(lines)) == content
    )
    return Shard(names, groups, hosts) if is_sound else None


def _consist_of(texts: Sequence[str], characters: bytes) -> bool:
    return "" not in texts and not "".join(texts).encode(errors="surrogatepass").translate(None, characters)


_Row = TypeVar("_Row", Group, PlacedShop, EdgeRow)


class _Line(NamedTuple, Generic[_Row]):
    row: _Row
    text: bytes
    """How it is written."""


def _read(
    path: str, content: bytes, parse: Callable[[bytes], _Line[_Row]]
) -> tuple[Iterable[_Row], tuple[MalformedPlacementError, ...]]:
    """Return the rows, sorted by name even where the file is not."""
    rows: dict[str, _Row] = {}
    problems: list[MalformedPlacementError] = []

    def complain(number: int, detail: str, lost: str = "the line was read") -> None:
        problems.append(MalformedPlacementError(path, number, detail, lost))

    previous = ""
    lines = content.split(b"\n")
    if lines.pop():
        complain(len(lines) + 1, "the last line is not ended by a newline", "the line was not read")
    for number, line in enumerate(lines, 1):
        try:
            row, text = parse(line)
            if row.name in rows:
                raise ValueError(f"{row.name!r} is there twice")
        except ValueError as error:
            complain(number, str(error), "the line was not read")
            continue
        rows[row.name] = row
        if text != line:
            complain(number, f"the line is not written as {text.decode()}")
        if row.name < previous:
            complain(number, f"{row.name!r} comes after {previous!r}: lines are sorted by name")
        previous = row.name
    if not content:
        complain(0, "the file is empty: remove it", "nothing is lost")
    if problems:
        rows = {name: rows[name] for name in sorted(rows)}
    return rows.values(), tuple(problems)


def _group(shop_class: str, line: bytes) -> _Line[Group]:
    """Read a group. Raises ValueError; what msgspec raises is one."""
    read = _GROUP.decode(line)
    if not read.name.startswith((f"{shop_class}#", f"{shop_class}/")):
        raise ValueError(f"{read.name!r} is no group of {shop_class}: its name begins with the class and # or /")
    if len(set(read.replicas)) < len(read.replicas):
        twice = [replica for replica, times in Counter(read.replicas).items() if times > 1]
        raise ValueError(f"{read.name!r} has the replica {twice[0]!r} twice")
    group = Group(read.name, shop_class, read.replicas, read.pinned, read.dedicated, read.spread)
    return _Line(group, _ENCODER.encode(read))


def _shop(shard: str, line: bytes) -> _Line[PlacedShop]:
    """Read a shop. Raises ValueError."""
    read = _SHOP.decode(line)
    own = shard_of(read.name)
    if own != shard:
        raise ValueError(f"{read.name!r} belongs into {shard_path(own)}")
    return _Line(PlacedShop(read.name, sys.intern(read.group), read.hosts), _ENCODER.encode(read))


def _edge_row(path: str, line: bytes) -> _Line[EdgeRow]:
    """Read a line of the folder `edge/`. Raises ValueError."""
    row = _edge_lines.read_row(path, line)
    return _Line(row, _edge_lines.row_text(row))


def _facts(rows: Iterable[EdgeRow]) -> EdgeFacts:
    """Return what the rows of one file say; they are of one kind."""
    found = list(rows)
    return EdgeFacts(
        settings=next((each.settings for each in found if isinstance(each, NamedSettings)), EdgeSettings()),
        shopsets={each.name: each for each in found if isinstance(each, EdgeShopSet)},
        classes={each.name: each for each in found if isinstance(each, EdgeClass)},
        shops={each.name: each for each in found if isinstance(each, EdgeShop)},
    )


# -- writing


@dataclass(frozen=True)
class Difference:
    """What turns the files of one placement into those of another: only files that change."""

    writes: Mapping[str, bytes]
    """Path -> new content, sorted."""
    deletes: tuple[str, ...]
    before: Mapping[str, bytes]
    """Path -> the content that a write replaces."""


def dump_placement(placement: Placement) -> dict[str, bytes]:
    """Return all files of a placement (path -> content)."""
    return dict(difference(Placement.of((), ()), placement).writes)


def difference(before: Placement, after: Placement) -> Difference:
    """Return what changes from one placement to another. Equal placements have equal files, in whichever order they were made."""
    old, new = ({}, {}) if before.groups is after.groups else (_classes(before), _classes(after))
    changes = [_Change(path, _groups(old.get(path)), _groups(new.get(path))) for path in _unlike(old, new)]
    past, present = before.shards, after.shards
    changes += [
        _Change(shard_path(key), _shops(past.get(key)), _shops(present.get(key))) for key in _unlike(past, present)
    ]
    changes += [
        _Change(path, _edge_lines.dump_part(before.edge, path), _edge_lines.dump_part(after.edge, path))
        for path in _edge_lines.PATHS
        if _edge_lines.part_of(before.edge, path) != _edge_lines.part_of(after.edge, path)
    ]
    changes.sort(key=attrgetter("path"))
    return Difference(
        {each.path: each.after for each in changes if each.after},
        tuple(each.path for each in changes if not each.after),
        {each.path: each.before for each in changes if each.before and each.after},
    )


class _Change(NamedTuple):
    path: str
    before: bytes
    after: bytes


def _unlike(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    def differs(key: str) -> bool:
        old, new = before.get(key), after.get(key)
        return old is not new and old != new

    return sorted(key for key in before.keys() | after.keys() if differs(key))


def _classes(placement: Placement) -> dict[str, dict[str, Group]]:
    """Return path -> the groups in that file."""
    found: dict[str, dict[str, Group]] = {}
    for name, group in placement.groups.items():
        found.setdefault(group_path(group.shop_class), {})[name] = group
    return found


def _groups(groups: Mapping[str, Group] | None) -> bytes:
    ordered = (group for _, group in sorted((groups or {}).items()))
    return _lines(
        _GroupLine(group.name, group.replicas, group.pinned, group.dedicated, group.spread) for group in ordered
    )


def _shops(shard: Shard | None) -> bytes:
    return _lines(_ShopLine(*shop) for shop in shard or ())


def _lines(lines: Iterable[msgspec.Struct]) -> bytes:
    return b"".join(_ENCODER.encode(line) + b"\n" for line in lines)
