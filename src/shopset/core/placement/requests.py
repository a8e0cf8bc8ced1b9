"""What people ask of the placement. Each becomes a plan like any other, and what it asks for is in git before anything moves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shopset.core.fleets import Fleet
from shopset.core.placement._checking import check_dedication, check_replicas, check_spread, decidable, placed
from shopset.core.placement.drains import busy_tiers
from shopset.core.placement.grouping import conventional_group, own_group
from shopset.core.placement.modelling import wanted_replicas
from shopset.core.placement.placements import Group, PlacedShop, Whereabouts
from shopset.core.placement.planning import commit_placement, plan_placement, record_cluster, with_facts
from shopset.core.placement.plans import Move, PlacementPlan, Seen
from shopset.core.release.actions import SHOPSET, Identity
from shopset.core.release.records import ClusterRecord
from shopset.core.release.refusals import RequestRefusedError

__all__ = [
    "DrainCluster",
    "Isolate",
    "LoseCluster",
    "PlacementRequest",
    "Rebalance",
    "Release",
    "ReturnCluster",
    "Serve",
    "Spread",
    "placed",
    "respond_placement",
]


@dataclass(frozen=True, kw_only=True)
class LoseCluster:
    """Record that a cluster is lost: all its shops are re-placed at once."""

    cluster: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DrainCluster:
    """Move all shops off a cluster that still runs, in waves."""

    cluster: str
    reason: str
    version: str = ""
    """The Kubernetes version that it is upgraded to; its shops return only when it has it."""
    during_bake: bool = False


@dataclass(frozen=True, kw_only=True)
class ReturnCluster:
    """Bring the shops of a cluster that was lost or drained back, in waves. It ends a drain that is under way, too."""

    cluster: str
    reason: str = ""
    """By default, that what it was lost or drained for is over."""


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Let one shop be served by other ShopSets than its group: moved or pinned there."""

    shop: str
    reason: str
    replicas: tuple[str, ...]
    pinned: bool = False


