"""The ledger at one commit, and the form that each of its files must have."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

import yaml

from model.documents import parse
from model.repositories import Entry, Store
from model.verdicts import Rule, Violation

Record = dict[str, Any]
_FORMS: Mapping[str, str] = {
    "pins": "revision! apps! configuration! renderer! kind! previous skipped at! by! reason!",
    "verified": "revision! pin! at! by! healthySince! bake shopsets absent gates images imageIds note",
    "rejected": "revision! pin! at! by! reason! message!",
    "approvals": "revision! at! by! reason! adopt bake expedite",
    "holds": "tier! since! by! reason! lifted",
    "clusters": "cluster! state! since! by! reason! version",
}
_DEPTHS = {"pins": 3, "verified": 3, "rejected": 3, "approvals": 4, "holds": 3, "clusters": 2}
_CHOICES = {
    ("pins", "kind"): {"Promotion", "Adoption", "Rollback", "Retry"},
    ("rejected", "reason"): {"Degraded", "SyncFailed", "GateFailed", "DeadlineExceeded", "RolledBack"},
    ("clusters", "state"): {"Lost", "Upgrading"},
}


_TIMES = ("at", "since", "healthySince", "syncedAt")


class LedgerState:
    """Everything the ledger says at one commit (None: before its first)."""

    def __init__(self, store: Store, commit: str | None) -> None:
        self._store = store
        self.files: Mapping[str, Entry] = store.files(store.commit(commit).tree) if commit else {}

    def load(self, path: str) -> Record:
        """Read one file; empty where there is none or it is no mapping."""
        if path not in self.files:
            return {}
        try:
            value = parse(self._store.blob(self.files[path].id))
        except yaml.YAMLError:
            return {}
        return {str(key): _timed(str(key), entry) for key, entry in value.items()} if isinstance(value, dict) else {}

    @cached_property
    def _pins(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for path in sorted(self.files):
            if path.startswith("pins/"):
                found.setdefault(path.split("/")[1], []).append(self.load(path))
        return found

    def pins(self, tier: str) -> list[Record]:
        """Return the pins of a tier, oldest first."""
        return self._pins.get(tier, [])

    def newest(self, tier: str) -> str | None:
        """Return the revision that was pinned last."""
        pins = self.pins(tier)
        return str(pins[-1].get("revision")) if pins else None

    def place(self, tier: str, revision: object) -> int:
        """Return where in the order of pins a revision came last; -1 where never."""
        places = [index for index, pin in enumerate(self.pins(tier)) if pin.get("revision") == revision]
        return places[-1] if places else -1

    def verified(self, tier: str, revision: object) -> Record:
        """Return the record by which a tier verified a revision; empty where it did not."""
        return self.load(f"verified/{tier}/{revision}.yaml")

    def rejected(self, tier: str, revision: object) -> Record:
        """Return the record by which a tier rejected a revision; empty where it did not."""
        return self.load(f"rejected/{tier}/{revision}.yaml")

    def approvals(self, tier: str, revision: object) -> list[Record]:
        """Return the approvals of a revision for a tier, oldest first."""
        found = [self.load(path) for path in self.files if path.startswith(f"approvals/{tier}/{revision}/")]
        return sorted(found, key=lambda record: (record["at"], record["by"]))

    def active_holds(self, tier: str) -> list[str]:
        """Return the holds of a tier that are not lifted."""
        return [
            path
            for path in sorted(self.files)
            if path.startswith(f"holds/{tier}/") and not self.load(path).get("lifted")
        ]

    def levels(self) -> dict[str, int]:
        """Return tier -> level."""
        return {tier: entry["level"] for tier, entry in self.load("tiers.yaml").items()}

    def malformed(self, path: str) -> Iterator[Violation]:
        """Judge the form of one file."""
        kind, *names = path.removesuffix(".yaml").split("/")
        if path == "tiers.yaml":
            return
        if (
            kind not in _FORMS
            or len(names) + 1 != _DEPTHS[kind]
            or not path.endswith(".yaml")
            or self.files[path].mode != "100644"
        ):
            yield Violation(Rule.PATHS, f"ledger:{path}", "no file of the ledger is there")
            return
        text, record = self._store.blob(self.files[path].id).decode(), self.load(path)
        for detail in (*_form_problems(kind, record), *_text_problems(text), *_name_problems(kind, names, record)):
            yield Violation(Rule.RECORD, f"ledger:{path}", detail)


def _timed(key: str, value: Any) -> Any:
    """Return the value with every time in it as one: YAML has them as text where they are quoted."""
    if isinstance(value, dict):
        return {name: _timed(name, entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_timed("", entry) for entry in value]
    if key in _TIMES and isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
        return datetime.fromisoformat(value)
    return value


def _form_problems(kind: str, record: Record) -> Iterator[str]:
    keys = _FORMS[kind].split()
    order = [key.rstrip("!") for key in keys]
    missing = [key[:-1] for key in keys if key.endswith("!") and key[:-1] not in record]
    if missing:
        yield f"lacks {missing}"
    if list(record) != [key for key in order if key in record]:
        yield f"has the keys {list(record)}, not {order} in this order"
    empty = [key for key, value in record.items() if value in (None, [], {}, "", False)]
    if empty:
        yield f"says nothing by {empty}"
    for key, value in _times(record):
        if not isinstance(value, datetime):
            yield f"{key} is no time in UTC with whole seconds: {value!r}"
    for (chosen, key), choices in _CHOICES.items():
        if chosen == kind and record.get(key) not in choices:
            yield f"{key} is {record.get(key)!r}, none of {sorted(choices)}"


def _text_problems(text: str) -> Iterator[str]:
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield "does not end with one newline"


def _times(value: Any) -> Iterator[tuple[str, Any]]:
    entries = (
        value.items()
        if isinstance(value, dict)
        else [("", entry) for entry in value]
        if isinstance(value, list)
        else []
    )
    for key, entry in entries:
        if key in _TIMES:
            yield key, entry
        yield from _times(entry)


def _name_problems(kind: str, names: list[str], record: Record) -> Iterator[str]:
    if kind in {"verified", "rejected", "approvals"} and record.get("revision") != names[1]:
        yield f"is about {record.get('revision')}, its name about {names[1]}"
    if kind == "approvals" and names[2] != re.sub(r"[^a-z0-9]+", "-", str(record.get("by")).lower()).strip("-"):
        yield f"is given by {record.get('by')}, its name says {names[2]}"
    if kind == "holds" and record.get("tier") != names[0]:
        yield f"is about {record.get('tier')}, its path about {names[0]}"
    if kind == "pins" and not re.fullmatch(r"[0-9]{6}", names[1]):
        yield f"has the number {names[1]}, not six digits"
