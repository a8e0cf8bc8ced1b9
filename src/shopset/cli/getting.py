"""shopctl get and describe: what the fleet says, what was observed of it, and what the ledger holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import yaml

from shopset.api import Resource, Shop, Tier, format_duration
from shopset.cli import exits
from shopset.cli.kinds import RESOURCES, resolve_kind
from shopset.cli.printing import Output, Printer, ago, complain, rows_as_dicts
from shopset.cli.releases import describer, release_table
from shopset.cli.settings import Settings
from shopset.cli.unseen import check_seen, is_blind, tell_unseen
from shopset.cli.wiring import Workplace, connect, load_fleet
from shopset.core.errors import ShopsetError
from shopset.core.release.observed import Observed, Repository
from shopset.core.release.plans import Plan
from shopset.core.release.revisions import SHORT

_UNKNOWN: Final = "Unknown"
_LEDGER: Final = frozenset({"releases", "pins", "verifications", "rejections", "approvals", "holds"})
"""Kinds of which nothing is known where the ledger cannot be read."""
_OF_ALL: Final = frozenset({"tiers", "releases"})
"""Kinds that tell what is offered too, and so need all repositories."""


class UnknownNameError(ShopsetError):
    """An object that is not there."""


@dataclass(frozen=True)
class _View:
    """A table: its heads, how many of them are for `wide` only, and its rows; the first cell of each is the name."""

    heads: Sequence[str]
    wide: int
    rows: Sequence[Sequence[str]]


def get(settings: Settings, kind: str, name: str | None, output: Output) -> int:
    """Show objects of a kind, or one."""
    plural = resolve_kind(kind)
    printer = Printer(colour=settings.colour)
    seen = _Seen(settings)
    view = _view(seen, plural)
    rows = [row for row in view.rows if name is None or row[0] == name]
    if name is not None and not rows:
        known = ", ".join(row[0] for row in view.rows[:10]) or "none"
        raise UnknownNameError(f"there is no {plural.removesuffix('s')} {name!r}; there are: {known}")
    if output is Output.NAME:
        for row in rows:
            printer.line(f"{plural}/{row[0]}")
    elif output in (Output.JSON, Output.YAML):
        items = [_as_data(seen, plural, view, row) for row in rows]
        printer.data(items[0] if name is not None else {"kind": "List", "items": items}, output)
    elif not rows:
        printer.line(f"No {plural} found.")
    else:
        shown = len(view.heads) - (0 if output is Output.WIDE else view.wide)
        printer.table(view.heads[:shown], [row[:shown] for row in rows])
    return seen.tell_unseen(plural)


def describe(settings: Settings, kind: str, name: str) -> int:
    """Show one object with its conditions."""
    plural = resolve_kind(kind)
    printer = Printer(colour=settings.colour)
    seen = _Seen(settings)
    view = _view(seen, plural)
    row = next((row for row in view.rows if row[0] == name), None)
    if row is None:
        raise UnknownNameError(f"there is no {plural.removesuffix('s')} {name!r}")
    width = max(len(head) for head in view.heads) + 2
    for head, cell in zip(view.heads, row, strict=True):
        printer.line(f"{(head.capitalize() + ':').ljust(width)}{cell}")
    resource = seen.resource(plural, name)
    if resource is not None:
        printer.line("Spec:")
        text: list[str] = _yaml_lines(
            resource.model_dump(mode="json", by_alias=True, exclude_unset=True).get("spec", {})
        )
        for line in text:
            printer.line(f"  {line}")
        conditions = [each for each in seen.plan.conditions if each.resource == resource.reference]
        printer.line("Conditions:" if conditions else "Conditions:  none")
        for each in conditions:
            style = {"Error": "red", "Warning": "yellow"}.get(each.severity, "")
            printer.line(f"  {each.type.ljust(10)}{printer.styled(each.reason, style)}: {each.message}")
    return seen.tell_unseen(plural)


def _view(seen: "_Seen", plural: str) -> _View:
    if plural in _LEDGER:
        check_seen(seen.observed)
    return _VIEWS[plural](seen)


class _Seen:
    """What a view needs, observed and planned only when it is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.fleet, self.reading = load_fleet(settings)

    @cached_property
    def workplace(self) -> Workplace:
        shops = tuple(each for each in self.reading.resources if isinstance(each, Shop))
        return connect(self._settings, self.fleet, shops=shops)

    @cached_property
    def observed(self) -> Observed:
        return self.workplace.engine.observe()

    @cached_property
    def plan(self) -> Plan:
        made, self.observed = self.workplace.engine.plan()
        return made

    @property
    def is_blind(self) -> bool:
        return is_blind(self.observed)

    def tell_unseen(self, plural: str) -> int:
        """Say what the view lacks, where it needed repositories at all."""
        if "observed" not in self.__dict__:
            return exits.OK
        return tell_unseen(self.observed, tuple(Repository) if plural in _OF_ALL else (Repository.SYSTEM,))

    @property
    def now(self) -> datetime:
        return self.observed.now

    def resources(self, plural: str) -> list[Resource]:
        return sorted(
            (found for found in self.reading.resources if found.kind == RESOURCES.get(plural)),
            key=lambda found: found.name,
        )

    def resource(self, plural: str, name: str) -> Resource | None:
        return next((found for found in self.resources(plural) if found.name == name), None)


