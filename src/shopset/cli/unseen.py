"""What cannot be seen now is told as that: a repository that cannot be read must not look like one that is empty."""

from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress

from shopset.cli import exits
from shopset.cli.printing import complain
from shopset.cli.wiring import Workplace, utc_now
from shopset.core.errors import ShopsetError
from shopset.core.placement.formats import BRANCH
from shopset.core.release.observed import Observed, Repository, Trouble
from shopset.core.release.plans import Plan
from shopset.gitops import GitError


class UnseenError(ShopsetError):
    """What was asked for is in repositories that cannot be read."""


def is_blind(observed: Observed) -> bool:
    """Whether nothing of releases and shops is known: all of it is in the system repository."""
    return observed.repositories[Repository.SYSTEM].trouble is not None


def is_whole(observed: Observed) -> bool:
    """Whether every repository was seen."""
    return all(seen.trouble is None for seen in observed.repositories.values())


def tell_unseen(observed: Observed, needed: Collection[Repository] = tuple(Repository)) -> int:
    """Say which repositories an answer lacks, with the cause and what to do. Returns the exit code of the answer."""
    words = _words({kind: seen.trouble for kind, seen in observed.repositories.items() if kind in needed})
    for line in words:
        complain(f"error: {line}")
    return exits.UNREACHABLE if words else exits.OK


def observe(workplace: Workplace) -> Observed:
    """Look at everything once. Raises UnseenError where nothing could be told."""
    observed = workplace.engine.observe()
    check_seen(observed)
    return observed


def plan(workplace: Workplace) -> tuple[Plan, Observed]:
    """Observe and plan. Raises UnseenError where nothing could be told."""
    made, observed = workplace.engine.plan()
    check_seen(observed)
    return made, observed


def placement_head(workplace: Workplace) -> str | None:
    """Return the commit of the placement; as seen last where git is away, which edges go on with too. None: there is none.

    Raises UnseenError where none was seen either.
    """
    system = workplace.remotes.observe({}).repositories[Repository.SYSTEM]
    if system.trouble is None:
        return system.branches.get(BRANCH)
    head: str | None = None
    with suppress(GitError):
        head = workplace.remotes.placement_at(utc_now())
    if head is None:
        raise UnseenError(_words({Repository.SYSTEM: system.trouble})[0])
    complain(f"note: as seen last: {system.trouble.message}")
    return head


def check_seen(observed: Observed) -> None:
    """Raise UnseenError where nothing of releases and shops is known."""
    trouble = observed.repositories[Repository.SYSTEM].trouble
    if trouble is not None:
        raise UnseenError(_words({Repository.SYSTEM: trouble})[0])


def _words(troubles: dict[Repository, Trouble | None]) -> list[str]:
    """Return a line for each cause: one folder or server that is away takes several repositories with it."""
    causes: dict[str, list[str]] = defaultdict(list)
    for kind, trouble in troubles.items():
        if trouble is not None:
            causes[trouble.message].append(kind.value)
    return [f"nothing is seen of the {_named(kinds)}: {why}" for why, kinds in causes.items()]


def _named(kinds: list[str]) -> str:
    *others, last = kinds
    return f"{', '.join(others)} and {last} repositories" if others else f"{last} repository"
