"""Cluster: one Kubernetes cluster, and what people wish for it."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from shopset.api._objects import Line, Object, Resource, Status
from shopset.api.errors import InvalidValueError, quoted
from shopset.api.names import LabelKey, LabelValue
from shopset.api.urls import Endpoint


class Destination(Object):
    """How Argo CD calls the cluster: by name or by the URL of its API server.

    Where it is left out, it is the cluster's name; or the cluster that Argo CD itself is in, where each has its own.
    """

    name: Line | None = None
    server: Endpoint | None = None

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if self.name is not None and self.server is not None:
            message = "has both name and server"
            raise InvalidValueError(message, "keep one", ("server",))
        if self.server is not None and "{" in self.server:
            message = f"{quoted(self.server)} is not the URL of one API server"
            raise InvalidValueError(message, "write it without braces", ("server",))
        return self


class ClusterCapacity(Object):
    """How much a cluster holds; what is left out is not limited."""

    shopsets: Annotated[StrictInt, Field(ge=1)] | None = None
    """How many ShopSets it has room for."""


class ClusterSpec(Object):
    """Where a cluster is, and what people wish for it."""

    destination: Destination = Destination()
    topology: Mapping[LabelKey, LabelValue] = Field(default_factory=dict)
    """Where it lies, as in `{provider: aws, region: tokyo}`."""
    wish: Literal["Active", "Cordoned", "Drained"] = "Active"
    """Cordoned takes no new shops; Drained is emptied of those that it has."""
    during_bake: StrictBool = False
    """Drained also while a tier of its ShopSets is synced or bakes; else shops stay on it until then."""
    context: Line | None = None
    """How kubeconfigs call it; the cluster's own name where it is left out."""
    endpoint: Endpoint | None = None
    """Where the shops of a ShopSet on it are reached, as in `https://{shopset}.a.example.com`."""
    version: Line | None = None
    """The Kubernetes version that it should have."""
    capacity: ClusterCapacity | None = None


class ClusterStatus(Status):
    """What was observed of a Cluster."""

    state: Literal["Reachable", "Lost", "Draining", "Upgrading", "Returning"] | None = None
    version: str | None = None
    shopsets: int | None = None


class Cluster(Resource):
    """One Kubernetes cluster."""

    kind: Literal["Cluster"] = "Cluster"
    spec: ClusterSpec = ClusterSpec()
    status: ClusterStatus | None = None

    @property
    def context(self) -> str:
        """The context of a kubeconfig by which the cluster is reached."""
        return self.spec.context or self.name

    @property
    def topology(self) -> Mapping[str, str]:
        """The topology labels; `cluster` is the cluster's own name unless it says otherwise."""
        return {"cluster": self.name, **self.spec.topology}
