"""The placement's observe, plan, act: the same fleet, repositories and clusters as the releases', and the shops."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import is_not

from shopset.core.errors import ShopsetError
from shopset.core.fleets import Fleet
from shopset.core.placement.drains import may_wait
from shopset.core.placement.formats import BRANCH, PlacementReading
from shopset.core.placement.modelling import wanted_replicas
from shopset.core.placement.placements import Group, Placement
from shopset.core.placement.planning import plan_placement
from shopset.core.placement.plans import PlacementPlan, Seen
from shopset.core.placement.requests import PlacementRequest, respond_placement
from shopset.core.placement.seats import Seats
from shopset.core.placement.shops import Shops
from shopset.core.placement.staying import with_staying
from shopset.core.release.actions import Identity
from shopset.core.release.ledgers import BRANCH as LEDGER
from shopset.core.release.observed import Observed, Repository
from shopset.core.release.planning import plan as plan_releases
from shopset.core.release.plans import Condition, Phase, Plan
from shopset.engine.engines import Engine, Outcome
from shopset.engine.ports import ShopReader, ShopsReading
from shopset.engine.rounds import MOST_ROUNDS, Watching, pause_after_race


class DamagedPlacementError(ShopsetError):
    """The branch `placement` cannot be read whole, so nothing is planned on it."""

    def __init__(self, reading: PlacementReading) -> None:
        first, *others = reading.problems
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(f"{first}{more}")
        self.problems = reading.problems


class UnknownPlacementError(ShopsetError):
    """Where the shops are, or which clusters are lost, cannot be seen now, so nothing is planned."""


@dataclass
class Placer:
    """What places the shops of an engine's fleet."""

    engine: Engine
    shops: ShopReader
    versions: Callable[[Fleet], Mapping[str, str]] = lambda _: {}
    """Reads the Kubernetes version of each cluster that can be reached."""
    _incumbents: tuple[Placement, Mapping[str, str]] = field(default_factory=lambda: (Placement(), {}))
    _staying: tuple[tuple[object, ...], Shops] | None = None
    """What the shops of the last round were made of, and they themselves."""
    _last: tuple[Fleet, Seen, PlacementPlan] | None = None
    """The last plan, and what it was made from."""
    _seats: Seats | None = None
    """What the last plan found of each shop; for the next one."""
    _homes: dict[str, Placement] = field(default_factory=dict)
    """Commit -> the placement there, of those that clusters return to."""

    def observe(self, observed: Observed) -> tuple[Seen, tuple[Condition, ...]]:
        """Look at the shops and at the placement, besides what was observed. Returns also what is wrong with shops.

        Raises DamagedPlacementError, UnknownPlacementError, GitError.
        """
        git, fleet = self.engine.git, self.engine.fleet
        _check_seen(observed)
        branches = observed.repositories[Repository.SYSTEM].branches
        head = branches.get(BRANCH)
        placement = self._read(head)
        reading = self.shops.read(fleet, self._hosts(placement))
        homes = {name: each.home for name, each in observed.ledger.clusters.items() if each.home}
        self._homes = {commit: self._homes.get(commit) or self._read(commit) for commit in set(homes.values())}
        seen = Seen(
            now=observed.now,
            shops=self._with_staying(reading, placement),
            placement=placement,
            head=head,
            head_at=git.placed_since(head, _between(fleet, placement)) if head else None,
            clusters=observed.ledger.clusters,
            ledger_head=branches.get(LEDGER),
            homes={name: self._homes[commit] for name, commit in homes.items()},
            unready=unready(fleet, observed),
            unusable=unusable(fleet, observed),
            versions=self.versions(fleet) if observed.ledger.clusters else {},
            busy=self._busy(observed),
        )
        return seen, reading.conditions

    def plan(self, observed: Observed) -> tuple[PlacementPlan, Seen, Observed]:
        """Observe and plan the next step; where nothing has changed, nothing is planned anew. Raises as observe.

        Where something is to be done that was observed without a look at git, git is looked at: whoever acts has looked.
        """
        seen, problems = self.observe(observed)
        fleet = self.engine.fleet
        if self._last is None or not _is_idle(self._last, fleet, seen):
            made = plan_placement(fleet, replace(seen, known=self._seats))
            self._last, self._seats = (fleet, seen, made), made.seats
        made = _with(replace(self._last[2], now=seen.now), problems)
        return (made, seen, observed) if observed.looked or not made.actions else self.plan(self.engine.observe())

    def respond(
        self, request: PlacementRequest, author: Identity, made: Plan, observed: Observed
    ) -> tuple[PlacementPlan, Seen]:
        """Observe and plan what meets a request. `made` is the plan of the releases. Raises RequestRefusedError, and as observe."""
        seen, problems = self.observe(observed)
        asked = replace(seen, known=self._seats)
        found = respond_placement(self.engine.fleet, asked, request, author, busy(made))
        self._seats = found.seats
        return _with(found, problems), seen

    def _busy(self, observed: Observed) -> Mapping[str, str]:
        """Return what the tiers are at, where anything waits for it. What is not looked up yet does not end a bake."""
        fleet = self.engine.fleet
        if not may_wait(fleet, observed.ledger.clusters):
            return {}
        return busy(plan_releases(fleet, observed, self.engine.renderers))

    def _with_staying(self, reading: ShopsReading, placement: Placement) -> Shops:
        """Return the shops that are to be placed: a source that is away must not empty the placement."""
        if reading.is_whole and not reading.unread:
            self._staying = None
            return reading.shops
        given = (reading.shops, placement, reading.unread, reading.is_whole)
        if self._staying is None or any(map(is_not, self._staying[0], given)):
            known = self._last[1].shops if self._last else None
            shops = with_staying(reading.shops, placement, reading.unread, is_whole=reading.is_whole, known=known)
            self._staying = given, shops
        return self._staying[1]

    def _read(self, commit: str | None) -> Placement:
        if commit is None:
            return Placement.of((), ())
        reading = self.engine.git.placement(commit)
        if not reading.is_whole:
            raise DamagedPlacementError(reading)
        return reading.placement

    def _hosts(self, placement: Placement) -> Mapping[str, str]:
        if self._incumbents[0] is not placement:
            hosts = {host: shop for shop, hosts in placement.hosts.items() for host in hosts}
            self._incumbents = (placement, hosts)
        return self._incumbents[1]


