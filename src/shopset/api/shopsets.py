"""ShopSet: one full copy of the platform, on one Cluster, in one Tier, with one Configuration."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from shopset.api._objects import Object, Resource, Status
from shopset.api.names import Name
from shopset.api.urls import Endpoint

PositiveInt = Annotated[StrictInt, Field(ge=1)]
Requests = Annotated[StrictInt, Field(ge=1, le=1_000_000_000)]
"""How many requests at once."""
PositiveFloat = Annotated[StrictFloat, Field(gt=0)]


class Capacity(Object):
    """How much one ShopSet carries; what is left out is not limited."""

    requests_per_second: PositiveFloat | None = None
    """Requests per second that it bears."""
    shops: PositiveInt | None = None
    """How many shops it serves at most."""
    connections: PositiveInt | None = None
    """Database connections that it opens."""
    concurrency: Requests | None = None
    """Requests that it answers at once; the edge refuses or spills what is beyond."""


class ShopSetSpec(Object):
    """What a ShopSet is a copy of, and where it runs."""

    tier: Name
    """The Tier with which it is updated."""
    configuration: Name
    """The Configuration that says what it connects to."""
    cluster: Name
    """The Cluster on which it runs."""
    capacity: Capacity | None = None
    endpoint: Endpoint | None = None
    """Where its shops are reached, where that is not what its Cluster's template says."""
    dedicated: StrictBool = False
    """Serves only shops of a class that asks for dedicated ShopSets."""


class ShopSetStatus(Status):
    """What was observed of a ShopSet."""

    revision: str | None = None
    sync: Literal["Synced", "OutOfSync", "Unknown"] | None = None
    health: Literal["Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"] | None = None
    ready: StrictBool | None = None
    shops: StrictInt | None = None
    """How many shops it serves, as any of their replicas."""
    load: str | None = None
    """How loaded it is, as in `41%` of its capacity."""


class ShopSet(Resource):
    """One full copy of the platform."""

    kind: Literal["ShopSet"] = "ShopSet"
    spec: ShopSetSpec
    status: ShopSetStatus | None = None
