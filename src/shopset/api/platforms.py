"""Platform: what the ShopSets are copies of, and how they are delivered. One per fleet."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, model_validator
from pydantic.alias_generators import to_camel

from shopset.api._objects import Line, Object, Resource, Status, check_exactly_one
from shopset.api.clusters import Cluster
from shopset.api.durations import Duration, format_duration, parse_duration
from shopset.api.errors import InvalidValueError, quoted
from shopset.api.gates import Expression, LabelName
from shopset.api.names import Name, Prefix
from shopset.api.shopsets import PositiveFloat, PositiveInt, Requests
from shopset.api.urls import Endpoint, RepositoryUrl, repository_folder, repository_parent

_MILLISECOND: Final = timedelta(milliseconds=1)
_HOUR: Final = timedelta(hours=1)
_OWN_CLUSTER: Final = "https://kubernetes.default.svc"
"""How Argo CD calls the cluster that it is in."""


class Repositories(Object):
    """The three repositories, side by side under one parent."""

    system: RepositoryUrl
    """What shopset writes and Argo CD reads."""
    apps: RepositoryUrl
    """The kustomize bases that people write."""
    configuration: RepositoryUrl
    """The kustomize components of the Configurations that people write."""

    @model_validator(mode="after")
    def _side_by_side(self) -> Self:
        parent, folders = repository_parent(self.system), [repository_folder(self.system)]
        for field in ("apps", "configuration"):
            url: str = getattr(self, field)
            if repository_parent(url) != parent:
                message = f"does not lie beside the system repository, under {parent}"
                raise InvalidValueError(message, "submodules are relative, so put the three under one parent", (field,))
            if repository_folder(url) in folders:
                message = f"{repository_folder(url)} is named twice"
                raise InvalidValueError(message, "the three are different repositories", (field,))
            folders.append(repository_folder(url))
        return self


class Backoff(Object):
    """How Argo CD waits between retries of a sync."""

    duration: Duration = parse_duration("5s")
    factor: Annotated[StrictInt, Field(ge=1, le=10)] = 2
    max_duration: Duration = parse_duration("3m")


class Retry(Object):
    """How often Argo CD retries a sync that failed."""

    limit: Annotated[StrictInt, Field(ge=0, le=100)] = 5
    backoff: Backoff = Backoff()


class ArgoCd(Object):
    """Delivery by Argo CD."""

    instances: Literal["Shared", "PerCluster"] = "Shared"
    """Shared is one Argo CD beside these objects; with PerCluster each Cluster has its own, reached by its context."""
    namespace: Name = "argocd"
    project: Name = "default"
    sync_options: tuple[Line, ...] = ()
    """More of Argo CD's sync options, as in `ServerSideApply=true`."""
    retry: Retry = Retry()


class Directory(Object):
    """Delivery by directory clusters, which stand in for Argo CD and Kubernetes."""

    path: Line
    """The folder of the directory clusters, absolute or relative to the fleet's."""


class Delivery(Object):
    """Who brings a tier's branch to the clusters. Exactly one of the two."""

    argocd: ArgoCd | None = None
    directory: Directory | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        check_exactly_one(self, "argocd", "directory")
        return self


class Prefixes(Object):
    """What names of objects begin with."""

    namespace: Prefix = "shopset-"
    application: Prefix | None = None
    """Of Argo CD Applications; the Platform's name and a dash where it is left out."""


class Images(Object):
    """Which images a base may name, and what is to be known of those that run."""

    policy: Literal["Tag", "Digest"] = "Tag"
    """Tag refuses untagged and `latest` images and warns of other tags; Digest refuses whatever is not a digest."""
    evidence: Literal["References", "Ids"] = "References"
    """Ids looks into the Pods, and a tier verifies only images with the ids that the next lower tier ran."""


