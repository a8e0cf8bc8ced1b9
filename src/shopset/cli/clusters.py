"""shopctl cluster and shopctl rebalance."""

from collections import Counter

from shopset.cli import exits
from shopset.cli.placing import ask
from shopset.cli.printing import Output, Printer, rows_as_dicts
from shopset.cli.settings import Settings
from shopset.cli.wiring import open_workplace
from shopset.core.placement.evaluating import loads, utilisation
from shopset.core.placement.modelling import model
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
    seen, _ = workplace.placer.observe(workplace.engine.observe())
    found = model(workplace.fleet, seen.shops, seen.placement, seen.clusters, seen.unusable)
    shares = utilisation(found.problem, loads(found.problem, found.problem.legs).rows)[0].max(1)
    shops: Counter[str] = Counter()
    worst: dict[str, float] = {}
    for row, group in enumerate(found.groups):
        for cluster in {
            workplace.fleet.shopsets[name].spec.cluster for name in group.replicas if name in found.numbers
        }:
            shops[cluster] += int(found.problem.weight[row])
    for name, column in found.numbers.items():
        cluster = workplace.fleet.shopsets[name].spec.cluster
        worst[cluster] = max(worst.get(cluster, 0.0), float(shares[column]))
    heads = ("NAME", "STATE", "WISH", "SHOPSETS", "SHOPS", "WORST LOAD", "VERSION", "WHY")
    rows: list[tuple[str, ...]] = []
    for name, each in workplace.fleet.clusters.items():
        record = seen.clusters.get(name)
        number = sum(shopset.spec.cluster == name for shopset in workplace.fleet.shopsets.values())
        state = record.state if record else "Active"
        load = f"{worst[name]:.0%}" if name in worst else "-"
        version = seen.versions.get(name, each.spec.version or "-")
        rows.append(
            (
                name,
                state,
                each.spec.wish,
                str(number),
                f"{shops[name]:,}",
                load,
                version,
                record.reason if record else "",
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