def _as_data(seen: _Seen, plural: str, view: _View, row: Sequence[str]) -> dict[str, Any]:
    resource = seen.resource(plural, row[0])
    cells = rows_as_dicts(view.heads, [row])[0]
    if resource is None:
        return cells
    data = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
    observed = {key: value for key, value in cells.items() if key not in ("name", "age") and value not in ("-", "")}
    return {**data, "status": observed}


def _yaml_lines(value: Any) -> list[str]:
    return list(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False).splitlines())


# -- views


def _tiers(seen: _Seen) -> _View:
    rows = []
    for tier in seen.fleet.tiers:
        outlook = seen.plan.outlooks[tier.name]
        promotion = tier.spec.promotion
        held = "held" if seen.observed.ledger.active_holds(tier.name) else "-"
        phase, none = (_UNKNOWN, _UNKNOWN) if seen.is_blind else (outlook.progress.phase.value, "-")
        rows.append(
            (
                tier.name,
                str(tier.spec.level),
                phase,
                ago(outlook.progress.since, seen.now),
                outlook.pinned.short if outlook.pinned else none,
                outlook.candidate.short if outlook.candidate and not seen.is_blind else none,
                str(len(seen.fleet.members(tier.name))),
                _UNKNOWN if seen.is_blind else held,
                _promotion(tier),
                format_duration(promotion.bake),
                promotion.queue,
                promotion.on_failure,
            )
        )
    heads = (
        "NAME",
        "LEVEL",
        "PHASE",
        "IN PHASE",
        "PINNED",
        "CANDIDATE",
        "SHOPSETS",
        "HOLD",
        "PROMOTION",
        "BAKE",
        "QUEUE",
        "ON FAILURE",
    )
    return _View(heads, 4, rows)


def _promotion(tier: Tier) -> str:
    needed = tier.spec.promotion.approvals_needed
    return f"{needed} approval{'s' if needed > 1 else ''}" if needed else "automatic"


