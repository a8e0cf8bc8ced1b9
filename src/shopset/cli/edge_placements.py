"""The placement as edges see it: of the branch alone, now or at a commit or time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shopset.cli.printing import complain
from shopset.cli.settings import Settings
from shopset.cli.shops import moment
from shopset.cli.unseen import placement_head
from shopset.cli.wiring import Workplace, open_workplace
from shopset.core.placement.placements import Placement
from shopset.core.release.observed import Repository
from shopset.core.release.refusals import RequestRefusedError
from shopset.core.release.revisions import SHORT

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
_LONGEST: Final = 100_000
"""Commits among which one is looked for by the beginning of its id."""
_SHOWN: Final = 3
"""Problems of a placement that are told."""


@dataclass(frozen=True)
class Look:
    """A fleet, and a commit of its placement."""

    workplace: Workplace
    commit: str

    @property
    def placement(self) -> Placement:
        """What the commit says; of what is malformed in it some is told."""
        return read(self.workplace, self.commit)


def look(settings: Settings, at: str | None = None) -> Look:
    """Find the commit of the placement that counts, or counted then. Raises RequestRefusedError, UnseenError, and as open_workplace."""
    return look_from(open_workplace(settings), at)


def look_from(workplace: Workplace, at: str | None = None) -> Look:
    """Do so for a fleet that is open. Raises RequestRefusedError, UnseenError."""
    head = placement_head(workplace)
    if head is not None and at is not None and _COMMIT.fullmatch(at):
        return Look(workplace, _whole(workplace, head, at))
    commit = head if at is None else workplace.remotes.placement_at(moment(at))
    if commit is None:
        raise RequestRefusedError(
            "no shop was placed then" if at else "no shop is placed yet: shopctl apply places them"
        )
    return Look(workplace, commit)


def read(workplace: Workplace, commit: str) -> Placement:
    """Read a commit of the placement; edges refuse one that is malformed, so that is told. Raises AbsentObjectError."""
    reading = workplace.remotes.placement(commit)
    for problem in reading.problems[:_SHOWN]:
        complain(f"note: edges refuse {commit[:SHORT]}: {problem}")
    return reading.placement


def agents_of(workplace: Workplace, given: Sequence[str]) -> Sequence[str]:
    """Return the URLs of the agents to ask: those of the Platform where none is given."""
    return given or workplace.fleet.platform.spec.edge.agents


def _whole(workplace: Workplace, head: str, commit: str) -> str:
    """Return the full id of a commit of the branch."""
    log = workplace.remotes.log(Repository.SYSTEM, head, limit=_LONGEST)
    found = [each.commit for each in log if each.commit.startswith(commit)]
    if len(found) != 1:
        raise RequestRefusedError(
            f"the branch placement has {'no commit' if not found else f'{len(found)} commits'} {commit}: "
            "shopctl shop where SHOP --at shows when a shop moved"
        )
    return found[0]
