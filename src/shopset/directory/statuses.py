"""The status of an Application on a directory cluster: what Argo CD would keep in the Application itself."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict

from shopset.core.release.observed import Health, Sync
from shopset.directory._files import write_file
from shopset.directory.simulations import Simulation


class Status(BaseModel):
    """What was last synced, and how it fares."""

    model_config = ConfigDict(frozen=True)

    shopset: str
    application: str
    sync: Sync = "OutOfSync"
    trouble: str = ""
    """Why the repositories could not be compared with what runs; what runs goes on."""
    commit: str | None = None
    overlay: str | None = None
    gitlinks: dict[str, str] = {}
    synced_at: datetime | None = None
    sync_error: str = ""
    failed_at: datetime | None = None
    """When the sync with `sync_error` was tried."""
    health: Health = "Missing"
    health_since: datetime | None = None
    message: str = ""
    images: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    """Files of its objects, relative to the cluster's folder."""
    simulations: tuple[Simulation, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a status; None where there is none, or what is there is damaged: it is found out again."""
        try:
            return cls.model_validate(yaml.load(path.read_bytes(), yaml.CSafeLoader))
        except (OSError, ValueError, yaml.YAMLError):
            return None

    def write(self, path: Path) -> None:
        """Write the status, if it differs. Raises OSError."""
        content = yaml.dump(self.model_dump(mode="json"), Dumper=yaml.CSafeDumper, sort_keys=False).encode()
        if not path.exists() or path.read_bytes() != content:
            write_file(path, content)

    def changed(self, **changes: object) -> Self:
        """Return the status with other values."""
        return self.model_copy(update=changes)

    def judged(self, now: datetime) -> Self:
        """Return the status with its health at a time. `health_since` moves only when the health changes."""
        health, message = self._health(now)
        if (health, message) == (self.health, self.message):
            return self
        since = self.health_since if health == self.health else now.astimezone(UTC)
        return self.changed(health=health, message=message, health_since=since)

    def _health(self, now: datetime) -> tuple[Health, str]:
        if self.sync_error:
            return "Degraded", self.sync_error
        if self.synced_at is None:
            return "Missing", "nothing was synced yet"
        age = (now - self.synced_at).total_seconds()
        for simulation in self.simulations:
            if simulation.degraded and age >= simulation.after:
                return "Degraded", f"{simulation.label}: {simulation.message}"
        for simulation in self.simulations:
            if age < simulation.starting:
                return "Progressing", f"{simulation.label} is starting"
        return "Healthy", ""
