"""The ledger as a value: read from the files of the branch `ledger`, never changed, only replaced."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

import yaml

from shopset.core.release.records import (
    ApprovalRecord,
    ClusterRecord,
    HoldRecord,
    MalformedRecordError,
    PinRecord,
    RejectionRecord,
    VerificationRecord,
)
from shopset.core.release.revisions import Revision

BRANCH: Final = "ledger"
TIERS_PATH: Final = "tiers.yaml"


@dataclass(frozen=True)
class Ledger:
    """Everything the ledger says, by tier. Mappings are never changed after construction."""

    levels: Mapping[str, int] = field(default_factory=dict)
    """Tier -> level, as last recorded."""
    pins: Mapping[str, tuple[PinRecord, ...]] = field(default_factory=dict)
    """Tier -> pins in their order: the pin with sequence number n is at index n - 1."""
    verified: Mapping[str, Mapping[str, VerificationRecord]] = field(default_factory=dict)
    rejected: Mapping[str, Mapping[str, RejectionRecord]] = field(default_factory=dict)
    approvals: Mapping[str, Mapping[str, tuple[ApprovalRecord, ...]]] = field(default_factory=dict)
    holds: Mapping[str, Mapping[str, HoldRecord]] = field(default_factory=dict)
    clusters: Mapping[str, ClusterRecord] = field(default_factory=dict)
    malformed: tuple[MalformedRecordError, ...] = ()

    def pinned(self, tier: str) -> PinRecord | None:
        """The newest pin of a tier, the attempt that its verification is about."""
        pins = self.pins.get(tier, ())
        return pins[-1] if pins else None

    def is_verified(self, tier: str, revision: str) -> bool:
        """Whether the tier verified this revision."""
        return revision in self.verified.get(tier, {})

    def is_rejected(self, tier: str, revision: str) -> bool:
        """Whether the tier rejected this revision."""
        return revision in self.rejected.get(tier, {})

    def active_holds(self, tier: str) -> dict[str, HoldRecord]:
        """The holds of a tier that were not lifted, by name."""
        return {name: hold for name, hold in self.holds.get(tier, {}).items() if hold.lifted is None}

    def revisions(self) -> dict[str, Revision]:
        """Every revision that was ever pinned anywhere, by id."""
        return {pin.revision: pin.content for pins in self.pins.values() for pin in pins}

    def running(self, gitlinks: Mapping[str, str]) -> Revision | None:
        """The revision, of those that were ever pinned, with these gitlinks (`base` and `configuration`)."""
        return self._by_gitlinks.get((gitlinks.get("base", ""), gitlinks.get("configuration", "")))

    @cached_property
    def _by_gitlinks(self) -> dict[tuple[str, str], Revision]:
        return {(each.apps, each.configuration): each for each in self.revisions().values()}


def read_ledger(files: Mapping[str, bytes]) -> Ledger:
    """Read the ledger from its files (path -> content). Malformed files are listed in the result, the others count."""
    return _Reader(files).read()


class _Reader:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._malformed: list[MalformedRecordError] = []
        self._levels: dict[str, int] = {}
        self._pins: dict[str, dict[int, PinRecord]] = defaultdict(dict)
        self._verified: dict[str, dict[str, VerificationRecord]] = defaultdict(dict)
        self._rejected: dict[str, dict[str, RejectionRecord]] = defaultdict(dict)
        self._approvals: dict[str, dict[str, list[ApprovalRecord]]] = defaultdict(lambda: defaultdict(list))
        self._holds: dict[str, dict[str, HoldRecord]] = defaultdict(dict)
        self._clusters: dict[str, ClusterRecord] = {}

    def read(self) -> Ledger:
        for path in sorted(self._files):
            try:
                self._take(path, self._files[path])
            except MalformedRecordError as error:
                self._malformed.append(error)
        return Ledger(
            levels=self._levels,
            pins={tier: self._in_sequence(tier) for tier in sorted(self._pins)},
            verified=dict(self._verified),
            rejected=dict(self._rejected),
            approvals={
                tier: {revision: tuple(given) for revision, given in by_revision.items()}
                for tier, by_revision in self._approvals.items()
            },
            holds=dict(self._holds),
            clusters=self._clusters,
            malformed=tuple(self._malformed),
        )

    def _in_sequence(self, tier: str) -> tuple[PinRecord, ...]:
        pins = self._pins[tier]
        unbroken = [pins[sequence] for sequence in range(1, len(pins) + 1) if sequence in pins]
        if len(unbroken) != len(pins):
            self._malformed.append(MalformedRecordError(f"pins/{tier}", "the sequence has a gap"))
        return tuple(unbroken)

    def _take(self, path: str, content: bytes) -> None:  # one branch for each kind of file
        match path.removesuffix(".yaml").split("/"):
            case ["tiers"]:
                self._levels = _read_levels(content)
            case ["pins", tier, sequence] if sequence.isdecimal():
                self._pins[tier][int(sequence)] = _pin(path, content)
            case ["verified", tier, revision]:
                self._verified[tier][revision] = _named(path, revision, VerificationRecord.load(path, content))
            case ["rejected", tier, revision]:
                self._rejected[tier][revision] = _named(path, revision, RejectionRecord.load(path, content))
            case ["approvals", tier, revision, _]:
                self._approvals[tier][revision].append(_named(path, revision, ApprovalRecord.load(path, content)))
            case ["holds", tier, name]:
                self._holds[tier][name] = HoldRecord.load(path, content)
            case ["clusters", name]:
                self._clusters[name] = ClusterRecord.load(path, content)
            case _:
                raise MalformedRecordError(path, "no file of the ledger has such a path")


def _pin(path: str, content: bytes) -> PinRecord:
    pin = PinRecord.load(path, content)
    return _named(path, pin.content.id, pin)


_Record = TypeVar("_Record", PinRecord, VerificationRecord, RejectionRecord, ApprovalRecord)


def _named(path: str, revision: str, record: _Record) -> _Record:
    if record.revision != revision:
        raise MalformedRecordError(path, f"it names revision {record.revision}, its path or lines {revision}")
    return record


def _read_levels(content: bytes) -> dict[str, int]:
    try:
        entries = yaml.load(content, yaml.CSafeLoader)  # it is the safe loader, in C
        return {str(name): int(entry["level"]) for name, entry in entries.items()}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedRecordError(TIERS_PATH, f"it is not tier: {{level: N}}: {error}") from error


def dump_levels(levels: Mapping[str, int]) -> bytes:
    """Return the content of tiers.yaml."""
    ordered = sorted(levels, key=lambda name: (levels[name], name))
    return "".join(f"{name}: {{level: {levels[name]}}}\n" for name in ordered).encode()