class ShopSource(Object):
    """One place where shops come from."""

    kind: Literal["Resources", "Files", "PostgreSQL"]
    path: Line | None = None
    """A file or a folder of files: YAML, CSV or JSON lines. Relative to the fleet's folder, or where the controller has it mounted."""
    table: Line | None = None
    """The table or view, as in public.shops."""
    secret: Name | None = None
    """The Secret with the connection of PostgreSQL: `uri`, or PGHOST, PGUSER, PGPASSWORD and so on, a key each."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        for kind, field in (("Files", "path"), ("PostgreSQL", "table")):
            if (getattr(self, field) is not None) != (self.kind == kind):
                message = f"a source of kind {self.kind} {'needs' if self.kind == kind else 'has no'} {field}"
                raise InvalidValueError(message, f"{field} belongs to {kind}", (field,))
        if self.secret is not None and self.kind != "PostgreSQL":
            message = f"a source of kind {self.kind} has no secret"
            raise InvalidValueError(message, "secret belongs to PostgreSQL", ("secret",))
        return self


class Shops(Object):
    """Where shops come from."""

    sources: tuple[ShopSource, ...] = (ShopSource(kind="Resources"),)


def check_service_url(text: str) -> str:
    """Return the URL of an API, which has no fields in braces, query or fragment. Raises InvalidValueError."""
    if any(character in text for character in "{}?#"):
        message = f"{quoted(text)} is not the URL of an API"
        raise InvalidValueError(message, "write it as in https://prometheus.example.com, with nothing in braces")
    return text


class MonitoringApi(Object):
    """One API that gates are read from."""

    url: Annotated[
        Endpoint,
        AfterValidator(check_service_url),
        Field(json_schema_extra={"pattern": r"^https?://[A-Za-z0-9.:\[\]-]+(?:/[^{}?#\s]*)?$", "maxLength": 2048}),
    ]
    """Where it is, with a path where it has one, as in `https://metrics.example.com/prometheus`."""
    secret: Name | None = None
    """The Secret with its credentials: `token`, or `username` and `password`; and `ca.crt` where its CA is a private one."""


class Monitoring(Object):
    """Where gates of alerts and queries are read."""

    prometheus: MonitoringApi
    alertmanager: MonitoringApi | None = None
    """Whose silences are respected; no alert is silenced where it is left out."""
    timeout: Duration = parse_duration("10s")
    """How long each question may take."""
    max_gap: Duration = parse_duration("2m")
    """How long Prometheus may have recorded nothing; at least twice its slowest scrape interval."""


class Waves(Object):
    """How shops are moved off a cluster that still runs, and brought back."""

    share: Annotated[StrictInt, Field(ge=1, le=100)] = 10
    """How many of all shops, in percent, may be between two ShopSets at once; at least one group is."""
    pause: Duration = parse_duration("30s")
    """How long the old replica goes on serving beside the new one, until every edge knows the new one."""


class Saturation(Object):
    """How much a ShopSet bears, as Prometheus has it: two expressions whose series have the label `namespace` or `shopset`."""

    requests: Expression
    """Requests per second, as in `sum by (namespace) (rate(requests_total{namespace=~"{namespace}"}[5m]))`."""
    saturation: Expression
    """How full it is, from 0 to 1, in what fills up first."""
    target: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.8
    """How full a ShopSet may be: its capacity is the requests per second at which it is so."""


class DemandQuery(Object):
    """How many requests each shop has, as Prometheus has it."""

    query: Line
    """One expression for all shops, as in `max_over_time(sum by (shop) (rate(requests_total[5m]))[7d:5m])`."""
    label: Annotated[
        LabelName, Field(json_schema_extra={"pattern": "^(_|_?[a-zA-Z][a-zA-Z0-9_]*|_[0-9][a-zA-Z0-9_]*)$"})
    ] = "shop"
    """The label whose value is the name of the shop."""


class HealthQuery(Object):
    """How clusters look from outside, as Prometheus has it: a signal of its own for automatic failover."""

    query: Line
    """One expression for all clusters, as in `max by (cluster) (probe_success{job="shoppers"})`: 0 where one is unhealthy."""
    label: Annotated[
        LabelName, Field(json_schema_extra={"pattern": "^(_|_?[a-zA-Z][a-zA-Z0-9_]*|_[0-9][a-zA-Z0-9_]*)$"})
    ] = "cluster"
    """The label whose value is the name of the Cluster."""


class AssumedDemand(Object):
    """What a shop is taken to need of which nobody says it."""

    requests_per_second: PositiveFloat = 1.0
    """Requests per second at its busiest."""
    connections: PositiveInt = 1
    """Database connections at its busiest."""


class Placement(Object):
    """How shops are placed."""

    waves: Waves = Waves()
    groups_per_shopset: Annotated[StrictInt, Field(ge=1, le=1000)] = 20
    """How finely a class's shops are divided: about so many groups for each ShopSet that takes them."""
    demand: AssumedDemand = AssumedDemand()
    """What is assumed of a shop whose demand nobody states."""
    demand_query: DemandQuery | None = None
    """Where the requests per second of shops are looked up whose demand nobody states."""
    health_query: HealthQuery | None = None
    """By what automatic failover looks at clusters, besides their API servers and Argo CD."""
    saturation: Saturation | None = None
    """From what the capacity of ShopSets is estimated."""


