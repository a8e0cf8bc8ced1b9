"""What a push may do to the placement: whatever it changes stays readable, line by line, and no shop loses its group."""

from collections.abc import Iterable, Iterator, Mapping

from shopset.core.placement.formats import MalformedPlacementError, PlacementFile, missing_groups, read_file
from shopset.gitops._pushed import NOTHING, PLAIN_FILE, Entry, PushedObjects, Update, Violation

_ADVICE = "write the file as docs/formats.md says, or put the last good commit back with git revert"


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
    groups = _groups([*files.values(), *_read(objects, _those(after, "groups/", files)).values()])
    yield from _violations(update, missing_groups(groups, files.values()))
    if _lost(objects, before, after, groups):
        # Then those shops count too that the push itself leaves alone.
        others = _read(objects, _those(after, "shops/", files))
        yield from _violations(update, missing_groups(groups, others.values()))


def _lost(
    objects: PushedObjects, before: Mapping[str, Entry], after: Mapping[str, Entry], groups: frozenset[str]
) -> frozenset[str]:
    """Return the groups that the push takes out of the files that it changes."""
    replaced = {
        path: entry for path, entry in before.items() if path.startswith("groups/") and after.get(path) != entry
    }
    return _groups(_read(objects, replaced).values()) - groups


def _those(entries: Mapping[str, Entry], folder: str, without: Iterable[str]) -> dict[str, Entry]:
    known = frozenset(without)
    return {path: entry for path, entry in entries.items() if path.startswith(folder) and path not in known}


def _read(objects: PushedObjects, entries: Mapping[str, Entry]) -> dict[str, PlacementFile]:
    contents = objects.contents({path: entries[path] for path in sorted(entries)})
    return {path: read_file(path, content) for path, content in contents.items()}


def _groups(files: Iterable[PlacementFile]) -> frozenset[str]:
    return frozenset(group.name for each in files for group in each.groups)


def _violations(update: Update, problems: Iterable[MalformedPlacementError]) -> Iterator[Violation]:
    for problem in problems:
        yield Violation(update.ref, "WellFormed", str(problem), _ADVICE)