@dataclass(frozen=True)
class PlacementRound:
    """A step of the placement and what came of it."""

    plan: PlacementPlan
    outcome: Outcome
    observed: Observed
    seen: Seen


def place(placer: Placer, watching: Watching, observed: Observed | None = None) -> Iterator[PlacementRound]:
    """Yield steps until one has nothing to do now or got nothing done.

    `observed` is what was seen last, where something was. What waits for time or for a cluster is left: `plan.wake_at`
    and `plan.later` say so. Raises TooManyRacesError, and as Placer.observe.
    """
    races = 0
    for _ in range(MOST_ROUNDS):
        if not placer.engine.fleet.shop_classes:
            return
        made, seen, observed = placer.plan(observed or placer.engine.observe())
        outcome = placer.engine.act(made.actions, watching.started, watching.may_act)
        yield PlacementRound(made, outcome, observed, seen)
        observed = None
        if not watching.may_act() or not (outcome.done or outcome.lost_race):
            return
        races = pause_after_race(races, outcome.lost_race, watching) if outcome.lost_race else 0


def _is_idle(last: tuple[Fleet, Seen, PlacementPlan], fleet: Fleet, seen: Seen) -> bool:
    """Whether a plan without actions is still the plan: it was made from the same, and no time that it waits for has come."""
    before, made = last[1:]
    if made.actions or (made.wake_at is not None and seen.now >= made.wake_at):
        return False
    if before.shops is not seen.shops or before.placement is not seen.placement:
        return False
    same = replace(before, now=seen.now, shops=seen.shops, placement=seen.placement, homes={}, head_at=seen.head_at)
    # Homes are commits of records, which are compared; of columns nobody can say whether they are equal.
    return _without_columns(same) == _without_columns(replace(seen, homes={})) and last[0] == fleet


def _without_columns(seen: Seen) -> Seen:
    return replace(seen, shops=_NO_SHOPS, placement=_NO_PLACEMENT)


_NO_SHOPS, _NO_PLACEMENT = Shops(), Placement()


def _check_seen(observed: Observed) -> None:
    """Raise UnknownPlacementError where a plan would be made of less than there is: shops would seem to be nowhere."""
    trouble = observed.repositories[Repository.SYSTEM].trouble
    if trouble is not None:
        raise UnknownPlacementError(f"the placement stands still: {trouble.message}")
    clusters = [each for each in observed.ledger.malformed if each.path.startswith("clusters/")]
    if clusters:
        raise UnknownPlacementError(f"the placement stands still until the ledger can be read: {clusters[0]}")


def _between(fleet: Fleet, placement: Placement) -> list[Group]:
    """Return the groups that still have their old replicas: shops that come and go do not make those wait."""
    groups = (each for each in placement.groups.values() if each.shop_class in fleet.shop_classes)
    return [each for each in groups if len(each.replicas) > wanted_replicas(fleet, each)]


def busy(made: Plan) -> dict[str, str]:
    """Return tier -> what it is at, of tiers that are in the middle of a release."""
    found = {name: outlook.progress.phase for name, outlook in made.outlooks.items()}
    words = {Phase.SYNCING: "being synced", Phase.BAKING: "baking"}
    return {name: words[phase] for name, phase in found.items() if phase in words}


def unready(fleet: Fleet, observed: Observed) -> dict[str, str]:
    """Return the ShopSets that do not run their tier's pin in health -> what they do instead."""
    states = {name: _state(fleet, observed, name) for name in fleet.shopsets}
    return {name: state for name, state in states.items() if state}


def unusable(fleet: Fleet, observed: Observed) -> frozenset[str]:
    """Return the ShopSets that are seen to serve nobody. One that cannot be seen is taken to go on as it did."""
    return frozenset(
        name
        for name, each in fleet.shopsets.items()
        if each.spec.cluster not in observed.deliveries
        and (
            (found := observed.applications.get(name)) is None
            or found.deleting
            or found.health in ("Missing", "Degraded")
            or found.commit is None
        )
    )


def _state(fleet: Fleet, observed: Observed, name: str) -> str:
    shopset = fleet.shopsets[name]
    head, found = observed.tiers.get(shopset.spec.tier), observed.applications.get(name)
    if shopset.spec.cluster in observed.deliveries:
        return "cannot be seen"
    if head is None:
        return f"waits for the first release of {shopset.spec.tier}"
    if found is None:
        return "has no Application yet"
    if not found.is_at(head) or found.sync != "Synced":
        return "is not Synced at its tier's pin"
    return "" if found.health == "Healthy" else f"is {found.health}"


def _with(made: PlacementPlan, problems: tuple[Condition, ...]) -> PlacementPlan:
    return replace(made, conditions=(*problems, *made.conditions))
