"""What holds of every release, whoever was killed, hung or interfered: told by the ledger and by what the git server recorded."""

from itertools import groupby, pairwise

from shopset.core.release.ledgers import Ledger
from shopset.core.release.records import PinRecord
from support.kubernetes import KubernetesWorld
from support.worlds import git

_NONE = "0" * 40


def check_history(world: KubernetesWorld) -> None:
    """Check the order of releases, and that no branch was ever moved but forward."""
    ledger = world.ledger()
    assert not ledger.malformed
    for tier in world.tiers:
        check_verified(ledger, tier)
    for lower, tier in pairwise(world.tiers):
        check_order(ledger, lower, tier)
    for level, tier in enumerate(world.tiers):
        assert revisions_of(world, f"tier-{level}") == [pin.revision for pin in ledger.pins[tier]]
    for name in ("system", "apps", "configuration"):
        check_forward(world, name)


def check_verified(ledger: Ledger, tier: str) -> None:
    """A tier verifies only what it was given, and takes each revision once, unless a person says otherwise."""
    promoted = [pin.revision for pin in promotions(ledger, tier)]
    assert len(set(promoted)) == len(promoted)
    for revision, found in ledger.verified.get(tier, {}).items():
        pin = ledger.pins[tier][found.pin - 1]
        assert pin.revision == revision
        assert pin.at <= found.healthy_since <= found.at


def check_order(ledger: Ledger, lower: str, tier: str) -> None:
    """A tier takes only what the next lower one has verified."""
    for pin in promotions(ledger, tier):
        assert ledger.verified[lower][pin.revision].at <= pin.at


def promotions(ledger: Ledger, tier: str) -> list[PinRecord]:
    """Return the pins of a tier by which a revision came to it for the first time."""
    return [pin for pin in ledger.pins.get(tier, ()) if pin.kind == "Promotion"]


def revisions_of(world: KubernetesWorld, branch: str) -> list[str]:
    """Return the revisions that a branch of shopset-system held, in their order."""
    folder = world.repository("system")
    commits = git("log", "--first-parent", "--reverse", "--format=%H:revision.yaml", branch, folder=folder).splitlines()
    held = git("rev-parse", *commits, folder=folder).splitlines()
    return [revision for revision, _ in groupby(held)]


def check_forward(world: KubernetesWorld, name: str) -> None:
    """The git server recorded every update of every branch of a repository: each is a fast-forward."""
    folder = world.repository(name)
    logs = [path for path in (folder / "logs" / "refs" / "heads").rglob("*") if path.is_file()]
    assert logs
    for log in logs:
        for line in log.read_text().splitlines():
            old, new = line.split(" ")[:2]
            if old != _NONE:
                git("merge-base", "--is-ancestor", old, new, folder=folder)
