"""shopctl cluster and shopctl rebalance."""

from collections import Counter

from shopset.cli import exits
from shopset.cli.placing import ask
from shopset.cli.printing import Output, Printer, rows_as_dicts
from shopset.cli.serving import serving
from shopset.cli.settings import Settings
from shopset.cli.unseen import observe
from shopset.cli.wiring import open_workplace
from shopset.core.fleets import Fleet
from shopset.core.placement.plans import Seen
from shopset.core.placement.requests import DrainCluster, LoseCluster, Rebalance, ReturnCluster
from shopset.core.release.refusals import RequestRefusedError


def lose(settings: Settings, cluster: str, reason: str, *, dry_run: bool, wait: bool) -> int:
    """Declare a cluster lost, and re-place its shops."""
    return ask(
        settings,
        LoseCluster(cluster=cluster, reason=reason),
        f"cluster {cluster} is lost already",
        dry_run=dry_run,
        wait=wait,
    )


def drain(
    settings: Settings, cluster: str, version: str, reason: str, *, during_bake: bool, dry_run: bool, wait: bool
) -> int:
    """Move all shops off a cluster."""
    why = reason or (f"upgrade to {version}" if version else "")
    if not why:
        raise RequestRefusedError("say why: --reason, or --for-upgrade VERSION")
    request = DrainCluster(cluster=cluster, reason=why, version=version, during_bake=during_bake)
    return ask(settings, request, f"cluster {cluster} is empty already", dry_run=dry_run, wait=wait)


def bring_back(settings: Settings, cluster: str, reason: str, *, dry_run: bool, wait: bool) -> int:
    """Bring the shops of a cluster back."""
    request = ReturnCluster(cluster=cluster, reason=reason)
    return ask(settings, request, f"the shops of cluster {cluster} are coming back already", dry_run=dry_run, wait=wait)


def rebalance(settings: Settings, most: int, reason: str, *, dry_run: bool) -> int:
    """Move a few shops so that loads are more even."""
    return ask(settings, Rebalance(most=most, reason=reason), f"no {most} moves make loads more even", dry_run=dry_run)


def list_clusters(settings: Settings, output: Output) -> int:
    """List clusters: state, ShopSets, shops and loads."""
    workplace = open_workplace(settings)
    observed = observe(workplace)
    seen, _ = workplace.placer.observe(observed)
    served = serving(workplace.fleet, seen)
    shops, versions = _shops(workplace.fleet, seen), workplace.versions(workplace.fleet)
    heads = ("NAME", "STATE", "WISH", "SHOPSETS", "SHOPS", "WORST LOAD", "VERSION", "WHY")
    rows: list[tuple[str, ...]] = []
    for name, each in workplace.fleet.clusters.items():
        record = seen.clusters.get(name)
        hosted = [served[shopset] for shopset in workplace.fleet.hosted(name)]
        unseen = observed.deliveries.get(name)
        # A cluster that cannot be seen is not known to be lost: a person says so, or automatic failover.
        state = record.state if record else "Unreachable" if unseen else "Active"
        worst = max(hosted, key=lambda one: -1.0 if one.share is None else one.share, default=None)
        version = versions.get(name, each.spec.version or "-")
        rows.append(
            (
                name,
                state,
                each.spec.wish,
                str(len(hosted)),
                f"{shops[name]:,}",
                worst.load if worst else "-",
                version,
                record.reason if record else unseen.message if unseen else "",
            )
        )
    printer = Printer(colour=settings.colour)
    if output in (Output.JSON, Output.YAML):
        printer.data(rows_as_dicts(heads, rows), output)
    elif output is Output.NAME:
        for name in workplace.fleet.clusters:
            printer.line(f"cluster/{name}")
    else:
        printer.table(heads, rows)
    return exits.OK


def _shops(fleet: Fleet, seen: Seen) -> Counter[str]:
    """Return how many shops have a replica on each cluster."""
    members = Counter(seen.placement.members.values())
    found: Counter[str] = Counter()
    for group in seen.placement.groups.values():
        replicas = [fleet.shopsets[name] for name in group.replicas if name in fleet.shopsets]
        for cluster in {shopset.spec.cluster for shopset in replicas}:
            found[cluster] += members[group.name]
    return found
