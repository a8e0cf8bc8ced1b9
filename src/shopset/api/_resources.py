"""What `shopset.api` has to offer: every kind, and what belongs to them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from shopset.api._objects import API_GROUP, API_VERSION, Condition, ObjectMeta, Resource
from shopset.api.clusters import Cluster
from shopset.api.configurations import Configuration
from shopset.api.controls import Approval, Hold, Rollback
from shopset.api.durations import Duration, format_duration, parse_duration
from shopset.api.errors import InvalidValueError
from shopset.api.failure_domains import FailureDomain
from shopset.api.freezes import FreezeWindow, WeekTime
from shopset.api.gates import Gate
from shopset.api.hosts import normalise_host
from shopset.api.names import NAME_LENGTH, is_system_namespace
from shopset.api.platforms import Platform
from shopset.api.shops import Shop, ShopClass
from shopset.api.shopsets import ShopSet
from shopset.api.tiers import Promotion, Tier
from shopset.api.urls import redact, repository_folder

KINDS: Final[Mapping[str, type[Resource]]] = {
    kind.__name__: kind
    for kind in (
        Platform,
        Tier,
        Configuration,
        Cluster,
        FailureDomain,
        ShopSet,
        ShopClass,
        Shop,
        Approval,
        Hold,
        Rollback,
    )
}
"""Every kind of the API group, by name."""


class _Schemas(GenerateJsonSchema):
    """Writes the defaults of durations as people do, where pydantic would write ISO 8601."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema of a kind. Raises KeyError for one that does not exist."""
    schema = KINDS[kind].model_json_schema(by_alias=True, schema_generator=_Schemas)
    # In Python a model knows its kind; a file has to say it.
    required = ["apiVersion", "kind", *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "required": required}


__all__ = [
    "API_GROUP",
    "API_VERSION",
    "KINDS",
    "NAME_LENGTH",
    "Approval",
    "Cluster",
    "Condition",
    "Configuration",
    "Duration",
    "FailureDomain",
    "FreezeWindow",
    "Gate",
    "Hold",
    "InvalidValueError",
    "ObjectMeta",
    "Platform",
    "Promotion",
    "Resource",
    "Rollback",
    "Shop",
    "ShopClass",
    "ShopSet",
    "Tier",
    "WeekTime",
    "format_duration",
    "is_system_namespace",
    "json_schema",
    "normalise_host",
    "parse_duration",
    "redact",
    "repository_folder",
]
