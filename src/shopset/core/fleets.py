"""The Fleet: an immutable snapshot of the resources, cross-checked. Shops are checked with it, but are not in it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from shopset.api import (
    NAME_LENGTH,
    Approval,
    Cluster,
    Configuration,
    FailureDomain,
    Hold,
    Platform,
    Resource,
    Rollback,
    Shop,
    ShopClass,
    ShopSet,
    Tier,
    is_system_namespace,
)
from shopset.core.capacity.budgets import Excess, excesses

Field = tuple[str | int, ...]
_Kind = TypeVar("_Kind", bound=Resource)
_TELL_APART: Final = "an edge can't tell them apart: let the host or the port differ, as with {shopset} in it"
_SERVER_ONLY: Final = "an edge leads shoppers to a server and keeps their paths: keep scheme, host and port"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one resource in the company of the others."""

    resource: str
    """`Tier/dev`."""
    field: Field
    """Path of the field, as in `("spec", "tier")`."""
    message: str
    advice: str = ""
    severity: Literal["error", "warning"] = "error"
    missing: str = ""
    """What should be there and is not, as in `Tier/dev` or `Platform`."""
    stops: bool = True
    """Whether an error pauses the fleet. One that does not is refused where it is made, and told where it is there already."""


@dataclass(frozen=True)
class Fleet:
    """The desired state of everything but the shops. Mappings are sorted by name and never change."""

    platform: Platform
    tiers: tuple[Tier, ...]
    """Ascending by level."""
    configurations: Mapping[str, Configuration]
    clusters: Mapping[str, Cluster]
    failure_domains: Mapping[str, FailureDomain]
    shopsets: Mapping[str, ShopSet]
    shop_classes: Mapping[str, ShopClass]

    def tier(self, name: str) -> Tier:
        """Return a tier. Raises KeyError."""
        return self.tiers[self._positions[name]]

    def lower(self, name: str) -> Tier | None:
        """Return the next lower tier; None for the lowest."""
        position = self._positions[name]
        return self.tiers[position - 1] if position > 0 else None

    def upper(self, name: str) -> Tier | None:
        """Return the next higher tier; None for the highest."""
        position = self._positions[name] + 1
        return self.tiers[position] if position < len(self.tiers) else None

    def members(self, name: str) -> tuple[ShopSet, ...]:
        """Return the ShopSets of a tier, sorted by name."""
        return self._members.get(name, ())

    def hosted(self, cluster: str) -> tuple[str, ...]:
        """Return the names of the ShopSets on a cluster, sorted."""
        return tuple(name for name, shopset in self.shopsets.items() if shopset.spec.cluster == cluster)

    def domain(self, level: str, cluster: str) -> str:
        """Return the domain of a FailureDomain that a cluster is in. Raises KeyError.

        A cluster without the label is a domain of its own: nothing is known of what it shares.
        """
        key = self.failure_domains[level].spec.topology_key
        return self.clusters[cluster].topology.get(key, f"({cluster})")

    def branch(self, name: str) -> str:
        """Return the branch of a tier, the same in all three repositories."""
        return f"tier-{self.tier(name).spec.level}"

    def namespace(self, shopset: str) -> str:
        """Return the namespace of a ShopSet."""
        return f"{self.platform.spec.prefixes.namespace}{shopset}"

    def application(self, shopset: str) -> str:
        """Return the name of a ShopSet's Argo CD Application."""
        return f"{self.platform.application_prefix}{shopset}"

    def endpoint(self, shopset: str) -> str | None:
        """Return where the shops of a ShopSet are reached; None where nobody said it. Raises KeyError."""
        spec = self.shopsets[shopset].spec
        template = spec.endpoint or self.clusters[spec.cluster].spec.endpoint
        if template is None:
            return None
        namespace = self.namespace(shopset)
        return template.format(shopset=shopset, namespace=namespace, tier=spec.tier, cluster=spec.cluster)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {tier.metadata.name: position for position, tier in enumerate(self.tiers)}

    @cached_property
    def _members(self) -> dict[str, tuple[ShopSet, ...]]:
        members: dict[str, list[ShopSet]] = defaultdict(list)
        for shopset in self.shopsets.values():
            members[shopset.spec.tier].append(shopset)
        return {tier: tuple(found) for tier, found in members.items()}


@dataclass(frozen=True)
class Assembly:
    """What a set of resources makes: a Fleet, or (with any error that stops it) none; and the problems found."""

    fleet: Fleet | None
    problems: tuple[Problem, ...]


def assemble(resources: Iterable[Resource]) -> Assembly:
    """Cross-check resources and make a Fleet of them."""
    found = _Assembler(list(resources))
    problems = tuple(found.problems())
    broken = any(problem.severity == "error" and problem.stops for problem in problems)
    return Assembly(None if broken else found.fleet(), problems)


