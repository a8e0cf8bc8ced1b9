"""The composition root: from settings to an engine with its adapters."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from shopset.api import Shop
from shopset.cli.settings import Settings
from shopset.core.documents import Span
from shopset.core.errors import ShopsetError
from shopset.core.fleets import Fleet
from shopset.core.release.commands import Places
from shopset.core.release.observed import Repository
from shopset.directory.alerts import AlertsFile
from shopset.directory.clusters import DirectoryClusters
from shopset.directory.diagnostics import Diagnostic, dotted
from shopset.directory.fleets import Reading, read_fleet
from shopset.engine.building import CachingBuilder
from shopset.engine.engines import Engine
from shopset.engine.workplaces import Tools, make_gates, open_workshop
from shopset.gitops import Remotes

if TYPE_CHECKING:
    from shopset.core.placement.tables import Table
    from shopset.engine.placing import Placer
    from shopset.kube.applications import ArgoCd
    from shopset.kube.fleets import Reading as ClusterReading
    from shopset.kube.instances import ArgoCds
    from shopset.kube.members import Members


class InvalidFleetError(ShopsetError):
    """A fleet with errors."""

    def __init__(self, reading: Reading) -> None:
        super().__init__("the fleet has errors")
        self.reading = reading


@dataclass(frozen=True)
class Workplace:
    """A fleet with everything that works on it."""

    fleet: Fleet
    engine: Engine
    remotes: Remotes
    builder: CachingBuilder
    places: Places
    clusters: DirectoryClusters | None
    """None where Argo CD delivers."""
    settings: Settings
    shops: tuple[Shop, ...] = ()
    """The Shops among the fleet's resources."""
    versions: Callable[[Fleet], Mapping[str, str]] = lambda _: {}
    """Reads the Kubernetes version of each cluster that can be reached."""

    @cached_property
    def placer(self) -> "Placer":
        """What places the shops."""
        from shopset.engine.placing import Placer  # noqa: PLC0415  # a verb about releases must not pay for NumPy
        from shopset.engine.shop_reading import Sources  # noqa: PLC0415

        secrets = self.settings.secrets or Path("/nonexistent")
        # In a cluster they are not among what a release depends on: without them the placement would lose them all.
        table = _read_shops(self.settings) if self.settings.from_cluster else None
        sources = Sources(
            self.settings.fleet, lambda name: secrets / name, lambda: self.shops if table is None else table
        )
        return Placer(self.engine, sources, self.versions)

    def reconcile(self) -> None:
        """Do what Argo CD and Kubernetes do by themselves, where they are folders. Never raises."""
        if self.clusters is not None:
            self.clusters.reconcile()


def utc_now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


def load_fleet(settings: Settings) -> tuple[Fleet, Reading]:
    """Read the fleet, from a cluster where one is named, else from its folder. Raises InvalidFleetError, KubeError."""
    reading = _read_cluster(settings) if settings.from_cluster else read_fleet(settings.fleet)
    if reading.fleet is None:
        raise InvalidFleetError(reading)
    return reading.fleet, reading


def open_workplace(settings: Settings, clock: Callable[[], datetime] = utc_now) -> Workplace:
    """Read the fleet and connect everything. Raises InvalidFleetError, and as connect."""
    fleet, reading = load_fleet(settings)
    return connect(settings, fleet, clock, tuple(each for each in reading.resources if isinstance(each, Shop)))


