"""Every source of shops, read and merged; what has not changed is not read again."""

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import is_
from pathlib import Path
from typing import Final

from shopset.api import Platform, Shop
from shopset.api.platforms import ShopSource
from shopset.core.placement.claims import Settlement, settle
from shopset.core.placement.shops import Shops
from shopset.core.placement.tables import ShopProblem, Table, from_resources
from shopset.shops import files, postgresql

Secrets = Callable[[str], Path]
"""Returns the folder in which a Secret is mounted. Raises LookupError where it is not."""
_STALE: Final = "; the shops that were read last still count"


@dataclass(frozen=True)
class Reading:
    """What all sources say together."""

    shops: Shops = field(default_factory=Shops)
    problems: tuple[ShopProblem, ...] = ()
    """Those of the sources in their order, then those between shops."""
    unread: frozenset[str] = frozenset()
    """Shops that a source has and that cannot be read: where they are placed already, they stay."""
    is_whole: bool = True
    """Whether a shop that is neither in `shops` nor in `unread` is really gone; False where a source could not be read."""


@dataclass(frozen=True)
class _Known:
    """What was read of a source, and the fingerprint that it had before."""

    fingerprint: object
    table: Table
    problems: tuple[ShopProblem, ...]


@dataclass(frozen=True)
class _Settled:
    """What was merged last, and of what."""

    given: Sequence[object]
    classes: frozenset[str] | None
    result: Settlement


class ShopReader:
    """Reads the shops of one fleet again and again. Not for several threads at once."""

    def __init__(self, folder: Path, secrets: Secrets) -> None:
        """`folder` is what relative paths of sources are relative to."""
        self._folder = folder
        self._secrets = secrets
        self._known: dict[ShopSource, _Known] = {}
        self._settled: _Settled | None = None

    def read(
        self,
        platform: Platform,
        resources: Iterable[Shop] | Table,
        incumbents: Mapping[str, str],
        known_classes: Collection[str] | None = None,
    ) -> Reading:
        """Read what changed, and merge all. Never raises: what is wrong is a problem.

        `incumbents` and `known_classes` are those of `settle`; a mapping that changed is another object. A source that
        cannot be read now keeps the shops that were read of it last.
        """
        with _uncollected():
            return self._read_all(platform.spec.shops.sources, resources, incumbents, known_classes)

    def _read_all(
        self,
        sources: Sequence[ShopSource],
        resources: Iterable[Shop] | Table,
        incumbents: Mapping[str, str],
        known_classes: Collection[str] | None,
    ) -> Reading:
        before, self._known = self._known, {}
        tables: list[Table] = []
        problems: list[ShopProblem] = []
        for source in sources:
            known = before.get(source)
            found = _resources(resources, known) if source.kind == "Resources" else self._read(source, known)
            self._known[source] = found
            tables.append(found.table)
            problems += found.problems
        settled = self._settle(tables, incumbents, known_classes)
        return Reading(settled.shops, (*problems, *settled.problems), settled.unread, settled.is_whole)

    def _settle(
        self, tables: list[Table], incumbents: Mapping[str, str], known_classes: Collection[str] | None
    ) -> Settlement:
        # What has not changed is the same object: comparing a million shops would take as long as merging them.
        given = (incumbents, *tables)
        classes = None if known_classes is None else frozenset(known_classes)
        if self._settled is None or not _are_same(self._settled.given, given) or self._settled.classes != classes:
            self._settled = _Settled(given, classes, settle(tables, incumbents, classes))
        return self._settled.result

    def _read(self, source: ShopSource, known: _Known | None) -> _Known:
        found = (self._read_files if source.kind == "Files" else self._read_table)(source, known)
        if found is known or known is None or found.table.is_whole or len(found.table):
            return found
        # Nothing could be read: whoever was there is there still, as far as is known.
        told = tuple(replace(each, message=f"{each.message}{_STALE}") for each in found.problems)
        return _Known(None, replace(known.table, is_whole=False), told)

    def _read_files(self, source: ShopSource, known: _Known | None) -> _Known:
        path = self._folder / (source.path or "")
        seen = files.fingerprint(path)
        if known is not None and known.fingerprint == seen and seen:
            return known
        found = files.read_files(path, source.path or "")
        return _Known(seen, found.table, found.problems)

    def _read_table(self, source: ShopSource, known: _Known | None) -> _Known:
        name = source.table or ""
        try:
            secret = None if source.secret is None else self._secrets(source.secret)
        except (OSError, LookupError) as error:
            message = f"the Secret {source.secret} cannot be read: {type(error).__name__}"
            problem = ShopProblem(name, "", "", message, "mount it, or correct `secret` of the source")
            return _Known(None, Table(name, is_whole=False), (problem,))
        try:
            # Asked first: a change while the table is read is seen by the next fingerprint.
            seen = postgresql.fingerprint(name, secret)
        except postgresql.DatabaseError:
            seen = None
        if known is not None and seen is not None and known.fingerprint == seen:
            return known
        found = postgresql.read_table(name, secret)
        return _Known(seen, found.table, found.problems)


def read_shops(
    platform: Platform,
    folder: Path,
    secrets: Secrets,
    resources: Iterable[Shop],
    incumbents: Mapping[str, str],
    known_classes: Collection[str] | None = None,
) -> Reading:
    """Read all sources of a Platform once; whoever reads them again keeps a ShopReader."""
    return ShopReader(folder, secrets).read(platform, resources, incumbents, known_classes)


def _resources(resources: Iterable[Shop] | Table, known: _Known | None) -> _Known:
    if isinstance(resources, Table):
        return known if known is not None and known.table is resources else _Known(None, resources, ())
    shops = tuple(resources)
    if known is not None and isinstance(known.fingerprint, tuple) and _are_same(known.fingerprint, shops):
        return known
    return _Known(shops, from_resources(shops), ())


def _are_same(some: Sequence[object], others: Sequence[object]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Stop the garbage collector: it would go through millions of new objects again and again, and reading makes no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
