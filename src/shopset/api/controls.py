"""Approval, Hold and Rollback: release control by kubectl. What counts is what the ledger has copied from them."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool

from shopset.api._objects import Line, Object, Resource, Status
from shopset.api.durations import Duration
from shopset.api.errors import InvalidValueError, quoted
from shopset.api.names import Name

REVISION_PATTERN = r"^[0-9a-f]{4,40}$"
_REVISION = re.compile(REVISION_PATTERN.rstrip("$") + r"\Z")


def check_revision_prefix(text: str) -> str:
    """Return `text` where it can be the id of a revision or its beginning. Raises InvalidValueError."""
    if _REVISION.match(text) is None:
        message = f"{quoted(text)} is not the id of a revision"
        raise InvalidValueError(message, "write 4 to 40 of its hexadecimal digits, as in b81e0a9")
    return text


RevisionPrefix = Annotated[
    str, AfterValidator(check_revision_prefix), Field(json_schema_extra={"pattern": REVISION_PATTERN})
]


class ApprovalSpec(Object):
    """Who lets which revision enter which tier, and why."""

    tier: Name
    """The Tier that the revision enters."""
    revision: RevisionPrefix
    """The id of the revision, or its beginning, as in b81e0a9."""
    reason: Line
    """Why, for those who read the ledger."""
    by: Line
    """Who approves; the API server takes only the name of the user who creates it."""
    adopt: StrictBool = False
    """Takes over what a tier that was never pinned has in its branches."""
    bake: Duration | None = None
    """Stands in for the tier's bake, for this revision."""
    expedite: StrictBool = False
    """Lets the revision enter while another is still being verified."""


class Approval(Resource):
    """A person's consent that a revision enters a tier."""

    kind: Literal["Approval"] = "Approval"
    spec: ApprovalSpec
    status: Status | None = None


class HoldSpec(Object):
    """Who keeps everything out of which tier, and why."""

    tier: Name
    """The Tier that nothing enters."""
    reason: Line
    """Why, for those who wait and those who read the ledger."""
    by: Line
    """Who holds; the API server takes only the name of the user who creates it."""


class Hold(Resource):
    """Nothing enters the tier while it exists."""

    kind: Literal["Hold"] = "Hold"
    spec: HoldSpec
    status: Status | None = None


class RollbackSpec(Object):
    """Who takes which tier back to which revision, and why."""

    tier: Name
    """The Tier that goes back."""
    revision: RevisionPrefix
    """The id of a revision that it verified, or its beginning, as in b81e0a9."""
    reason: Line
    """Why, for those who read the ledger."""
    by: Line
    """Who rolls back; the API server takes only the name of the user who creates it."""


class Rollback(Resource):
    """A tier goes back to an earlier revision that it verified."""

    kind: Literal["Rollback"] = "Rollback"
    spec: RollbackSpec
    status: Status | None = None
