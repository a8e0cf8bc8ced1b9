"""The actions of a plan: frozen values that say what, why, and carry all that acting needs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from shopset.core.release.observed import Repository


class ActionKind(StrEnum):
    """What an action does, in one word."""

    RECORD_TIERS = "RecordTiers"
    TAG = "Tag"
    PIN = "Pin"
    RENDER = "Render"
    VERIFY = "Verify"
    REJECT = "Reject"
    FAST_FORWARD = "FastForward"
    APPLY = "Apply"
    REFRESH = "Refresh"
    SYNC = "Sync"
    DELETE = "Delete"
    APPROVE = "Approve"
    HOLD = "Hold"
    RESUME = "Resume"
    ROLLBACK = "Rollback"
    RETRY = "Retry"
    HOTFIX = "Hotfix"
    PLACE = "Place"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class Identity:
    """A person or process, as git names them."""

    name: str
    email: str

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name <email>`; whatever else it is counts as a name."""
        match = re.fullmatch(r"(?P<name>[^<>]*?)\s*<(?P<email>[^<>]*)>", text)
        return cls(match["name"], match["email"]) if match else cls(text, "unknown@localhost")


SHOPSET: Final = Identity("shopset", "shopset@localhost")
"""The author of what nobody asked for: automatic promotions, verifications, rejections."""


@dataclass(frozen=True)
class Commit:
    """A commit on a branch of the system repository, as a difference to its parent. Only what changes is in it."""

    branch: str
    parent: str | None
    """The head that the plan saw; None where the branch is to be created."""
    subject: str
    writes: Mapping[str, bytes] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    """Files, sorted. What is not there is no error."""
    gitlinks: Mapping[str, str] = field(default_factory=dict)
    trailers: tuple[tuple[str, str], ...] = ()
    before: Mapping[str, bytes] | None = None
    """Path -> what the plan saw there of the files that are written; new ones are left out.

    Where it is given, a person is shown patches and not whole files.
    """

    @property
    def message(self) -> str:
        """The whole commit message."""
        trailers = "".join(f"{key}: {' '.join(value.split())}\n" for key, value in self.trailers)
        return f"{self.subject}\n" + (f"\n{trailers}" if trailers else "")


@dataclass(frozen=True, kw_only=True)
class Action:
    """What every action says."""

    kind: ActionKind
    what: str
    """One line: what is done."""
    why: tuple[str, ...]
    """The rule and its evidence, a line each."""
    tier: str | None = None
    author: Identity = SHOPSET
    at: datetime
    """The time that the plan was made at: it is the author date, so that apply and a person make the same objects."""


@dataclass(frozen=True, kw_only=True)
class PushCommits(Action):
    """Commits on branches of the system repository, pushed in one atomic push."""

    commits: tuple[Commit, ...]


@dataclass(frozen=True, slots=True, order=True)
class RefUpdate:
    """A ref that gets an existing commit by a plain push."""

    ref: str
    """Full name: `refs/heads/tier-1`, `refs/tags/shopset/7f3c1d2`."""
    commit: str
    expected: str | None
    """What the plan saw there."""


@dataclass(frozen=True, kw_only=True)
class PushRefs(Action):
    """Refs of the apps or the configuration repository that get existing commits, in one atomic push."""

    repository: Repository
    updates: tuple[RefUpdate, ...]


@dataclass(frozen=True, kw_only=True)
class PushMerge(Action):
    """A commit with several parents and the tree of one existing commit, pushed to a branch of apps or configuration."""

    repository: Repository
    branch: str
    parents: tuple[str, ...]
    """The first is the branch's head."""
    tree_of: str
    """The commit whose tree it has."""
    subject: str
    pending: str | None = None
    """A branch to prepare: the content of the merge of both parents, on top of this commit, ready for a pull request.

    It brings the work that the hotfix overtook back. It is left out where git cannot merge the two by itself.
    """


@dataclass(frozen=True, kw_only=True)
class ApplyApplication(Action):
    """The Application of a ShopSet is applied: exactly the file `applications/<shopset>.yaml` of a commit."""

    shopset: str
    cluster: str
    application: str
    branch: str
    blob: str
    """Id of the file's content, as the plan saw it on the branch."""


@dataclass(frozen=True, kw_only=True)
class OnApplication(Action):
    """Something is done to the Application of a ShopSet that is there."""

    shopset: str
    cluster: str
    application: str


@dataclass(frozen=True, kw_only=True)
class RefreshApplication(OnApplication):
    """Argo CD is asked to look at git now, and not when its poll is due."""


@dataclass(frozen=True, kw_only=True)
class SyncApplication(OnApplication):
    """A sync that failed for good is started once more: Argo CD itself never tries the same commit again."""


@dataclass(frozen=True, kw_only=True)
class DeleteApplication(OnApplication):
    """The Application of a ShopSet that the fleet does not have any more is deleted."""


AnyAction = (
    PushCommits | PushRefs | PushMerge | ApplyApplication | RefreshApplication | SyncApplication | DeleteApplication
)