@dataclass(frozen=True, kw_only=True)
class Release:
    """Let the convention decide again for a shop that a person pinned, isolated or spread."""

    shop: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Isolate:
    """Give one shop dedicated ShopSets to itself."""

    shop: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Spread the requests of a hot shop over several ShopSets, which serve it side by side."""

    shop: str
    reason: str
    replicas: int


@dataclass(frozen=True, kw_only=True)
class Rebalance:
    """Move some shops so that loads are more even."""

    most: int
    reason: str


PlacementRequest = LoseCluster | DrainCluster | ReturnCluster | Serve | Release | Isolate | Spread | Rebalance


def respond_placement(
    fleet: Fleet, seen: Seen, request: PlacementRequest, author: Identity, busy: Mapping[str, str] | None = None
) -> PlacementPlan:
    """Return the plan that meets a request, empty where it is met already. Raises RequestRefusedError.

    `busy` is tier -> what it is at, of tiers whose pin is not verified yet.
    """
    match request:
        case LoseCluster():
            return _record(fleet, seen, request.cluster, "Lost", request.reason, author)
        case DrainCluster():
            if not request.during_bake:
                _refuse_while_busy(fleet, request.cluster, busy or {})
            return _record(fleet, seen, request.cluster, "Draining", request.reason, author, request.version)
        case ReturnCluster():
            return _return(fleet, seen, request, author)
        case Serve():
            return _serve(fleet, seen, request, author)
        case Release() | Isolate() | Spread():
            return _regard(fleet, seen, request, author)
        case Rebalance():
            return _rebalance(fleet, seen, request, author)


def _refuse_while_busy(fleet: Fleet, cluster: str, busy: Mapping[str, str]) -> None:
    for tier in busy_tiers(fleet, cluster, busy)[:1]:
        raise RequestRefusedError(
            f"{tier}, which has ShopSets on cluster {cluster}, is {busy[tier]}: wait for it (shopctl release watch), "
            "or give --during-bake"
        )


def _record(
    fleet: Fleet, seen: Seen, cluster: str, state: str, reason: str, author: Identity, version: str = ""
) -> PlacementPlan:
    _known_cluster(fleet, cluster)
    before = seen.clusters.get(cluster)
    # What shopset declared by itself, a person confirms by declaring it too.
    confirms = before is not None and before.state == state == "Lost" and before.by == str(SHOPSET) != str(author)
    if (
        before is not None
        and not confirms
        and (before.state == state or (state == "Draining" and before.state in ("Lost", "Upgrading")))
    ):
        return plan_placement(fleet, seen)
    record = ClusterRecord.model_validate(
        {
            "cluster": cluster,
            "state": state,
            "since": seen.now,
            "by": str(author),
            "reason": reason,
            "version": version,
            # A cluster that is lost while it drains goes home to where its shops were before the drain.
            "home": before.home if before is not None and before.home else seen.head,
        }
    )
    verb = {"Lost": "declares cluster {} lost", "Draining": "empties cluster {}"}[state].format(cluster)
    return _with_record(fleet, seen, record, f"{author.name} {verb}: {reason}", author)


def _return(fleet: Fleet, seen: Seen, request: ReturnCluster, author: Identity) -> PlacementPlan:
    cluster = _known_cluster(fleet, request.cluster)
    before = seen.clusters.get(cluster)
    if before is None:
        raise RequestRefusedError(f"cluster {cluster} is neither lost nor drained: its shops are where they belong")
    if fleet.clusters[cluster].spec.wish != "Active":
        wish = fleet.clusters[cluster].spec.wish
        raise RequestRefusedError(f"cluster {cluster} is wished to be {wish}: set spec.wish to Active first")
    if before.state == "Returning":
        return plan_placement(fleet, seen)
    after = f"after {before.reason}"
    changes = {"state": "Returning", "since": seen.now, "by": str(author), "reason": request.reason or after}
    if before.state == "Draining":
        # It was not upgraded yet, so nothing is to be waited for.
        changes["version"] = ""
    record = before.model_copy(update=changes)
    why = f": {request.reason}" if request.reason else f" {after}"
    return _with_record(fleet, seen, record, f"{author.name} brings cluster {cluster} back{why}", author)


def _with_record(fleet: Fleet, seen: Seen, record: ClusterRecord, subject: str, author: Identity) -> PlacementPlan:
    why = (f"{author.name} asked for it: {record.reason}",)
    written = record_cluster(seen, record.cluster, record, subject, why, author)
    step = plan_placement(fleet, replace(seen, clusters={**seen.clusters, record.cluster: record}))
    # What the step says of the ledger comes with the next one: this commit has to be there first.
    placed = tuple(each for each in step.actions if each.kind == "Place")
    return replace(step, actions=(written, *placed))


def _rebalance(fleet: Fleet, seen: Seen, request: Rebalance, author: Identity) -> PlacementPlan:
    if request.most < 1:
        raise RequestRefusedError(f"{request.most} shops cannot move: say how many may, at least 1")
    # Nobody remembers the request, so it asks for no more than one wave moves.
    share = fleet.platform.spec.placement.waves.share
    wave = max(len(seen.shops) * share // 100, 1)
    return plan_placement(fleet, seen, min(request.most, wave), author, request.reason)


def _known_cluster(fleet: Fleet, cluster: str) -> str:
    if cluster not in fleet.clusters:
        raise RequestRefusedError(f"the fleet has no cluster {cluster!r}: it has {', '.join(fleet.clusters)}")
    return cluster


def _serve(fleet: Fleet, seen: Seen, request: Serve, author: Identity) -> PlacementPlan:
    found = decidable(fleet, seen, request.shop)
    shop_class = fleet.shop_classes[found.group.shop_class]
    check_replicas(fleet, seen, shop_class, request.replicas, found.group)
    if not request.pinned:
        check_dedication(fleet, shop_class, request.replicas, found.group)
    verb = "pins" if request.pinned else "moves"
    subject = f"{author.name} {verb} shop {found.shop.name} to {', '.join(request.replicas)}: {request.reason}"
    flags = replace(_own(found), pinned=request.pinned)
    return _change(fleet, seen, found, flags, request.replicas, subject, request.reason, author)


def _regard(fleet: Fleet, seen: Seen, request: Release | Isolate | Spread, author: Identity) -> PlacementPlan:
    found = decidable(fleet, seen, request.shop)
    group, shop = _own(found), found.shop.name
    names: tuple[str, ...] | None = None
    match request:
        case Release():
            if not (found.group.pinned or found.group.dedicated or found.group.spread):
                raise RequestRefusedError(
                    f"shop {shop} is placed by its class {group.shop_class} already: to have it elsewhere, shopctl shop move"
                )
            after, subject = (
                replace(group, pinned=False, dedicated=False, spread=0),
                f"lets {group.shop_class} decide for shop {shop}",
            )
            names = _conventional(fleet, seen, after, shop)
        case Isolate():
            if found.group.dedicated:
                return plan_placement(fleet, seen)
            names = _dedicated(fleet, seen, found.group)
            after, subject = replace(group, pinned=False, dedicated=True), f"isolates shop {shop}"
        case Spread():
            if request.replicas < 2:
                raise RequestRefusedError(
                    "a shop is spread over at least 2 ShopSets: shopctl shop release takes it back"
                )
            check_spread(fleet, found.group, request.replicas)
            after, subject = (
                replace(group, spread=request.replicas),
                f"spreads shop {shop} over {request.replicas} ShopSets",
            )
    subject = f"{author.name} {subject}: {request.reason}"
    return _change(fleet, seen, found, after, names, subject, request.reason, author)


def _conventional(fleet: Fleet, seen: Seen, group: Group, shop: str) -> tuple[str, ...] | None:
    """Return where the class has the shop; None where that is to be found out."""
    shared = conventional_group(fleet, seen.shops, seen.placement, group.shop_class, shop)
    names = shared.replicas[: wanted_replicas(fleet, group)] if shared else ()
    return names if len(names) == wanted_replicas(fleet, group) else None


def _own(found: Whereabouts) -> Group:
    """Return the group of its own that a shop has, or would have, with the replicas that it has now."""
    name = own_group(found.group.shop_class, found.shop.name)
    return found.group if found.group.name == name else replace(found.group, name=name)


def _dedicated(fleet: Fleet, seen: Seen, group: Group) -> tuple[str, ...]:
    """Return dedicated ShopSets that nobody has, apart as the class asks. Raises RequestRefusedError."""
    spec = fleet.shop_classes[group.shop_class].spec
    taken = {name for each in seen.placement.groups.values() if each.name != group.name for name in each.replicas}
    chosen: list[str] = []
    for name, shopset in fleet.shopsets.items():
        fits = shopset.spec.dedicated and (shopset.spec.tier, shopset.spec.configuration) == (
            spec.tier,
            spec.configuration,
        )
        free = name not in taken and shopset.spec.cluster not in seen.clusters and name not in seen.unready
        if fits and free and all(_are_apart(fleet, spec.across, name, other) for other in chosen):
            chosen.append(name)
        if len(chosen) == spec.replicas:
            return tuple(chosen)
    raise RequestRefusedError(
        f"it needs {spec.replicas} dedicated ShopSets of {spec.tier} with {spec.configuration} that are free, apart and running, "
        f"and there are {len(chosen)}. Add one: a ShopSet with spec.dedicated: true (shopctl get shopsets -o wide shows those there are)"
    )


def _are_apart(fleet: Fleet, levels: Sequence[str], one: str, other: str) -> bool:
    first, second = (fleet.shopsets[name].spec.cluster for name in (one, other))
    return all(fleet.domain(level, first) != fleet.domain(level, second) for level in levels)


def _change(
    fleet: Fleet,
    seen: Seen,
    found: Whereabouts,
    group: Group,
    replicas: tuple[str, ...] | None,
    subject: str,
    reason: str,
    author: Identity,
) -> PlacementPlan:
    """Give one shop a group of its own with other replicas (None: those that it has); the old ones go with a later step."""
    old = found.group.replicas
    if replicas is not None:
        group = replace(group, replicas=replicas + tuple(name for name in old if name not in replicas))
    if replace(group, name=found.group.name) == found.group:
        return plan_placement(fleet, seen)
    shop = PlacedShop(found.shop.name, group.name, found.shop.hosts)
    after = with_facts(fleet, seen, seen.placement.with_groups([group]).with_shops([shop]))
    moves = (Move(found.group.name, 1, old, group.replicas[: wanted_replicas(fleet, group)], reason),)
    action = commit_placement(seen, after, subject, (f"{author.name} asked for it: {reason}",), author)
    rest = plan_placement(fleet, replace(seen, placement=after))
    return replace(
        rest, placement=after, actions=(action,) if action else (), moves=moves, later=(*rest.moves, *rest.later)
    )