def _shopsets(seen: _Seen) -> _View:
    served = _served(seen)
    none = _UNKNOWN if seen.is_blind else "-"
    rows = []
    for name, shopset in seen.fleet.shopsets.items():
        found = seen.observed.applications.get(name)
        head = seen.observed.tiers.get(shopset.spec.tier)
        rows.append(
            (
                name,
                shopset.spec.tier,
                shopset.spec.configuration,
                shopset.spec.cluster,
                _revision_of(seen, name),
                found.sync if found else none,
                found.health if found else none,
                *served.get(name, ()),
                ago(found.synced_at if found else None, seen.now),
                seen.fleet.namespace(name),
                (found.commit or "-")[:SHORT] if found else "-",
                (found.message or "-") if found else ("-" if head or seen.is_blind else "its tier has no pin"),
            )
        )
    heads = (
        "NAME",
        "TIER",
        "CONFIGURATION",
        "CLUSTER",
        "REVISION",
        "SYNC",
        "HEALTH",
        *(("SHOPS", "LOAD") if served else ()),
        "SYNCED",
        "NAMESPACE",
        "COMMIT",
        "MESSAGE",
    )
    return _View(heads, 3, rows)


def _served(seen: _Seen) -> dict[str, tuple[str, str]]:
    """Return ShopSet -> shops and load, where the fleet places shops: dashes where that cannot be seen now."""
    if not seen.fleet.shop_classes:
        return {}
    from shopset.cli.serving import serving  # noqa: PLC0415  # a fleet without shops must not pay for NumPy

    if seen.is_blind:
        return dict.fromkeys(seen.fleet.shopsets, (_UNKNOWN, _UNKNOWN))
    try:
        found, _ = seen.workplace.placer.observe(seen.observed)
    except ShopsetError as error:
        complain(f"note: {error}")
        return dict.fromkeys(seen.fleet.shopsets, ("-", "-"))
    return {name: (f"{each.shops:,}", each.load) for name, each in serving(seen.fleet, found).items()}


def _revision_of(seen: _Seen, name: str) -> str:
    """Return the revision that a ShopSet really runs."""
    found = seen.observed.applications.get(name)
    if seen.is_blind:
        return _UNKNOWN
    if found is None:
        return "-"
    revision = seen.observed.ledger.running(found.gitlinks)
    return revision.short if revision else "-"


def _clusters(seen: _Seen) -> _View:
    rows = []
    for name, cluster in seen.fleet.clusters.items():
        record, trouble = seen.observed.ledger.clusters.get(name), seen.observed.deliveries.get(name)
        # Whether it was declared lost, only the ledger says.
        reachable = _UNKNOWN if seen.is_blind else "Reachable"
        state = record.state if record else "Unreachable" if trouble else reachable
        hosted = seen.fleet.hosted(name)
        topology = ",".join(f"{key}={value}" for key, value in sorted(cluster.topology.items()))
        rows.append(
            (name, cluster.spec.wish, state, str(len(hosted)), cluster.spec.version or "-", topology, ",".join(hosted))
        )
    return _View(("NAME", "WISH", "STATE", "SHOPSETS", "VERSION", "TOPOLOGY", "HOSTS"), 1, rows)


def _configurations(seen: _Seen) -> _View:
    rows = []
    for name, found in seen.fleet.configurations.items():
        users = [each.name for each in seen.fleet.shopsets.values() if each.spec.configuration == name]
        databases = ",".join(each.name for each in found.spec.databases) or "-"
        rows.append((name, found.spec.path, str(len(users)), databases, ",".join(users)))
    return _View(("NAME", "PATH", "SHOPSETS", "DATABASES", "USED BY"), 1, rows)


def _failure_domains(seen: _Seen) -> _View:
    rows = []
    for name, found in seen.fleet.failure_domains.items():
        values = sorted({each.topology.get(found.spec.topology_key, "-") for each in seen.fleet.clusters.values()})
        rows.append((name, found.spec.topology_key, ",".join(values)))
    return _View(("NAME", "KEY", "DOMAINS"), 0, rows)


def _shop_classes(seen: _Seen) -> _View:
    rows = [
        (name, found.spec.tier, found.spec.configuration, str(found.spec.replicas), ",".join(found.spec.across) or "-")
        for name, found in seen.fleet.shop_classes.items()
    ]
    return _View(("NAME", "TIER", "CONFIGURATION", "REPLICAS", "ACROSS"), 0, rows)


