"""Tier: a level of update, and the rules by which a revision climbs to it."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from shopset.api._objects import Object, Resource, Status, check_distinct
from shopset.api.durations import Duration, parse_duration
from shopset.api.freezes import FreezeWindow
from shopset.api.gates import Gate
from shopset.api.platforms import Repositories

MAX_LEVEL = 99


class Approvals(Object):
    """How many people must approve a revision before it enters the tier."""

    required: Annotated[StrictInt, Field(ge=0, le=20)] = 0
    """How many different people."""


class Promotion(Object):
    """How a revision enters the tier, and when the tier has verified it."""

    mode: Literal["Automatic", "Manual"] = "Automatic"
    """Manual means that at least one person approves."""
    bake: Duration = parse_duration("0s")
    """How long every ShopSet must have been Healthy, and every gate must not have failed."""
    approvals: Approvals = Approvals()
    gates: Annotated[tuple[Gate, ...], Field(max_length=32)] = ()
    """What must not fail during the bake."""
    freeze: Annotated[tuple[FreezeWindow, ...], Field(max_length=64)] = ()
    """When nothing may enter the tier."""
    deadline: Duration = parse_duration("1h")
    """How long ShopSets may take to be Synced and Healthy, and gates to be known, until the revision is rejected."""
    failure_grace: Duration = parse_duration("1m")
    """How long a ShopSet may be Degraded, or fail to sync, until the revision is rejected."""
    no_data: Literal["Block", "Pass", "Fail"] = "Block"
    """What a gate means that is still unknown when the bake is over."""
    queue: Literal["Latest", "All"] = "Latest"
    """Latest goes to the newest revision that the lower tier verified; All takes each."""
    on_failure: Literal["Continue", "Hold", "Rollback"] = "Continue"
    """What follows a rejected revision: the next candidate, a hold until a person lifts it, or the one verified before and a hold."""
    when_empty: Literal["Block", "PassThrough"] = "Block"
    """What a tier without ShopSets does."""
    supersede: StrictBool = False
    """Whether a newer revision replaces one that is still being verified."""

    @property
    def approvals_needed(self) -> int:
        """How many people must approve."""
        return max(self.approvals.required, int(self.mode == "Manual"))

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        check_distinct("gates", (gate.name for gate in self.gates))
        check_distinct("freeze", (window.name for window in self.freeze))
        return self


class TierSpec(Object):
    """A level of update."""

    level: Annotated[StrictInt, Field(ge=0, le=MAX_LEVEL)]
    """Its branches are `tier-<level>`; it never changes."""
    repositories: Repositories | None = None
    """The Platform's, where they are repeated here."""
    promotion: Promotion = Promotion()


class TierStatus(Status):
    """What was observed of a Tier."""

    pinned: str | None = None
    candidate: str | None = None
    phase: str | None = None


class Tier(Resource):
    """A level of update."""

    kind: Literal["Tier"] = "Tier"
    spec: TierSpec
    status: TierStatus | None = None
