"""What the oracle can find wrong, and where."""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """A rule that repositories can break; the number is that of the invariant in the architecture."""

    ONE_TIER = "1: a ShopSet is in the tree of one tier only"
    ONE_REVISION = "1: everything in a tier's tree is of one revision"
    ORDER = "2: only what the next lower tier verified enters a tier"
    NEWER = "2: a promotion goes forward, never back"
    ADOPTION = "2: an adoption is approved as such, and is a tier's first pin"
    REJECTED = "2: what a tier rejected does not enter it"
    APPROVED = "2: as many people approved as the tier asks for"
    HELD = "2: nothing enters a held tier"
    FROZEN = "2: nothing enters a frozen tier"
    FAST_FORWARD = "3: a branch only moves forward"
    DELETED = "3: no branch or tag is deleted"
    TAG_MOVED = "3: a tag stays where it is"
    SAME_OBJECTS = "3: an upper tier's branch gets commits that the lower tier verified, themselves"
    KEPT_ALIVE = "3: what is pinned exists, and a tag keeps it"
    EVIDENCE = "4: the evidence covers every ShopSet, at the pin's revision, in an order that time allows"
    BAKE = "4: every ShopSet was healthy for the bake time"
    EXCLUSIVE = "4: a pin is verified or rejected, not both"
    ROLLBACK = "5: a rollback goes to an earlier verified revision, rejects the bad one and holds"
    ON_FAILURE = "5: a rejection is followed by what the tier's onFailure says"
    RETRY = "5: a retry lifts the rejection of what is pinned"
    RENDERER = "6: the renderer is known"
    FLEET = "6: files of a ShopSet are what the renderer makes of the fleet"
    PIN_WITH_RECORD = "9: a tier and its pin's record move in one push"
    JOURNAL = "9: a ref moves by a push"
    LINEAR = "formats: a branch of the system repository is a line"
    PATHS = "formats: only known paths"
    REVISION_FILE = "formats: revision.yaml is three lines, and the gitlinks agree"
    RECORD = "formats: a record has the form of docs/formats.md"
    APPEND_ONLY = "formats: the ledger is only added to"
    SEQUENCE = "formats: pins are numbered without gaps, and name the one before"
    LEVELS = "formats: a tier's level never changes"


@dataclass(frozen=True)
class Violation:
    """A rule that was broken."""

    rule: Rule
    where: str
    detail: str

    def __str__(self) -> str:
        return f"[{self.rule}] {self.where}: {self.detail}"
