"""Gates: what must not fail while a revision bakes on a tier."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, StrictFloat, model_validator

from shopset.api._objects import Line, Object, check_exactly_one
from shopset.api.durations import Duration, parse_duration
from shopset.api.names import Name
from shopset.api.urls import Endpoint


class AlertsGate(Object):
    """Fails where an alert fires that all matchers fit."""

    matchers: Mapping[str, Line] = Field(default_factory=dict)
    """Label -> value; `{namespace}` and `{tier}` stand for the ShopSet's."""


class QueryGate(Object):
    """Fails where a PromQL expression is beyond its threshold."""

    expr: Line
    """The expression; it is evaluated over the bake."""
    threshold: StrictFloat
    """The last value that does not fail."""
    comparison: Literal["Above", "Below"] = "Above"
    """On which side of the threshold it fails."""
    min_traffic: StrictFloat | None = None
    """Requests per second below which the result is Unknown."""


class HttpGate(Object):
    """Fails where an HTTP check does not answer with 2xx in time."""

    url: Endpoint
    """What is asked for, as in `https://{shopset}.example.com/health`."""
    timeout: Duration = parse_duration("5s")


class SmokeGate(Object):
    """Fails where a smoke test (an Argo CD PostSync hook) failed."""

    job: Name | None = None
    """The hook's name; every hook counts where it is left out."""


class Gate(Object):
    """One gate: exactly one of alerts, query, http and smoke."""

    name: Name
    """Its name, one per Tier."""
    alerts: AlertsGate | None = None
    query: QueryGate | None = None
    http: HttpGate | None = None
    smoke: SmokeGate | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        check_exactly_one(self, "alerts", "query", "http", "smoke")
        return self
