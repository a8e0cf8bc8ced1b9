"""A plan: what is to be done now, how each tier stands, what is wrong, and what is still to be found out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from shopset.core.release.actions import AnyAction
from shopset.core.release.observed import Question
from shopset.core.release.revisions import Revision


class Phase(StrEnum):
    """How far a tier is with the revision that is pinned to it."""

    UNPINNED = "Unpinned"
    SYNCING = "Syncing"
    BAKING = "Baking"
    VERIFIED = "Verified"
    REJECTED = "Rejected"
    BLOCKED = "Blocked"
    """Nothing can be said: the condition tells why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of entry, and whether it holds for a revision at a tier."""

    rule: str
    passed: bool | None
    """None where it is not known yet."""
    detail: str
    advice: str = ""
    """The command that helps, where a person can."""
    until: datetime | None = None
    """When time alone will make it hold."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that a person should know about one object, in Kubernetes' form."""

    resource: str
    """`Tier/prod`."""
    type: str
    reason: str
    message: str
    severity: Literal["Error", "Warning", "Info"] = "Error"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the verification of a tier's pin stands."""

    phase: Phase
    detail: str
    since: datetime | None = None
    until: datetime | None = None
    """When the phase ends if nothing happens."""


@dataclass(frozen=True)
class Outlook:
    """How one tier stands."""

    tier: str
    pinned: Revision | None
    progress: Progress
    candidate: Revision | None = None
    """What the tier would take next."""
    checks: tuple[Check, ...] = ()
    """The rules of entry for the candidate."""

    @property
    def admitted(self) -> bool:
        """Whether the candidate may be pinned now."""
        return self.candidate is not None and all(check.passed for check in self.checks)


@dataclass(frozen=True)
class Plan:
    """The result of planning. `actions` are in the order in which they must be done."""

    now: datetime
    actions: tuple[AnyAction, ...]
    outlooks: Mapping[str, Outlook]
    """By tier, ascending."""
    conditions: tuple[Condition, ...] = ()
    questions: frozenset[Question] = frozenset()
    """What the plan would need to know to go further. Answer them and plan again."""
    wake_at: datetime | None = None
    """The next moment at which time alone changes the plan."""
