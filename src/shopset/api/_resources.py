"""What `shopset.api` has to offer: every kind, and what belongs to them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from shopset.api._docstrings import attribute_docstrings
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
    """Describes fields by their docstrings, and writes the defaults of durations as people do, and not as ISO 8601."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        found, fields = super().model_schema(schema), schema["cls"].model_fields
        for name, text in attribute_docstrings(schema["cls"]).items():
            found["properties"][fields[name].alias].setdefault("description", text)
        return found

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