def _shops(seen: _Seen) -> _View:
    found = [each.model_dump(by_alias=False)["spec"] | {"name": each.name} for each in seen.resources("shops")]
    rows = [(each["name"], each["class_"], ",".join(each["hosts"]), ",".join(each["pins"]) or "-") for each in found]
    return _View(("NAME", "CLASS", "HOSTS", "PINS"), 0, rows)


def _platforms(seen: _Seen) -> _View:
    platform = seen.fleet.platform
    delivery = "directory" if platform.spec.delivery.directory else "argocd"
    row = (platform.name, platform.spec.repositories.system, delivery, platform.spec.images.policy)
    return _View(("NAME", "SYSTEM REPOSITORY", "DELIVERY", "IMAGES"), 0, [row])


def _releases(seen: _Seen) -> _View:
    heads, rows = release_table(seen.fleet, seen.plan, seen.observed, seen.now, describer(seen.workplace))
    return _View(heads, 0, rows)


def _pins(seen: _Seen) -> _View:
    rows = [
        (f"{tier}/{number:06d}", pin.revision[:SHORT], pin.kind, ago(pin.at, seen.now), pin.by, pin.reason)
        for tier, pins in seen.observed.ledger.pins.items()
        for number, pin in enumerate(pins, 1)
    ]
    return _View(("NAME", "REVISION", "KIND", "AGE", "BY", "REASON"), 0, rows)


def _verifications(seen: _Seen) -> _View:
    rows = [
        (
            f"{tier}/{found.revision[:SHORT]}",
            str(found.pin),
            ago(found.at, seen.now),
            format_duration(found.bake),
            ",".join(each.name for each in found.shopsets) or "-",
            ",".join(f"{gate.name}={gate.result}" for gate in found.gates) or "-",
        )
        for tier, records in seen.observed.ledger.verified.items()
        for found in records.values()
    ]
    return _View(("NAME", "PIN", "AGE", "BAKED", "SHOPSETS", "GATES"), 0, rows)


def _rejections(seen: _Seen) -> _View:
    rows = [
        (f"{tier}/{found.revision[:SHORT]}", found.reason, ago(found.at, seen.now), found.by, found.message)
        for tier, records in seen.observed.ledger.rejected.items()
        for found in records.values()
    ]
    return _View(("NAME", "REASON", "AGE", "BY", "MESSAGE"), 0, rows)


def _approvals(seen: _Seen) -> _View:
    rows = [
        (
            f"{tier}/{revision[:SHORT]}",
            found.by,
            ago(found.at, seen.now),
            _overrides(found.adopt, found.expedite),
            found.reason,
        )
        for tier, records in seen.observed.ledger.approvals.items()
        for revision, approvals in records.items()
        for found in approvals
    ]
    return _View(("NAME", "BY", "AGE", "OVERRIDES", "REASON"), 0, rows)


def _overrides(adopt: bool, expedite: bool) -> str:
    return ",".join(word for word, given in (("adopt", adopt), ("expedite", expedite)) if given) or "-"


def _holds(seen: _Seen) -> _View:
    rows = [
        (f"{tier}/{name}", "lifted" if hold.lifted else "held", ago(hold.since, seen.now), hold.by, hold.reason)
        for tier, holds in seen.observed.ledger.holds.items()
        for name, hold in holds.items()
    ]
    return _View(("NAME", "STATE", "AGE", "BY", "REASON"), 0, rows)


_VIEWS: Final[Mapping[str, Callable[[_Seen], _View]]] = {
    "platforms": _platforms,
    "tiers": _tiers,
    "shopsets": _shopsets,
    "configurations": _configurations,
    "clusters": _clusters,
    "failuredomains": _failure_domains,
    "shopclasses": _shop_classes,
    "shops": _shops,
    "releases": _releases,
    "pins": _pins,
    "verifications": _verifications,
    "rejections": _rejections,
    "approvals": _approvals,
    "holds": _holds,
}
