"""The composition root: from settings to an engine with its adapters."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from shopset.cli.settings import Settings
from shopset.core.errors import ShopsetError
from shopset.core.fleets import Fleet
from shopset.core.release.actions import SHOPSET
from shopset.core.release.commands import Places
from shopset.core.release.observed import Repository
from shopset.directory.alerts import AlertsFile
from shopset.directory.clusters import DirectoryClusters
from shopset.directory.fleets import Reading, read_fleet
from shopset.engine.building import CachingBuilder
from shopset.engine.engines import Engine
from shopset.gitops import Remotes
from shopset.manifests import Kustomize, find_kustomize


class InvalidFleetError(ShopsetError):
    """A fleet with errors."""

    def __init__(self, reading: Reading) -> None:
        super().__init__("the fleet has errors")
        self.reading = reading


class DeliveryMissingError(ShopsetError):
    """A delivery that this version cannot make."""


@dataclass(frozen=True)
class Workplace:
    """A fleet with everything that works on it."""

    fleet: Fleet
    engine: Engine
    remotes: Remotes
    clusters: DirectoryClusters
    builder: CachingBuilder
    places: Places


def utc_now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


def load_fleet(settings: Settings) -> tuple[Fleet, Reading]:
    """Read the fleet. Raises InvalidFleetError."""
    reading = read_fleet(settings.fleet)
    if reading.fleet is None:
        raise InvalidFleetError(reading)
    return reading.fleet, reading


def open_workplace(settings: Settings, clock: Callable[[], datetime] = utc_now) -> Workplace:
    """Read the fleet and connect everything. Raises InvalidFleetError, and as connect."""
    return connect(settings, load_fleet(settings)[0], clock)


def connect(settings: Settings, fleet: Fleet, clock: Callable[[], datetime] = utc_now) -> Workplace:
    """Connect everything to a fleet. Raises DeliveryMissingError, KustomizeMissingError."""
    directory = fleet.platform.spec.delivery.directory
    if directory is None:
        message = "delivery.argocd is not driven from a folder yet: set spec.delivery.directory of the Platform"
        raise DeliveryMissingError(message)
    cache = settings.cache or _default_cache(fleet)
    places = Places.of(fleet.platform, str(settings.fleet.absolute()))
    folder = Path(places.applications)
    kustomize = Kustomize(find_kustomize(settings.kustomize), settings.environment, settings.timeout)
    remotes = Remotes(
        places.urls, cache / "git", committer=SHOPSET, environment=settings.environment, timeout=settings.timeout
    )
    clusters = DirectoryClusters(
        folder, tuple(fleet.clusters), kustomize.build, clock, settings.environment, settings.timeout
    )
    builder = CachingBuilder(remotes, kustomize, cache / "builds")
    engine = Engine(fleet, remotes, clusters, builder, clock, AlertsFile(folder / "alerts.yaml"))
    return Workplace(fleet, engine, remotes, clusters, builder, places)


def _default_cache(fleet: Fleet) -> Path:
    system = getattr(fleet.platform.spec.repositories, Repository.SYSTEM.value)
    return platformdirs.user_cache_path("shopset") / hashlib.sha256(system.encode()).hexdigest()[:16]
