"""What a push may do to the placement: whatever it changes stays readable, line by line, and no shop loses its group."""

from collections.abc import Iterable, Iterator, Mapping

from shopset.core.placement.edges import EdgeFacts
from shopset.core.placement.formats import (
    EDGE_CLASSES,
    EDGE_FOLDER,
    EDGE_SHOPSETS,
    MalformedPlacementError,
    PlacementFile,
    facts_of,
    group_path,
    missing_groups,
    read_file,
)
from shopset.core.placement.placements import Group
from shopset.gitops._pushed import NOTHING, PLAIN_FILE, Entry, PushedObjects, Update, Violation

_ADVICE = "write the file as docs/formats.md says, or put the last good commit back with git revert"
_FORGOTTEN = "edges would not know how to serve those shops"


def check_placement(objects: PushedObjects, update: Update) -> Iterator[Violation]:
    """Yield what is wrong with a push to the placement. Only files that it changes are judged. Raises HookError."""
    before = objects.entries(None if update.old == NOTHING else update.old)
    after = objects.entries(update.new)
    changed = {path: entry for path, entry in after.items() if before.get(path) != entry}
    for path in sorted(changed):
        if changed[path].mode != PLAIN_FILE:
            yield Violation(update.ref, "WellFormed", f"{path} is no plain file", _ADVICE)
    files = _read(objects, changed)
    for each in files.values():
        yield from _violations(update, each.problems)
    left = [*files.values(), *_read(objects, _those(after, ("groups/", EDGE_FOLDER), files)).values()]
    groups = _groups(left)
    yield from _violations(update, missing_groups(groups, files.values()))
    if any(path.startswith(("groups/", EDGE_FOLDER)) for path in before.keys() - after.keys() | changed.keys()):
        known = facts_of(_read(objects, _those(before, (EDGE_FOLDER,), ())).values())
        yield from _violations(update, _unknown_to_edges(known, left))
    if _lost(objects, before, after, groups):
        # Then those shops count too that the push itself leaves alone.
        others = _read(objects, _those(after, ("shops/",), files))
        yield from _violations(update, missing_groups(groups, others.values()))


def _lost(
    objects: PushedObjects, before: Mapping[str, Entry], after: Mapping[str, Entry], groups: frozenset[str]
) -> frozenset[str]:
    """Return the groups that the push takes out of the files that it changes."""
    replaced = {
        path: entry for path, entry in before.items() if path.startswith("groups/") and after.get(path) != entry
    }
    return _groups(_read(objects, replaced).values()) - groups


def _unknown_to_edges(before: EdgeFacts, files: Iterable[PlacementFile]) -> Iterator[MalformedPlacementError]:
    """Yield the classes of groups of which no edge knows anything, and the ShopSets that edges would forget while shops are there."""
    found = list(files)
    facts = facts_of(found)
    if not facts.shopsets:
        return
    classes: set[str] = set()
    of_shopset: dict[str, Group] = {}
    for group in (group for each in found for group in each.groups):
        classes.add(group.shop_class)
        for name in group.replicas:
            of_shopset.setdefault(name, group)
    for name in sorted(classes - facts.classes.keys()):
        detail = f"the class {name!r}, which has groups in {group_path(name)}, is not in it"
        yield MalformedPlacementError(EDGE_CLASSES, 0, detail, _FORGOTTEN)
    for name in sorted((before.shopsets.keys() - facts.shopsets.keys()) & of_shopset.keys()):
        detail = f"the ShopSet {name!r}, which is a replica of {of_shopset[name].name}, is not in it any more"
        yield MalformedPlacementError(EDGE_SHOPSETS, 0, detail, _FORGOTTEN)


def _those(entries: Mapping[str, Entry], folders: tuple[str, ...], without: Iterable[str]) -> dict[str, Entry]:
    known = frozenset(without)
    return {path: entry for path, entry in entries.items() if path.startswith(folders) and path not in known}


def _read(objects: PushedObjects, entries: Mapping[str, Entry]) -> dict[str, PlacementFile]:
    contents = objects.contents({path: entries[path] for path in sorted(entries)})
    return {path: read_file(path, content) for path, content in contents.items()}


def _groups(files: Iterable[PlacementFile]) -> frozenset[str]:
    return frozenset(group.name for each in files for group in each.groups)


def _violations(update: Update, problems: Iterable[MalformedPlacementError]) -> Iterator[Violation]:
    for problem in problems:
        yield Violation(update.ref, "WellFormed", str(problem), _ADVICE)
