"""From the JSON schema of a model to the structural schema that Kubernetes asks for."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from shopset.api.names import NAME_LENGTH, NAME_PATTERN
from shopset.kube.definitions.descriptions import DESCRIPTIONS
from shopset.kube.definitions.rules import CONDITIONS, FIELD_BOUNDS, FIELD_RULES, MODEL_RULES

Schema = dict[str, Any]

_KEPT: Final = (
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
)
_LOOK_AHEAD: Final = re.compile(r"\(\?[=!][^()]*\)")
_NO_CONSTRAINT: Final = ("title", "description", "default", "examples", "additionalProperties", "properties", "items")
_KNOWN: Final = frozenset(
    (*_KEPT, *_NO_CONSTRAINT, "$ref", "anyOf", "const", "exclusiveMinimum", "required", "$schema", "$defs")
)


class UnsayableError(Exception):
    """A model's schema has what a structural schema can't say."""


def structural_schema(schema: Mapping[str, Any]) -> Schema:
    """Return the structural schema of a kind's JSON schema, with descriptions, defaults and rules. Raises UnsayableError.

    Without a null, as every field of Kubernetes: the API server takes a null for a field that was left out.
    """
    fields = schema["properties"]
    convert = _converter(schema["$defs"])
    properties = {
        "apiVersion": {"type": "string", "description": _API_VERSION},
        "kind": {"type": "string", "description": _KIND},
        "metadata": _METADATA,
        "spec": convert(fields["spec"]),
        "status": convert(fields["status"]),
    }
    required = [field for field in schema["required"] if field == "spec"]
    return {
        "type": "object",
        "description": schema["description"],
        "properties": properties,
        **({"required": required} if required else {}),
    }


_API_VERSION: Final = "The version of the API that the object is written in."
_KIND: Final = "The kind of the object."
_METADATA: Final[Schema] = {
    "type": "object",
    "properties": {
        "name": {
            "type": "string",
            "description": "Its name, one per kind and namespace: a DNS label.",
            "pattern": NAME_PATTERN,
            "maxLength": NAME_LENGTH,
        }
    },
}


def _converter(models: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Schema]:
    def convert(schema: Mapping[str, Any]) -> Schema:
        _check_known(schema)
        inner, name = _resolve(schema, models)
        found = _constraints(inner)
        if "properties" in inner:
            found |= _fields(name, inner, convert)
        if "items" in inner:
            found["items"] = convert(inner["items"])
        if isinstance(inner.get("additionalProperties"), Mapping):
            found["additionalProperties"] = convert(inner["additionalProperties"])
        elif inner.get("additionalProperties") is True:
            found["x-kubernetes-preserve-unknown-fields"] = True
        return _described(schema, inner) | found | _default(schema, inner)

    return convert


def _check_known(schema: Mapping[str, Any]) -> None:
    unknown = sorted(set(schema) - _KNOWN)
    if unknown:
        message = f"{', '.join(unknown)} in {schema.get('title', 'a schema')}: no rule says what Kubernetes makes of it"
        raise UnsayableError(message)


def _resolve(schema: Mapping[str, Any], models: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the schema behind references and a `| None`, with the name of its model."""
    if "anyOf" in schema:
        alternatives = [each for each in schema["anyOf"] if each != {"type": "null"}]
        if len(alternatives) != 1:
            message = f"{schema.get('title')} is one of several types"
            raise UnsayableError(message)
        return _resolve(alternatives[0], models)
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return models[name], name
    return schema, ""


def _constraints(schema: Mapping[str, Any]) -> Schema:
    found = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        found["enum"] = [schema["const"]]
    if "exclusiveMinimum" in schema:
        found |= {"minimum": schema["exclusiveMinimum"], "exclusiveMinimum": True}
    if found.get("type") == "integer":
        found["format"] = "int64"
    if "pattern" in found:
        found |= _linear_pattern(found["pattern"])
    return found


def _linear_pattern(pattern: str) -> Schema:
    """Return a pattern without look-aheads, which the API server's linear-time matcher does not have."""
    plain = _LOOK_AHEAD.sub("", pattern)
    return {"pattern": plain} | ({"minLength": 1} if "(?=.)" in pattern else {})


def _fields(name: str, schema: Mapping[str, Any], convert: Callable[[Mapping[str, Any]], Schema]) -> Schema:
    found: Schema = {"properties": {}}
    for field, inner in schema["properties"].items():
        path = name, field
        rules = {"x-kubernetes-validations": list(FIELD_RULES[path])} if path in FIELD_RULES else {}
        conditions = CONDITIONS if field == "conditions" else {}
        told = {"description": DESCRIPTIONS[path]} if path in DESCRIPTIONS else {}
        found["properties"][field] = {**convert(inner), **told, **FIELD_BOUNDS.get(path, {}), **conditions, **rules}
    if schema.get("required"):
        found["required"] = list(schema["required"])
    if name in MODEL_RULES:
        found["x-kubernetes-validations"] = list(MODEL_RULES[name])
    return found


def _described(schema: Mapping[str, Any], inner: Mapping[str, Any]) -> Schema:
    text = schema.get("description") or inner.get("description", "")
    examples = inner.get("examples")
    if examples:
        text = f"{text} As in {', '.join(examples)}.".strip()
    return {"description": text} if text else {}


def _default(schema: Mapping[str, Any], inner: Mapping[str, Any]) -> Schema:
    """Return the default. An object's is empty: its fields have theirs. An empty list or map is the same as none."""
    value = schema.get("default")
    if value is None or value in ([], {}, ""):
        return {}
    return {"default": {} if "properties" in inner else _without_nulls(value)}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list | tuple) else value
