"""Saying in a person's words what pydantic found wrong with an object, and which field to look at."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shopset.api import InvalidValueError, Resource
from shopset.api.errors import quoted
from shopset.core.documents import Field

_OBJECT: Final = ("is not an object", "write its fields below it, indented")
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "string_type": ("is not text", "quote it"),
    "int_type": ("is not a whole number", "write one, without quotes"),
    "float_type": ("is not a number", "write one, without quotes"),
    "bool_type": ("is neither true nor false", "write true or false, without quotes"),
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "mapping_type": _OBJECT,
    "tuple_type": ("is not a list", "write each item on a line of its own, after a dash"),
    "too_short": ("is empty", "add an item"),
    "greater_than": ("is not more than {gt}", "write more than {gt}"),
    "greater_than_equal": ("is less than {ge}", "write {ge} or more"),
    "less_than_equal": ("is more than {le}", "write {le} or less"),
    "literal_error": ("is not one of the words that it may be", "write {expected}"),
}
"""What is said of each type of pydantic's errors, and the advice; its context fills the braces."""


@dataclass(frozen=True)
class Refusal:
    """Why one field of an object is refused."""

    field: Field
    message: str
    advice: str
    of_key: bool = False
    """Whether the key is at fault, not what stands under it."""


def explain(kind: type[Resource], error: ValidationError) -> Iterator[Refusal]:
    """Yield what is wrong with an object of a kind."""
    for found in error.errors():
        # Pydantic counts only the items that are right.
        if found["type"] != "too_short" or not found["input"]:
            yield _explain(kind, found)


def suggest(word: str, known: list[str]) -> str:
    """Return advice that names the known word nearest to `word`, or all that there are."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}" if known else "remove it"


def _explain(kind: type[Resource], error: ErrorDetails) -> Refusal:
    of_key = error["loc"][-1:] == ("[key]",)
    field: Field = error["loc"][:-1] if of_key else error["loc"]
    context = error.get("ctx") or {}
    cause = context.get("error")
    if isinstance(cause, InvalidValueError):
        return Refusal((*field, *cause.field), cause.message, cause.advice, of_key)
    if error["type"] == "extra_forbidden":
        return Refusal(field, "there is no such field", suggest(str(field[-1]), _fields_at(kind, field[:-1])), True)
    if error["type"] == "missing":
        return Refusal(field, "is missing", "add it")
    message, advice = _judge(error, context)
    return Refusal(field, message, advice, of_key)


def _judge(error: ErrorDetails, context: Mapping[str, Any]) -> tuple[str, str]:
    value = error["input"]
    shown = "" if isinstance(value, dict | list) else f"{quoted(value)} "
    other = (f"is refused: {error['msg'][:1].lower()}{error['msg'][1:]}", "correct it, or leave it out")
    message, advice = (words.format(**context) for words in _WORDS[error["type"]]) if error["type"] in _WORDS else other
    return f"{shown}{message}", advice


def _fields_at(kind: type[Resource], field: Field) -> list[str]:
    """Return the names of the fields at a path of a kind, by its schema."""
    schema = _schema(kind)
    node = schema
    for part in field:
        node = _resolved(schema, node)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return sorted(_resolved(schema, node).get("properties", {}))


@cache
def _schema(kind: type[Resource]) -> dict[str, Any]:
    return kind.model_json_schema(by_alias=True)


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    for option in node.get("anyOf", []):
        if "$ref" in option:
            node = option
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
