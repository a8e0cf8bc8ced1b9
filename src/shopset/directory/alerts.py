"""Alerts as a file: `alerts.yaml` beside the directory clusters stands in for Prometheus.

- alert: CartErrors
  labels: {namespace: shopset-a-1}
  from: 2026-11-25T04:43:12Z
  to: 2026-11-25T04:50:00Z      # absent while it fires
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from shopset.api import Gate
from shopset.api.gates import AlertsGate
from shopset.core.release.observed import GateReading


class AlertsFile:
    """A gate reader for gates of alerts. Other kinds of gates are Unknown to it. An absent file means that nothing fires.

    `namespaces` is tier -> the namespaces of its ShopSets.
    """

    def __init__(self, file: Path, namespaces: Callable[[str], Iterable[str]]) -> None:
        self._file = file
        self._namespaces = namespaces

    def read(self, gate: Gate, tier: str, start: datetime, end: datetime) -> GateReading:
        """Read a gate over a span of time: what fired and went away in it counts too."""
        if gate.alerts is None:
            return GateReading("Unknown", "directory clusters know gates of alerts only")
        try:
            entries = yaml.load(self._file.read_bytes(), yaml.CSafeLoader) or [] if self._file.exists() else []
            wanted = [_matchers(gate.alerts, tier, namespace) for namespace in self._namespaces(tier)]
            fired = [each for each in entries if _counts(each, gate.alerts, start, end) and _fits(each, wanted)]
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
            return GateReading("Unknown", f"{self._file.name} cannot be read: {error}")
        if fired:
            return GateReading("Fail", f"{fired[0]['alert']} fired at {fired[0]['from']}")
        return GateReading("Pass", f"no alert from {start:%H:%M:%SZ} to {end:%H:%M:%SZ}")


def _counts(entry: Mapping[str, Any], gate: AlertsGate, start: datetime, end: datetime) -> bool:
    """Whether an alert fired in a span; one that was firing when it began counts where the gate says so."""
    since = _moment(entry["from"])
    if since < start:
        return gate.include_existing and ("to" not in entry or _moment(entry["to"]) >= start)
    return since <= end


def _moment(value: object) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _matchers(gate: AlertsGate, tier: str, namespace: str) -> dict[str, str]:
    values = gate.matchers.items()
    return {label: value.replace("{tier}", tier).replace("{namespace}", namespace) for label, value in values}


def _fits(entry: Mapping[str, Any], wanted: Iterable[Mapping[str, str]]) -> bool:
    labels = {"alertname": entry["alert"], **(entry.get("labels") or {})}
    return any(matchers.items() <= labels.items() for matchers in wanted)
