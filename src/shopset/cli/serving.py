"""How many shops each ShopSet serves, and how loaded it is."""

from dataclasses import dataclass

from shopset.core.fleets import Fleet
from shopset.core.placement.evaluating import loads, utilisation
from shopset.core.placement.modelling import model
from shopset.core.placement.plans import Seen


@dataclass(frozen=True)
class Serving:
    """What one ShopSet serves."""

    shops: int
    """With a replica there."""
    share: float | None
    """Of the capacity that it has least of; None where nobody states any, or it is lost."""

    @property
    def load(self) -> str:
        """The share as people read it."""
        return "-" if self.share is None else f"{self.share:.0%}"


def serving(fleet: Fleet, seen: Seen) -> dict[str, Serving]:
    """Return ShopSet -> what it serves."""
    found = model(fleet, seen.shops, seen.placement, seen.clusters, seen.unusable)
    shares = utilisation(found.problem, loads(found.problem, found.problem.legs).rows)[0].max(1)
    shops = seen.placement.serving(fleet.shopsets)
    made = {}
    for name, shopset in fleet.shopsets.items():
        column = found.numbers.get(name)
        known = column is not None and shopset.spec.capacity is not None
        made[name] = Serving(shops.get(name, 0), float(shares[column]) if known else None)
    return made
