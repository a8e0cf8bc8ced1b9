"""FailureDomain: a level at which things fail together, as a provider, a region or a cluster."""

from typing import Literal

from shopset.api._objects import Object, Resource, Status
from shopset.api.names import LabelKey


class FailureDomainSpec(Object):
    """Which label of Clusters tells one domain from another."""

    topology_key: LabelKey
    """The key of `spec.topology` of Clusters, as in `region`."""


class FailureDomainStatus(Status):
    """What was observed of a FailureDomain."""

    domains: tuple[str, ...] = ()
    """The values that the Clusters have."""


class FailureDomain(Resource):
    """A level at which things fail together."""

    kind: Literal["FailureDomain"] = "FailureDomain"
    spec: FailureDomainSpec
    status: FailureDomainStatus | None = None
