"""shopctl shop: where shops are, why, and what people ask for them."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic import ValidationError

from shopset.api import InvalidValueError, Shop, normalise_host, parse_duration
from shopset.cli import exits
from shopset.cli.placing import ask, go_on
from shopset.cli.printing import Output, Printer, local, rfc3339, rows_as_dicts
from shopset.cli.settings import Settings
from shopset.cli.unseen import observe, placement_head
from shopset.cli.wiring import Workplace, open_workplace, utc_now
from shopset.core.fleets import Fleet
from shopset.core.placement.evaluating import loads, utilisation
from shopset.core.placement.grouping import is_shared
from shopset.core.placement.modelling import model, wanted_replicas
from shopset.core.placement.placements import Group, Whereabouts
from shopset.core.placement.plans import Seen
from shopset.core.placement.requests import Isolate, Release, Serve, Spread, placed
from shopset.core.release.refusals import RequestRefusedError
from shopset.gitops.placements import PlacementChange

if TYPE_CHECKING:
    from lightkube import Client

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_CHANGES: Final = 3
"""So many changes of a shop are looked at for the one that says why it is where it is."""


def list_shops(settings: Settings, on: str | None, shop_class: str | None, limit: int, output: Output) -> int:
    """List shops with their ShopSets."""
    workplace = open_workplace(settings)
    seen, _ = workplace.placer.observe(observe(workplace))
    wanted = _on(workplace.fleet, on)
    groups = {
        name: group
        for name, group in seen.placement.groups.items()
        if (wanted is None or not wanted.isdisjoint(group.replicas)) and shop_class in (None, group.shop_class)
    }
    found = sorted((shop, groups[group]) for shop, group in seen.placement.members.items() if group in groups)
    heads = ("NAME", "CLASS", "SHOPSETS", "GROUP")
    rows = [(shop, group.shop_class, ", ".join(group.replicas) or "-", group.name) for shop, group in found[:limit]]
    printer = Printer(colour=settings.colour)
    if output in (Output.JSON, Output.YAML):
        printer.data(rows_as_dicts(heads, rows), output)
    elif output is Output.NAME:
        for row in rows:
            printer.line(f"shop/{row[0]}")
    else:
        printer.table(heads, rows)
        if len(found) > limit:
            printer.line(f"{limit} of {len(found):,}: --limit, --on and --class choose", "dim")
    return exits.OK


def _on(fleet: Fleet, name: str | None) -> set[str] | None:
    if name is None:
        return None
    if name in fleet.shopsets:
        return {name}
    if name in fleet.clusters:
        return set(fleet.hosted(name))
    raise RequestRefusedError(f"the fleet has no ShopSet and no cluster {name!r}: it has {', '.join(fleet.shopsets)}")


def where(settings: Settings, shop: str, at: str | None, output: Output) -> int:
    """Show which ShopSets serve a shop, now or at a time, since when and why."""
    workplace = open_workplace(settings)
    head = placement_head(workplace)
    if at is not None:
        head = workplace.remotes.placement_at(moment(at))
    if head is None:
        raise RequestRefusedError(
            "no shop was placed then" if at else "no shop is placed yet: shopctl apply places them"
        )
    found = _find(workplace, head, shop)
    change = _last_change(workplace, head, found.shop.name)
    printer = Printer(colour=settings.colour)
    if output in (Output.JSON, Output.YAML):
        printer.data(_where_data(workplace.fleet, found, change), output)
        return exits.OK
    if output is Output.NAME:
        for name in found.group.replicas:
            printer.line(f"shopset/{name}")
        return exits.OK
    fleet, group = workplace.fleet, found.group
    tier = fleet.shop_classes[group.shop_class].spec.tier if group.shop_class in fleet.shop_classes else "?"
    flags = [word for word, given in (("pinned", group.pinned), ("isolated", group.dedicated)) if given]
    printer.line(
        f"{found.shop.name}  class {group.shop_class}  tier {tier}{'  ' + ', '.join(flags) if flags else ''}", "bold"
    )
    rows = [_replica(fleet, group, number) for number in range(len(group.replicas))]
    for line in _aligned(rows):
        printer.line(f"  {line}")
    if not rows:
        printer.line("  no ShopSet: shopctl shop explain says why")
    printer.line(f"hosts {', '.join(found.shop.hosts)}", "dim")
    if change is not None:
        printer.line(_since(change, group))
    return exits.OK


def _find(workplace: Workplace, head: str, shop: str) -> Whereabouts:
    found = workplace.remotes.placed(head, shop)
    if found is not None:
        return found
    placement = workplace.remotes.placement(head).placement
    try:
        owner = placement.owners([normalise_host(shop)]).get(normalise_host(shop))
    except InvalidValueError:
        owner = None
    found = placement.shop(owner) if owner else None
    if found is None:
        raise RequestRefusedError(f"there is no shop {shop!r}, by name or host: shopctl shop list shows them")
    return found


def _replica(fleet: Fleet, group: Group, number: int) -> tuple[str, ...]:
    name = group.replicas[number]
    shopset = fleet.shopsets.get(name)
    if shopset is None:
        return (f"{number + 1}.", name, "not in the fleet any more", "", "leaving")
    cluster = fleet.clusters[shopset.spec.cluster]
    wanted = wanted_replicas(fleet, group) if group.shop_class in fleet.shop_classes else len(group.replicas)
    role = "leaving" if number >= wanted else "serving" if number < max(group.spread, 1) else "standby"
    region = cluster.topology.get("region", "")
    return (f"{number + 1}.", name, f"cluster {cluster.name}", f"region {region}" if region else "", role)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _last_change(workplace: Workplace, head: str, shop: str) -> PlacementChange | None:
    """Return the change that brought a shop to where it is, rather than the one after it in which an old replica left."""
    for limit in (1, _CHANGES):
        found = list(workplace.remotes.placement_log(head, shop, limit=limit))
        change = next((each for each in found if not _only_leaves(each)), None)
        if change is not None or not found:
            return change
    return found[0]


def _only_leaves(change: PlacementChange) -> bool:
    if change.before is None or change.after is None:
        return False
    before, after = change.before.group, change.after.group
    left = before.replicas[: len(after.replicas)] == after.replicas and before.replicas != after.replicas
    return left and replace(before, replicas=()) == replace(after, replicas=())


def _since(change: PlacementChange, group: Group) -> str:
    before = change.before.group.replicas if change.before else ()
    gone = [name for name in before if name not in group.replicas]
    how = f"moved from {', '.join(gone)}: " if gone else ""
    # What a person asked for begins with who it was.
    by = "" if change.subject.startswith(f"{change.author.name} ") else f", by {change.author.name}"
    return f"since {local(change.at)} ({how}{change.subject}{by})"


def _where_data(fleet: Fleet, found: Whereabouts, change: PlacementChange | None) -> dict[str, Any]:
    group = found.group
    return {
        "shop": found.shop.name,
        "hosts": list(found.shop.hosts),
        "class": group.shop_class,
        "group": group.name,
        "replicas": [
            {"shopset": row[1], "cluster": row[2].removeprefix("cluster "), "role": row[4]}
            for row in (_replica(fleet, group, number) for number in range(len(group.replicas)))
        ],
        "pinned": group.pinned,
        "isolated": group.dedicated,
        "spread": group.spread,
        "since": rfc3339(change.at) if change else None,
        "reason": change.subject if change else None,
        "by": str(change.author) if change else None,
    }


def moment(text: str) -> datetime:
    """Read a date, a time, or a duration before now. Raises RequestRefusedError."""
    try:
        return utc_now() - parse_duration(text)
    except InvalidValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestRefusedError(f"{text!r} is no time: write 2026-11-01, 2026-11-01T14:00 or 3h") from error
    local_time = found if found.tzinfo else found.astimezone()
    # A day without a time is that day to its end.
    return (local_time + timedelta(days=1) if _DATE.fullmatch(text) else local_time).astimezone(UTC)


def explain(settings: Settings, shop: str) -> int:
    """Say why a shop is where it is, and where else it could be."""
    workplace = open_workplace(settings)
    seen, problems = workplace.placer.observe(observe(workplace))
    printer = Printer(colour=settings.colour)
    told = [each for each in problems if each.resource == f"Shop/{shop}"]
    for each in told:
        printer.line(f"! {each.reason}: {each.message}", "red")
    if told and seen.placement.shop(shop) is None:
        return exits.FAILURE
    for line in _explanation(workplace.fleet, seen, placed(seen, shop)):
        printer.line(line)
    return exits.OK


def _explanation(fleet: Fleet, seen: Seen, found: Whereabouts) -> list[str]:
    group, spec = found.group, fleet.shop_classes[found.group.shop_class].spec
    across = f" in different {' and '.join(spec.across)}s" if spec.across else ""
    replicas = f"{spec.replicas} replica{'s' if spec.replicas > 1 else ''}{across}"
    served = f"on ShopSets of {spec.tier} with configuration {spec.configuration}"
    lines = [f"{found.shop.name} is of class {group.shop_class}: {replicas}, {served}."]
    pins = seen.shops.pins_of(found.shop.name)
    if pins:
        lines.append(f"Its source pins it to {', '.join(pins)}: change its pins there.")
    elif group.pinned:
        lines.append("A person pinned it: shopctl shop release lets the class decide again.")
    elif group.dedicated:
        lines.append("A person isolated it: it has dedicated ShopSets. shopctl shop release takes it back.")
    elif is_shared(group.name):
        members = len(seen.placement.shops_of([group.name])[group.name])
        lines.append(f"It is in group {group.name} with {members - 1:,} others, which all have the same ShopSets.")
    else:
        lines.append(f"It has a group of its own, {group.name}.")
    return [*lines, *_candidates(fleet, seen, group)]


def _candidates(fleet: Fleet, seen: Seen, group: Group) -> list[str]:
    found = model(fleet, seen.shops, seen.placement, seen.clusters, seen.unusable)
    row = next(number for number, each in enumerate(found.groups) if each.name == group.name)
    problem = found.problem
    shares = utilisation(problem, loads(problem, problem.legs).rows)[0].max(1)
    rows = []
    for name, column in found.numbers.items():
        if not problem.allowed[problem.kind[row], column]:
            continue
        role = "serves it" if group.replicas[:1] == (name,) else "replica"
        state = role if name in group.replicas else _obstacle(fleet, seen, group, name)
        rows.append((name, f"cluster {fleet.shopsets[name].spec.cluster}", f"load {shares[column]:.0%}", state))
    return ["ShopSets for it:", *(f"  {line}" for line in _aligned(rows))]


def _obstacle(fleet: Fleet, seen: Seen, group: Group, name: str) -> str:
    cluster = fleet.clusters[fleet.shopsets[name].spec.cluster]
    if cluster.name in seen.clusters:
        return f"no: cluster {cluster.name} is {seen.clusters[cluster.name].state}"
    if cluster.spec.wish != "Active":
        return f"no: cluster {cluster.name} is {cluster.spec.wish}"
    if name in seen.unusable:
        return f"no: it {seen.unready.get(name, 'serves nobody')}"
    for level in fleet.shop_classes[group.shop_class].spec.across:
        key = fleet.failure_domains[level].spec.topology_key
        for other in group.replicas:
            shopset = fleet.shopsets.get(other)
            theirs = fleet.clusters[shopset.spec.cluster].topology.get(key) if shopset else None
            if theirs is not None and theirs == cluster.topology.get(key):
                return f"instead of {other}, with which it shares the {level} {theirs}"
    return "possible"


# -- what people ask for


def serve(settings: Settings, shop: str, to: list[str], reason: str, *, pinned: bool, dry_run: bool) -> int:
    """Move or pin a shop to ShopSets."""
    request = Serve(shop=shop, replicas=tuple(to), reason=reason, pinned=pinned)
    return ask(settings, request, f"{shop} is on {', '.join(to)} already", dry_run=dry_run)


def isolate(settings: Settings, shop: str, reason: str, *, dry_run: bool) -> int:
    """Give a shop dedicated ShopSets."""
    return ask(settings, Isolate(shop=shop, reason=reason), f"{shop} is isolated already", dry_run=dry_run)


def spread(settings: Settings, shop: str, replicas: int, reason: str, *, dry_run: bool) -> int:
    """Spread a shop over several ShopSets."""
    request = Spread(shop=shop, replicas=replicas, reason=reason)
    return ask(settings, request, f"{shop} is spread over {replicas} already", dry_run=dry_run)


def release(settings: Settings, shop: str, reason: str, *, dry_run: bool) -> int:
    """Let the class decide again."""
    return ask(settings, Release(shop=shop, reason=reason), f"{shop} is placed by its class already", dry_run=dry_run)


def add(settings: Settings, shop: str, shop_class: str, hosts: list[str], rps: float | None, *, dry_run: bool) -> int:
    """Add a Shop to where the fleet's resources are: its folder, or its cluster."""
    workplace = open_workplace(settings)
    _check_source(workplace.fleet, shop, shop_class, hosts)
    if shop_class not in workplace.fleet.shop_classes:
        raise RequestRefusedError(
            f"the fleet has no ShopClass {shop_class!r}: it has {', '.join(workplace.fleet.shop_classes) or 'none'}"
        )
    spec: dict[str, Any] = {"class": shop_class, "hosts": hosts}
    if rps is not None:
        spec["demand"] = {"requestsPerSecond": rps}
    metadata = {"name": shop}
    if workplace.fleet.platform.metadata.namespace:
        metadata["namespace"] = workplace.fleet.platform.metadata.namespace
    value = {"apiVersion": "shopset.dev/v1alpha1", "kind": "Shop", "metadata": metadata, "spec": spec}
    try:
        found = Shop.model_validate(value)
    except ValidationError as error:
        raise RequestRefusedError(_wrong(error)) from error
    taken = next((each.name for each in workplace.shops if each.name == shop), None)
    if taken is not None:
        raise RequestRefusedError(f"there is a shop {shop} already: shopctl shop where {shop}")
    for each in workplace.shops:
        for host in found.spec.hosts:
            if host in each.spec.hosts:
                raise RequestRefusedError(f"the host {host} is taken by the shop {each.name}")
    text, printer = yaml.safe_dump(value, sort_keys=False), Printer(colour=settings.colour)
    if dry_run:
        sys.stdout.write(text)
        return exits.SOMETHING_TO_DO
    if settings.from_cluster:
        namespace = _in_cluster(settings, lambda client, kind, space: client.create(kind(**value), namespace=space))
        printer.line(f"created Shop {shop} in namespace {namespace}")
    else:
        file = settings.fleet / "shops" / f"{shop}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        printer.line(f"wrote {file}")
    return _place(settings)


