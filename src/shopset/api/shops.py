"""Shop and ShopClass: one tenant, and the convention by which tenants are placed."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from shopset.api._objects import Object, Resource, Status
from shopset.api.durations import Duration, parse_duration
from shopset.api.errors import InvalidValueError
from shopset.api.hosts import Host
from shopset.api.names import Name
from shopset.api.shopsets import PositiveFloat, PositiveInt, Requests


class Isolation(Object):
    """How shops of the class are kept from each other."""

    shuffle: StrictBool = False
    """Placement groups share all their replicas as rarely as possible."""
    dedicated: StrictBool = False
    """Only dedicated ShopSets serve the class."""


class Limits(Object):
    """How much traffic one shop may have."""

    requests_per_second: PositiveFloat | None = None
    """Requests per second that one shop may have over time."""
    burst: Requests | None = None
    """Requests that it may have at once beyond that."""


class Canary(Object):
    """A share of the traffic that goes to a ShopSet of another Tier. It is no replica."""

    tier: Name
    """The Tier whose ShopSets, with the class's Configuration, take it."""
    percent: Annotated[StrictInt, Field(ge=1, le=50)]
    """How many of a shop's clients, in percent."""


class Traffic(Object):
    """How the edge spreads a shop's traffic over its replicas."""

    weights: tuple[Annotated[StrictInt, Field(ge=1, le=100)], ...] = ()
    """Percent of a shop's clients that each replica serves, one for each; left out, the primary serves all of them."""
    overload: Literal["Refuse", "Spill"] = "Refuse"
    """What happens to requests beyond a ShopSet's concurrency: Spill gives them to the next replica while that has room."""
    canary: Canary | None = None


class Failover(Object):
    """When a cluster is declared Lost without a person, where the class lets that be done."""

    after: Duration = parse_duration("5m")
    """For how long all signals must say so."""


class ShopClassSpec(Object):
    """Where shops of the class go."""

    tier: Name
    """The Tier of the ShopSets that serve them."""
    configuration: Name
    """The Configuration of the ShopSets that serve them."""
    replicas: Annotated[StrictInt, Field(ge=1, le=16)] = 1
    """How many ShopSets serve each shop; the first is its primary."""
    across: tuple[Name, ...] = ()
    """FailureDomains that no two replicas of a shop may share a domain of."""
    isolation: Isolation = Isolation()
    limits: Limits = Limits()
    traffic: Traffic = Traffic()
    failover: Failover | None = None
    """Lets its shops be re-placed without a person when their cluster is unhealthy; left out, a person declares it Lost."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for index, name in enumerate(self.across):
            if name in self.across[:index]:
                message = f"{name} is there twice"
                raise InvalidValueError(message, "remove one of them", ("across", index))
        weights = self.traffic.weights
        if weights and (len(weights) != self.replicas or sum(weights) != 100):
            message = f"{len(weights)} weights with a sum of {sum(weights)} for {self.replicas} replicas"
            raise InvalidValueError(message, "give each replica one, with a sum of 100", ("traffic", "weights"))
        if self.traffic.canary is not None and self.traffic.canary.tier == self.tier:
            message = f"the canary is in {self.tier}, the class's own tier"
            raise InvalidValueError(message, "name another tier", ("traffic", "canary", "tier"))
        return self


class ShopClass(Resource):
    """A convention by which shops are placed."""

    kind: Literal["ShopClass"] = "ShopClass"
    spec: ShopClassSpec
    status: Status | None = None


class Demand(Object):
    """What a shop is expected to need."""

    requests_per_second: PositiveFloat | None = None
    """Requests per second at its busiest."""
    connections: PositiveInt | None = None
    """Database connections at its busiest."""


class ShopSpec(Object):
    """Who the shop is, and the class by which it is placed."""

    hosts: Annotated[tuple[Host, ...], Field(min_length=1)]
    """The names under which shoppers reach it, as in shop.example.com or *.example.com."""
    class_: Name
    """The ShopClass by which it is placed."""
    demand: Demand | None = None
    pins: tuple[Name, ...] = ()
    """ShopSets that must serve it, the first as its primary."""
    limits: Limits | None = None
    """How much traffic it may have, instead of what its class says."""
    maintenance: StrictBool = False
    """The edge shows shoppers a page that says so."""

    @model_validator(mode="after")
    def _hosts_are_distinct(self) -> Self:
        for index, host in enumerate(self.hosts):
            if host in self.hosts[:index]:
                message = f"{host} is there twice, once normalised"
                raise InvalidValueError(message, "remove one of them", ("hosts", index))
        return self


class ShopStatus(Status):
    """What was observed of a Shop."""

    replicas: tuple[str, ...] = ()


class Shop(Resource):
    """One tenant."""

    kind: Literal["Shop"] = "Shop"
    spec: ShopSpec
    status: ShopStatus | None = None