def connect(
    settings: Settings, fleet: Fleet, clock: Callable[[], datetime] = utc_now, shops: tuple[Shop, ...] = ()
) -> Workplace:
    """Connect everything to a fleet and its Shops. Raises KustomizeMissingError, KubeError."""
    cache = settings.cache or _default_cache(fleet)
    tools = Tools(cache, settings.environment, settings.timeout, settings.kustomize)
    places = Places.of(fleet, str(settings.fleet.absolute()), settings.kubeconfig, settings.context)
    workshop = open_workshop(places, tools)
    if fleet.platform.spec.delivery.directory is None:
        from shopset.kube.applications import AT_ONCE  # noqa: PLC0415  # a fleet of folders must not pay for it
        from shopset.kube.members import Members  # noqa: PLC0415
        from shopset.kube.pods import MemberPods  # noqa: PLC0415

        members = Members(Path(settings.kubeconfig) if settings.kubeconfig else None, settings.timeout).follow(fleet)
        argocd = _connect_argocd(settings, fleet, members, workshop.remotes.read_blob)
        engine = Engine(fleet, workshop.remotes, argocd, workshop.builder, clock, at_once=AT_ONCE)
        engine.gates = make_gates(engine, argocd.hooks, settings.secrets)
        engine.pods = MemberPods(members)

        def versions(found: Fleet) -> Mapping[str, str]:
            from shopset.kube.versions import read_versions  # noqa: PLC0415  # only where a cluster is to return

            return read_versions(members.follow(found), found.clusters, settings.timeout).found

        return Workplace(fleet, engine, workshop.remotes, workshop.builder, places, None, settings, shops, versions)
    folder = Path(places.applications)
    clusters = DirectoryClusters(
        folder, tuple(fleet.clusters), workshop.kustomize.build, clock, settings.environment, settings.timeout
    )
    alerts = AlertsFile(
        folder / "alerts.yaml", lambda tier: [fleet.namespace(each.name) for each in fleet.members(tier)]
    )
    engine = Engine(fleet, workshop.remotes, clusters, workshop.builder, clock, alerts)
    return Workplace(
        fleet,
        engine,
        workshop.remotes,
        workshop.builder,
        places,
        clusters,
        settings,
        shops,
        lambda found: clusters.versions(found.clusters),
    )


def _connect_argocd(
    settings: Settings, fleet: Fleet, members: "Members", read_blob: Callable[[str], bytes]
) -> "ArgoCd | ArgoCds":
    from shopset.kube.applications import ArgoCd  # noqa: PLC0415  # a fleet of folders must not pay for it
    from shopset.kube.clients import connect as connect_cluster  # noqa: PLC0415
    from shopset.kube.instances import ArgoCds  # noqa: PLC0415

    if fleet.platform.has_argocd_per_cluster:
        return ArgoCds(fleet, members, read_blob)
    return ArgoCd.of(connect_cluster(settings.kubeconfig, settings.context, settings.timeout), fleet, read_blob)


def _read_cluster(settings: Settings) -> Reading:
    from shopset.kube.clients import connect as connect_cluster  # noqa: PLC0415  # a folder must not pay for it
    from shopset.kube.fleets import read_fleet as read_namespace  # noqa: PLC0415

    client = connect_cluster(settings.kubeconfig, settings.context, settings.timeout)
    return _as_folder(read_namespace(client, settings.namespace or client.namespace))


def _read_shops(settings: Settings) -> "Table":
    from shopset.kube.clients import connect as connect_cluster  # noqa: PLC0415  # a folder must not pay for it
    from shopset.kube.shops import read_shops  # noqa: PLC0415

    client = connect_cluster(settings.kubeconfig, settings.context, settings.timeout)
    return read_shops(client, settings.namespace or client.namespace)


def _as_folder(found: "ClusterReading") -> Reading:
    """Return what was read of a cluster as if it had been a folder with a file for each object."""
    diagnostics = tuple(
        Diagnostic(each.resource, Span(0, 0), dotted(each.field), each.message, each.advice, each.severity, "")
        for each in found.problems
    )
    return Reading(found.fleet, found.resources, diagnostics, len(found.resources))


def _default_cache(fleet: Fleet) -> Path:
    system = getattr(fleet.platform.spec.repositories, Repository.SYSTEM.value)
    return platformdirs.user_cache_path("shopset") / hashlib.sha256(system.encode()).hexdigest()[:16]