def _wrong(error: ValidationError) -> str:
    """Say what is wrong with a Shop. What else is wrong follows from the first mistake, more often than not."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first.get('ctx', {}).get('error', first['msg'])}"


def remove(settings: Settings, shop: str, *, dry_run: bool) -> int:
    """Remove a Shop from where the fleet's resources are."""
    workplace = open_workplace(settings)
    if not settings.from_cluster and all(each.name != shop for each in workplace.shops):
        raise RequestRefusedError(f"no Shop {shop} is among the fleet's resources: {_sources(workplace.fleet)}")
    if settings.from_cluster:
        what = f"kubectl delete shop {shop}"
    else:
        file = settings.fleet / "shops" / f"{shop}.yaml"
        if not file.exists():
            raise RequestRefusedError(
                f"{shop} is not in a file of its own, {file}: remove it where it is written (grep -rn 'name: {shop}' {settings.fleet})"
            )
        what = f"rm {file}"
    if dry_run:
        sys.stdout.write(f"{what}\n")
        return exits.SOMETHING_TO_DO
    if settings.from_cluster:
        _in_cluster(settings, lambda client, kind, space: client.delete(kind, shop, namespace=space))
    else:
        file.unlink()
    Printer(colour=settings.colour).line(f"removed {shop}")
    return _place(settings)


