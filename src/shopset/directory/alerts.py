"""Alerts as a file: `alerts.yaml` beside the directory clusters stands in for Prometheus.

- alert: CartErrors
  labels: {namespace: shopset-a-1}
  from: 2026-11-25T04:43:12Z
  to: 2026-11-25T04:50:00Z      # absent while it fires
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from shopset.api import Gate
from shopset.core.release.observed import GateReading


class AlertsFile:
    """A gate reader for gates of alerts. Other kinds of gates are Unknown to it. An absent file means that nothing fires."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self, gate: Gate, tier: str, start: datetime, end: datetime) -> GateReading:
        """Read a gate over a span of time: what fired and went away in it counts too."""
        if gate.alerts is None:
            return GateReading("Unknown", "directory clusters know gates of alerts only")
        try:
            entries = yaml.load(self._file.read_bytes(), yaml.CSafeLoader) or [] if self._file.exists() else []
            fired = [entry for entry in entries if _overlaps(entry, start, end) and _fits(entry, gate, tier)]
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
            return GateReading("Unknown", f"{self._file.name} cannot be read: {error}")
        if fired:
            return GateReading("Fail", f"{fired[0]['alert']} fired at {fired[0]['from']}")
        return GateReading("Pass", f"no alert from {start:%H:%M:%SZ} to {end:%H:%M:%SZ}")


def _overlaps(entry: Mapping[str, Any], start: datetime, end: datetime) -> bool:
    return _moment(entry["from"]) <= end and ("to" not in entry or _moment(entry["to"]) >= start)


def _moment(value: object) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _fits(entry: Mapping[str, Any], gate: Gate, tier: str) -> bool:
    labels = {"alertname": entry["alert"], **(entry.get("labels") or {})}
    wanted = gate.alerts.matchers if gate.alerts else {}
    return all(labels.get(label) == value.replace("{tier}", tier) for label, value in wanted.items())
