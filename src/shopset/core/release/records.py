"""The ledger's files: what was pinned, verified, rejected, approved and held, by whom, and why."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from shopset.api.durations import Duration
from shopset.core.errors import ShopsetError
from shopset.core.release.revisions import Revision


class MalformedRecordError(ShopsetError):
    """A file of the ledger that does not have the form of docs/formats.md."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(
            f"ledger:{path}: {detail}. See docs/formats.md; repair it with git, nothing else was read from it"
        )
        self.path = path


def _in_seconds(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Moment = Annotated[datetime, PlainSerializer(_in_seconds, return_type=str)]
"""A time with its zone, written in UTC with whole seconds."""
ObjectId = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
PinKind = Literal["Promotion", "Adoption", "Rollback", "Retry"]
RejectionReason = Literal["Degraded", "SyncFailed", "GateFailed", "DeadlineExceeded", "RolledBack"]
ClusterState = Literal["Lost", "Draining", "Upgrading", "Returning"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, alias_generator=None)

    def dump(self) -> bytes:
        """Return the file's bytes: block style, fields in their order, empty ones left out."""
        fields = self.model_dump(mode="json", by_alias=True)
        return _as_yaml({key: value for key, value in fields.items() if value not in (None, [], {}, "", False)})

    @classmethod
    def load(cls, path: str, content: bytes) -> Self:
        """Read the file's bytes. Raises MalformedRecordError."""
        try:
            return cls.model_validate(yaml.load(content, yaml.CSafeLoader))  # it is the safe loader, in C
        except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
            raise MalformedRecordError(path, str(error).replace("\n", " ")) from error


def _as_yaml(value: Mapping[str, Any]) -> bytes:
    return yaml.dump(
        value, Dumper=yaml.CSafeDumper, sort_keys=False, width=1 << 20, allow_unicode=True, encoding="utf-8"
    )


class PinRecord(_Record):
    """A revision was pinned to a tier."""

    revision: ObjectId
    apps: ObjectId
    configuration: ObjectId
    renderer: str
    kind: PinKind
    previous: ObjectId | None = None
    skipped: tuple[ObjectId, ...] = ()
    at: Moment
    by: str
    reason: str
    request: str = ""
    """The uid of the Rollback that asked for it, where one did."""

    @property
    def content(self) -> Revision:
        """The revision itself."""
        return Revision(self.apps, self.configuration, self.renderer)


class ShopSetEvidence(_Record):
    """Why one ShopSet counts as running the revision."""

    name: str
    cluster: str
    commit: ObjectId
    synced_at: Moment = Field(alias="syncedAt")
    healthy_since: Moment = Field(alias="healthySince")


class Absence(_Record):
    """A ShopSet that left the quorum, with the reason."""

    name: str
    cluster: str
    reason: str


class GateEvidence(_Record):
    """What a gate read over the bake."""

    name: str
    result: Literal["Pass", "Fail", "Unknown"]
    evidence: str = ""


class VerificationRecord(_Record):
    """A tier verified exactly this revision."""

    revision: ObjectId
    pin: int
    at: Moment
    by: str
    healthy_since: Moment = Field(alias="healthySince")
    bake: Duration = timedelta(0)
    shopsets: tuple[ShopSetEvidence, ...] = ()
    absent: tuple[Absence, ...] = ()
    gates: tuple[GateEvidence, ...] = ()
    images: tuple[str, ...] = ()
    image_ids: Mapping[str, tuple[str, ...]] = Field(default_factory=dict, alias="imageIds")
    """Image, as Pods name it -> the ids that really ran; empty where nobody looked into Pods."""
    note: str = ""


class RejectionRecord(_Record):
    """A tier rejected the revision."""

    revision: ObjectId
    pin: int
    at: Moment
    by: str
    reason: RejectionReason
    message: str


class ApprovalRecord(_Record):
    """A person approved the revision's entry to a tier."""

    revision: ObjectId
    at: Moment
    by: str
    reason: str
    adopt: bool = False
    bake: Duration | None = None
    expedite: bool = False


class Lifting(_Record):
    """A hold's end."""

    at: Moment
    by: str
    reason: str


class HoldRecord(_Record):
    """Nothing enters the tier, until it is lifted."""

    tier: str
    since: Moment
    by: str
    reason: str
    request: str = ""
    """The uid of the Hold that asked for it, where one did."""
    lifted: Lifting | None = None


class ClusterRecord(_Record):
    """What was observed of a cluster."""

    cluster: str
    state: ClusterState
    since: Moment
    by: str
    reason: str
    version: str = ""
    """The Kubernetes version that it is being upgraded to."""
    home: ObjectId | None = None
    """The commit of the branch `placement` before its shops left: where they return to."""


RECORDS: Final[Mapping[str, type[_Record]]] = {
    "pin": PinRecord,
    "verification": VerificationRecord,
    "rejection": RejectionRecord,
    "approval": ApprovalRecord,
    "hold": HoldRecord,
    "cluster": ClusterRecord,
}


def person_slug(by: str) -> str:
    """Return `by` as a file name: lower case, everything but letters and digits a dash."""
    return re.sub(r"[^a-z0-9]+", "-", by.lower()).strip("-") or "somebody"


def pin_path(tier: str, sequence: int) -> str:
    """Return the path of a pin's record."""
    return f"pins/{tier}/{sequence:06d}.yaml"


def verification_path(tier: str, revision: str) -> str:
    """Return the path of a verification's record."""
    return f"verified/{tier}/{revision}.yaml"


def rejection_path(tier: str, revision: str) -> str:
    """Return the path of a rejection's record."""
    return f"rejected/{tier}/{revision}.yaml"


def approval_path(tier: str, revision: str, by: str) -> str:
    """Return the path of a person's approval."""
    return f"approvals/{tier}/{revision}/{person_slug(by)}.yaml"


def hold_path(tier: str, name: str) -> str:
    """Return the path of a hold's record."""
    return f"holds/{tier}/{name}.yaml"


def cluster_path(cluster: str) -> str:
    """Return the path of what was observed of a cluster."""
    return f"clusters/{cluster}.yaml"
