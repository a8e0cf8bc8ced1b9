"""Gates: what must not fail while a revision bakes on a tier."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, model_validator

from shopset.api._objects import Line, Object, check_exactly_one
from shopset.api.durations import Duration, parse_duration
from shopset.api.errors import InvalidValueError, quoted
from shopset.api.names import Name
from shopset.api.urls import Endpoint

_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_ONE_SHOPSET = re.compile(r"(?<![=!<>~])=\s*[\"'`][^\"'`]*\{(?:namespace|shopset|cluster)\}")


def check_label_name(text: str) -> str:
    """Return `text` where it can be the name of a label of an alert. Raises InvalidValueError."""
    if _LABEL_NAME.fullmatch(text) is None or text.startswith("__") or text == "alertstate":
        message = f"{quoted(text)} is not the name of a label of an alert"
        raise InvalidValueError(message, "use letters, digits and '_', as in alertname; alertstate is always firing")
    return text


def check_expression(text: str) -> str:
    """Return `text` where it compares no label with one ShopSet of many. Raises InvalidValueError."""
    found = _OF_ONE_SHOPSET.search(text)
    if found is not None:
        message = f"{quoted(found[0])} fits one ShopSet only, and a tier may have many"
        raise InvalidValueError(message, 'write =~ in place of =, as in namespace=~"{namespace}"')
    return text


LabelName = Annotated[str, AfterValidator(check_label_name)]
Expression = Annotated[Line, AfterValidator(check_expression)]


class AlertsGate(Object):
    """Fails where an alert fires that all matchers fit, and that no silence covers."""

    matchers: Mapping[LabelName, Line] = Field(default_factory=dict)
    """Label -> value; `{namespace}`, `{shopset}`, `{cluster}` and `{tier}` stand for the ShopSet's."""
    include_existing: StrictBool = False
    """Whether alerts count too that were firing already when the bake began."""


class QueryGate(Object):
    """Fails where a PromQL expression is beyond its threshold."""

    expr: Expression
    """The expression, evaluated over the bake, as in `sum(rate(errors{namespace=~"{namespace}"}[5m]))`."""
    threshold: StrictFloat
    """The last value that does not fail."""
    comparison: Literal["Above", "Below"] = "Above"
    """On which side of the threshold it fails."""
    min_traffic: StrictFloat | None = None
    """What `traffic` must be for a value to count; given together with it."""
    traffic: Expression | None = None
    """The requests per second behind each value; with the labels of `expr`, or with none."""


class HttpGate(Object):
    """Fails where an HTTP check does not answer with 2xx in time."""

    url: Endpoint
    """What is asked for, as in `https://{shopset}.example.com/health`."""
    timeout: Duration = parse_duration("5s")


class SmokeGate(Object):
    """Fails where a smoke test (an Argo CD PostSync hook) failed."""

    job: Name | None = None
    """The hook's name, or its generateName without the dash; every hook counts where it is left out."""


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
