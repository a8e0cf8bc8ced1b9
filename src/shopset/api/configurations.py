"""Configuration: what a ShopSet connects to, as staging or production."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictInt, model_validator

from shopset.api._objects import Object, Resource, Status, check_distinct
from shopset.api.errors import InvalidValueError, quoted
from shopset.api.names import Name

PATH_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"
_PATH = re.compile(PATH_PATTERN.rstrip("$") + r"\Z")


def check_component_path(text: str) -> str:
    """Return `text` where it is a plain relative path below a repository's root. Raises InvalidValueError."""
    if len(text) > 255 or _PATH.match(text) is None:
        message = f"{quoted(text)} is not a folder of the configuration repository"
        raise InvalidValueError(message, "write a relative path without '..', as in production or eu/production")
    return text


ComponentPath = Annotated[
    str, AfterValidator(check_component_path), Field(json_schema_extra={"pattern": PATH_PATTERN, "maxLength": 255})
]
PositiveInt = Annotated[StrictInt, Field(ge=1)]


class Database(Object):
    """A database that its ShopSets share, with the budget of connections that it bears."""

    name: Name
    """Its name, one per Configuration."""
    connections: PositiveInt
    """How many connections it bears, of all its ShopSets together."""
    connections_per_shopset: PositiveInt | None = None
    """How many connections one ShopSet opens at most."""

    @model_validator(mode="after")
    def _one_shopset_fits(self) -> Self:
        if self.connections_per_shopset is not None and self.connections_per_shopset > self.connections:
            message = (
                f"{self.connections_per_shopset} connections of one ShopSet exceed the budget of {self.connections}"
            )
            raise InvalidValueError(message, "raise connections or lower this", ("connectionsPerShopset",))
        return self


class ConfigurationSpec(Object):
    """Where the kustomize component is, and what it connects to."""

    path: ComponentPath
    """The folder of the kustomize component in the configuration repository."""
    databases: Annotated[tuple[Database, ...], Field(max_length=64)] = ()
    """The databases that its ShopSets share."""

    @model_validator(mode="after")
    def _databases_are_distinct(self) -> Self:
        check_distinct("databases", (database.name for database in self.databases))
        return self


class ConfigurationStatus(Status):
    """What was observed of a Configuration."""

    shopsets: int | None = None


class Configuration(Resource):
    """What a ShopSet connects to."""

    kind: Literal["Configuration"] = "Configuration"
    spec: ConfigurationSpec
    status: ConfigurationStatus | None = None
