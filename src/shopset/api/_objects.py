"""What every object of the API group has: its frame, its metadata and its conditions."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt
from pydantic.alias_generators import to_camel

from shopset.api.errors import InvalidValueError, quoted
from shopset.api.names import LabelKey, LabelValue, Name

API_GROUP = "shopset.dev"
API_VERSION = f"{API_GROUP}/v1alpha1"

_LINE_LENGTH = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# For every dialect of regular expressions that a schema may be read by, so the last two are themselves.
_IN_LINE = "[^\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]*"
_VISIBLE = "[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_LINE_PATTERN = f"^{_IN_LINE}{_VISIBLE}{_IN_LINE}$"


def _alias(name: str) -> str:
    return to_camel(name.rstrip("_"))


class Object(BaseModel):
    """The base of every model here: immutable, camelCase in YAML, and closed to unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_alias,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
        defer_build=True,
    )


def check_line(text: str) -> str:
    """Return `text` where it is one line with something on it. Raises InvalidValueError."""
    if not text.strip() or len(text) > _LINE_LENGTH or _CONTROL.search(text):
        message = f"{quoted(text)} is not one line of text"
        raise InvalidValueError(message, f"write 1 to {_LINE_LENGTH} characters without line breaks")
    return text


Line = Annotated[
    str,
    AfterValidator(check_line),
    Field(json_schema_extra={"pattern": _LINE_PATTERN, "minLength": 1, "maxLength": _LINE_LENGTH}),
]


def check_exactly_one(model: Object, *fields: str) -> None:
    """Check that exactly one of `fields` (which are None by default) is set. Raises InvalidValueError."""
    present = [field for field in fields if getattr(model, field) is not None]
    if len(present) != 1:
        found = "none of them" if not present else " and ".join(_alias(field) for field in present)
        message = f"needs exactly one of {', '.join(_alias(field) for field in fields)}, and has {found}"
        raise InvalidValueError(message, "add one" if not present else "keep one", tuple(map(_alias, present[1:2])))


def check_distinct(field: str, values: Iterable[str]) -> None:
    """Check that no item of the list `field` has a name that another has. Raises InvalidValueError."""
    seen: Counter[str] = Counter()
    for index, value in enumerate(values):
        seen[value] += 1
        if seen[value] > 1:
            message = f"{quoted(value)} is there twice"
            raise InvalidValueError(message, "remove or rename one of them", (field, index, "name"))


class ObjectMeta(Object):
    """The metadata of a Kubernetes object, whether a person wrote it or an API server returned it."""

    name: Name
    namespace: Name | None = None
    labels: Mapping[LabelKey, LabelValue] = Field(default_factory=dict)
    annotations: Mapping[LabelKey, str] = Field(default_factory=dict)
    uid: str | None = None
    resource_version: str | None = None
    generation: StrictInt | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: StrictInt | None = None
    generate_name: str | None = None
    self_link: str | None = None
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[Mapping[str, Any], ...] = ()
    managed_fields: tuple[Mapping[str, Any], ...] = ()


class Condition(Object):
    """One thing that was observed of an object, as Kubernetes writes it."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: StrictInt | None = None


class Status(Object):
    """What was observed of an object; never an input of a decision."""

    conditions: tuple[Condition, ...] = ()
    observed_generation: StrictInt | None = None


class Resource(Object):
    """An object of the API group; each kind is a subclass that adds its `spec` and `status`."""

    api_version: Literal["shopset.dev/v1alpha1"] = "shopset.dev/v1alpha1"
    kind: str
    metadata: ObjectMeta

    @property
    def name(self) -> str:
        """The name, unique within the kind."""
        return self.metadata.name

    @property
    def reference(self) -> str:
        """Kind and name as people write them: `Tier/dev`."""
        return f"{self.kind}/{self.metadata.name}"
