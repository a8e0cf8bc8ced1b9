"""The reader of all gates: each within a bounded time, and Unknown where it cannot be read."""

import asyncio
from datetime import datetime
from typing import Final

from shopset.api import Gate
from shopset.api.platforms import Monitoring
from shopset.core.release.observed import GateReading
from shopset.gates.alerts import AlertsQuestion, read_alerts
from shopset.gates.answers import UnknownError, unknown
from shopset.gates.checks import read_http
from shopset.gates.prometheus import Prometheus, Span
from shopset.gates.queries import read_query
from shopset.gates.services import Service
from shopset.gates.smoke import read_smoke
from shopset.gates.targets import Hooks, Secrets, Targets

_LONGEST: Final = 60.0
"""Seconds that reading one gate takes at most, whatever its timeouts are."""


class Gates:
    """Reads gates of alerts, queries, HTTP checks and smoke tests. Call it from a thread that runs no event loop.

    `hooks` is called for each ShopSet in turn, and has to bound its own time.

    What it remembers is since when a gate cannot be read, which only a deadline is measured from: started anew, it
    begins with now.
    """

    def __init__(
        self, monitoring: Monitoring | None, targets: Targets, secrets: Secrets, hooks: Hooks | None = None
    ) -> None:
        self._targets = targets
        self._hooks = hooks
        self._prometheus: Prometheus | None = None
        self._alertmanager: Service | None = None
        self._unread: dict[tuple[str, str], datetime] = {}
        if monitoring is not None:
            at, timeout = monitoring.prometheus, monitoring.timeout
            self._prometheus = Prometheus(
                Service("Prometheus", at.url, at.secret, secrets, timeout), monitoring.max_gap
            )
            if monitoring.alertmanager is not None:
                silencer = monitoring.alertmanager
                self._alertmanager = Service("Alertmanager", silencer.url, silencer.secret, secrets, timeout)

    def read(self, gate: Gate, tier: str, start: datetime, end: datetime) -> GateReading:
        """Read a gate over a span of time. Where nothing can be read the result is Unknown, never an error."""
        key = tier, gate.name
        try:
            reading = asyncio.run(self._read_in_time(gate, tier, Span(start, end)))
        except UnknownError as error:
            return unknown(str(error), error.since or self._unread.setdefault(key, end))
        except TimeoutError:
            return unknown(f"it was not read within {_LONGEST:g} s", self._unread.setdefault(key, end))
        except Exception as error:  # noqa: BLE001  # whatever goes wrong with a gate, the other tiers go on
            since = self._unread.setdefault(key, end)
            return unknown(f"it cannot be read: {type(error).__name__}: {error}", since)
        self._unread.pop(key, None)
        return reading

    async def _read_in_time(self, gate: Gate, tier: str, span: Span) -> GateReading:
        async with asyncio.timeout(_LONGEST):
            return await self._read(gate, tier, span)

    async def _read(self, gate: Gate, tier: str, span: Span) -> GateReading:
        targets = self._targets(tier)
        if not targets:
            raise UnknownError(f"{tier} has no ShopSet")
        if gate.http is not None:
            return await read_http(gate.http, tier, targets)
        if gate.smoke is not None:
            if self._hooks is None:
                raise UnknownError("there is no Argo CD here, whose hooks are the smoke tests")
            return read_smoke(gate.smoke, targets, self._hooks)
        if self._prometheus is None:
            raise UnknownError("the Platform has no spec.monitoring, so there is no Prometheus to ask")
        if gate.alerts is not None:
            question = AlertsQuestion(gate.alerts.matchers, gate.alerts.include_existing, tier, targets)
            return await read_alerts(question, span, self._prometheus, self._alertmanager)
        assert gate.query is not None  # noqa: S101  # a gate is exactly one of the four
        return await read_query(gate.query, tier, targets, span, self._prometheus)