class EdgeHealth(Object):
    """How edges look at ShopSets. A hang is noticed within interval + fall * timeout; a shorter pause is none."""

    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9/._~-]{0,255}$")] = "/health"
    """What of a ShopSet is asked for; every answer below 400 is a good one."""
    interval: Duration = parse_duration("80ms")
    """Between two checks of a ShopSet."""
    timeout: Duration = parse_duration("150ms")
    """After which a check has failed."""
    fall: Annotated[StrictInt, Field(ge=1, le=100)] = 2
    """Failed checks in a row that take a ShopSet out."""
    rise: Annotated[StrictInt, Field(ge=1, le=1000)] = 10
    """Good checks in a row that bring it back."""
    slow_start: Duration = parse_duration("10s")
    """Within which it gets its full share again."""
    panic: Annotated[StrictInt, Field(ge=1, le=100)] = 50
    """Percent of the ShopSets: an edge for which more are down, and more than one cluster, tries them all the same. 100 is never."""

    @model_validator(mode="after")
    def _is_within_reason(self) -> Self:
        for field, least in (("interval", _MILLISECOND), ("timeout", _MILLISECOND), ("slow_start", timedelta())):
            duration: timedelta = getattr(self, field)
            if not least <= duration <= _HOUR:
                message = f"{format_duration(duration)} is no time for this"
                raise InvalidValueError(message, f"write {format_duration(least)} to 1h", (to_camel(field),))
        return self


class ClientLimits(Object):
    """How much traffic one client address may have, over all shops."""

    requests_per_second: PositiveFloat | None = None
    """Requests per second that one address may have over time."""
    burst: Requests | None = None
    """Requests that it may have at once beyond that."""


class Edge(Object):
    """How shoppers are led to ShopSets."""

    agents: tuple[Endpoint, ...] = ()
    """Where the agents of the edges answer `shopctl edge status`, as in `http://edge-1.example.com:8405`."""
    health: EdgeHealth = EdgeHealth()
    clients: ClientLimits = ClientLimits()
    lanes: tuple[Annotated[str, Field(pattern=r"^/[A-Za-z0-9/._~-]{0,255}$")], ...] = ("/cart", "/checkout", "/payment")
    """Beginnings of paths that are served before others when a ShopSet is short."""
    redirect: Literal["None", "Https"] = "None"
    """Https sends what comes without TLS to the same address with it."""


class PlatformSpec(Object):
    """What the ShopSets are copies of, and how they are delivered."""

    repositories: Repositories
    delivery: Delivery
    prefixes: Prefixes = Prefixes()
    images: Images = Images()
    shops: Shops = Shops()
    placement: Placement = Placement()
    edge: Edge = Edge()
    monitoring: Monitoring | None = None
    """Where gates are read."""

    @model_validator(mode="after")
    def _has_pods_to_look_into(self) -> Self:
        if self.images.evidence == "Ids" and self.delivery.directory is not None:
            message = "delivery.directory runs no Pods, so images.evidence: Ids has nothing to look into"
            raise InvalidValueError(message, "leave images.evidence out", ("images", "evidence"))
        return self


class PlatformStatus(Status):
    """What was observed of a Platform."""


class Platform(Resource):
    """What the ShopSets are copies of."""

    kind: Literal["Platform"] = "Platform"
    spec: PlatformSpec
    status: PlatformStatus | None = None

    @property
    def application_prefix(self) -> str:
        """What the names of Argo CD Applications begin with."""
        given = self.spec.prefixes.application
        return f"{self.name}-" if given is None else given

    @property
    def has_argocd_per_cluster(self) -> bool:
        """Whether each Cluster has an Argo CD of its own."""
        argocd = self.spec.delivery.argocd
        return argocd is not None and argocd.instances == "PerCluster"

    def destination(self, cluster: Cluster) -> Mapping[str, str]:
        """Return how the Argo CD of a cluster calls it: `{name: ...}` or `{server: ...}`."""
        given = cluster.spec.destination
        if given.server is not None:
            return {"server": given.server}
        if given.name is None and self.has_argocd_per_cluster:
            return {"server": _OWN_CLUSTER}
        return {"name": given.name or cluster.name}