def host_is_taken(shop: str, index: int, host: str, owner: str) -> Problem:
    """Return the problem of a shop one of whose hosts is another's."""
    message = f"the host {host} is taken by the shop {owner}"
    return Problem(f"Shop/{shop}", ("spec", "hosts", index), message, "a host leads to one shop")


class _Assembler:
    def __init__(self, resources: list[Resource]) -> None:
        self.resources = resources
        self.by_kind: dict[str, dict[str, Resource]] = defaultdict(dict)
        for resource in resources:
            self.by_kind[resource.kind].setdefault(resource.name, resource)

    def of(self, kind: type[_Kind]) -> dict[str, _Kind]:
        found = self.by_kind[kind.__name__]
        return {name: resource for name in sorted(found) if isinstance(resource := found[name], kind)}

    def fleet(self) -> Fleet:
        return Fleet(
            platform=next(iter(self.of(Platform).values())),
            tiers=tuple(sorted(self.of(Tier).values(), key=lambda tier: tier.spec.level)),
            configurations=MappingProxyType(self.of(Configuration)),
            clusters=MappingProxyType(self.of(Cluster)),
            failure_domains=MappingProxyType(self.of(FailureDomain)),
            shopsets=MappingProxyType(self.of(ShopSet)),
            shop_classes=MappingProxyType(self.of(ShopClass)),
        )

    def problems(self) -> Iterator[Problem]:
        yield from self._repeated()
        yield from self._platform()
        yield from self._one_namespace()
        yield from self._levels()
        yield from self._repositories()
        yield from self._references()
        yield from self._names()
        yield from self._endpoints()
        yield from self._hosts()
        yield from self._controls()
        yield from self._budgets()

    def _repeated(self) -> Iterator[Problem]:
        for resource in self.resources:
            if self.by_kind[resource.kind][resource.name] is not resource:
                message = f"there is another {resource.kind} named {resource.name}"
                yield Problem(resource.reference, ("metadata", "name"), message, "rename or remove one of them")

    def _platform(self) -> Iterator[Problem]:
        platforms = list(self.of(Platform).values())
        if not platforms:
            yield Problem(
                "Platform",
                (),
                "the fleet has no Platform",
                "add one: shopctl init shows an example",
                missing=Platform.__name__,
            )
        for other in platforms[1:]:
            message = f"the fleet has the Platform {platforms[0].name} already"
            yield Problem(
                other.reference, ("metadata", "name"), message, "a fleet has one; put the other into a fleet of its own"
            )
        if platforms and not self.of(Tier):
            message = "the fleet has no Tier"
            yield Problem(platforms[0].reference, (), message, "add one with spec.level 0", missing=Tier.__name__)

    def _one_namespace(self) -> Iterator[Problem]:
        platform = next(iter(self.of(Platform).values()), None)
        if platform is None:
            return
        wanted = platform.metadata.namespace
        for resource in self.resources:
            if resource.metadata.namespace != wanted:
                message = (
                    f"is in namespace {resource.metadata.namespace or '(none)'}, its Platform in {wanted or '(none)'}"
                )
                yield Problem(resource.reference, ("metadata", "namespace"), message, "a fleet lives in one namespace")

    def _levels(self) -> Iterator[Problem]:
        taken: dict[int, str] = {}
        for tier in self.of(Tier).values():
            owner = taken.setdefault(tier.spec.level, tier.name)
            if owner != tier.name:
                message = f"level {tier.spec.level} is taken by the tier {owner}"
                yield Problem(tier.reference, ("spec", "level"), message, "give each tier a level of its own")

    def _repositories(self) -> Iterator[Problem]:
        platform = next(iter(self.of(Platform).values()), None)
        for tier in self.of(Tier).values():
            stated = tier.spec.repositories
            if platform is not None and stated is not None and stated != platform.spec.repositories:
                message = f"the repositories differ from those of {platform.reference}"
                yield Problem(
                    tier.reference, ("spec", "repositories"), message, "repeat them exactly, or leave them out"
                )

    def _references(self) -> Iterator[Problem]:
        for shopset in self.of(ShopSet).values():
            for field, kind in (("tier", Tier), ("configuration", Configuration), ("cluster", Cluster)):
                yield from self._refers(shopset, ("spec", field), getattr(shopset.spec, field), kind)
        for shop_class in self.of(ShopClass).values():
            yield from self._refers(shop_class, ("spec", "tier"), shop_class.spec.tier, Tier)
            yield from self._refers(shop_class, ("spec", "configuration"), shop_class.spec.configuration, Configuration)
            for index, name in enumerate(shop_class.spec.across):
                yield from self._refers(shop_class, ("spec", "across", index), name, FailureDomain)
            yield from self._canary(shop_class)
        for shop in self.of(Shop).values():
            yield from self._refers(shop, ("spec", "class"), shop.spec.class_, ShopClass)
            for index, name in enumerate(shop.spec.pins):
                yield from self._refers(shop, ("spec", "pins", index), name, ShopSet)

    def _refers(self, resource: Resource, field: Field, name: str, kind: type[Resource]) -> Iterator[Problem]:
        known = self.by_kind[kind.__name__]
        if name not in known:
            others = f"there are {', '.join(sorted(known)[:8])}" if known else f"there is no {kind.__name__} at all"
            message = f"there is no {kind.__name__} named {name}"
            yield Problem(resource.reference, field, message, others, missing=f"{kind.__name__}/{name}")

    def _canary(self, shop_class: ShopClass) -> Iterator[Problem]:
        canary, configuration = shop_class.spec.traffic.canary, shop_class.spec.configuration
        if canary is None:
            return
        field = ("spec", "traffic", "canary", "tier")
        missing = tuple(self._refers(shop_class, field, canary.tier, Tier))
        yield from missing
        found = (each.spec for each in self.of(ShopSet).values())
        if not missing and not any(
            (each.tier, each.configuration, each.dedicated) == (canary.tier, configuration, False) for each in found
        ):
            message = f"no ShopSet of the tier {canary.tier} has the configuration {configuration}"
            advice = (
                "add one that is not dedicated, or name another tier; until then the replicas serve the canary's share"
            )
            yield Problem(shop_class.reference, field, message, advice, stops=False)

    def _endpoints(self) -> Iterator[Problem]:
        """Yield endpoints that lead to more than one ShopSet, or further than to a server: edges can't use them."""
        clusters, owners, told = self.of(Cluster), dict[str, str](), set[str]()
        for name, shopset in self.of(ShopSet).items() if self.of(ShopClass) else ():
            own, cluster = shopset.spec.endpoint, clusters.get(shopset.spec.cluster)
            template = own or (None if cluster is None else cluster.spec.endpoint)
            if template is None:
                continue
            stated_by = shopset.reference if own or cluster is None else cluster.reference
            made = template.format(shopset=name, namespace=name, tier=shopset.spec.tier, cluster=shopset.spec.cluster)
            owner = owners.setdefault(made.removesuffix("/"), name)
            found = [
                ("" if owner == name else f"{owner} and {name} are reached at the same place", _TELL_APART),
                (f"{made} has a path" if "/" in made.removesuffix("/").partition("://")[2] else "", _SERVER_ONLY),
            ]
            for message, advice in found:
                if message and stated_by not in told:
                    told.add(stated_by)
                    yield Problem(stated_by, ("spec", "endpoint"), message, advice, "warning")

    def _names(self) -> Iterator[Problem]:
        platform = next(iter(self.of(Platform).values()), None)
        if platform is None:
            return
        taken = _namespaces_of_others(platform)
        for name, shopset in self.of(ShopSet).items():
            namespace = f"{platform.spec.prefixes.namespace}{name}"
            application = f"{platform.application_prefix}{name}"
            for what, made in (("namespace", namespace), ("Application", application)):
                if len(made) > NAME_LENGTH:
                    message = f"its {what} {made} would have {len(made)} characters"
                    yield Problem(
                        shopset.reference,
                        ("metadata", "name"),
                        message,
                        f"a name has at most {NAME_LENGTH}: shorten it",
                    )
            owner = "the system's" if is_system_namespace(namespace) else taken.get(namespace)
            if owner is not None:
                message = f"its namespace {namespace} would be {owner}"
                yield Problem(
                    shopset.reference,
                    ("metadata", "name"),
                    message,
                    "rename it, or set prefixes.namespace of the Platform",
                )

    def _hosts(self) -> Iterator[Problem]:
        owners: dict[str, str] = {}
        for shop in self.of(Shop).values():
            for index, host in enumerate(shop.spec.hosts):
                owner = owners.setdefault(host, shop.name)
                if owner != shop.name:
                    yield host_is_taken(shop.name, index, host, owner)

    def _controls(self) -> Iterator[Problem]:
        for kind, verb in ((Approval, "approve"), (Hold, "hold"), (Rollback, "rollback")):
            for resource in self.of(kind).values():
                message = f"a {kind.__name__} in a folder is not acted on"
                yield Problem(resource.reference, ("kind",), message, f"use shopctl release {verb}", "warning")

    def _budgets(self) -> Iterator[Problem]:
        for each in excesses(self.of(Configuration), self.of(Cluster), self.of(ShopSet)):
            yield beyond_budget(each)


def beyond_budget(excess: Excess) -> Problem:
    """Return the problem of a ShopSet that is beyond a budget: no reason to stop the others."""
    return Problem(f"ShopSet/{excess.shopset}", excess.field, excess.message, excess.advice, stops=False)


def _namespaces_of_others(platform: Platform) -> dict[str, str]:
    """Return whose namespaces a ShopSet would take from Argo CD or from the fleet's own resources."""
    owners = {platform.metadata.namespace: "that of the fleet's resources"}
    if platform.spec.delivery.argocd is not None:
        owners[platform.spec.delivery.argocd.namespace] = "Argo CD's"
    return {namespace: owner for namespace, owner in owners.items() if namespace is not None}