def _place(settings: Settings) -> int:
    """Bring the placement up to date with the fleet as it is now."""
    return go_on(open_workplace(settings), Printer(colour=settings.colour))


def _in_cluster(settings: Settings, change: Callable[["Client", Any, str], object]) -> str:
    """Change the Shops of the fleet's cluster. Returns the namespace."""
    from shopset.kube.clients import RESOURCES, connect  # noqa: PLC0415  # a folder must not pay for it

    client = connect(settings.kubeconfig, settings.context, settings.timeout)
    namespace = settings.namespace or client.namespace
    change(client, RESOURCES["Shop"], namespace)
    return namespace


def _check_source(fleet: Fleet, shop: str, shop_class: str, hosts: list[str]) -> None:
    if any(each.kind == "Resources" for each in fleet.platform.spec.shops.sources):
        return
    line = f"{shop},{shop_class},{' '.join(hosts)}"
    raise RequestRefusedError(
        f"this fleet's shops are no resources: {_sources(fleet)}. Add it there, as in a CSV file: {line}"
    )


def _sources(fleet: Fleet) -> str:
    words = {"Resources": "Shop resources", "Files": "the files", "PostgreSQL": "the table"}
    named = [
        f"{words[each.kind]} {each.path or each.table or ''}".strip() for each in fleet.platform.spec.shops.sources
    ]
    return f"its shops come from {' and '.join(named)}"
