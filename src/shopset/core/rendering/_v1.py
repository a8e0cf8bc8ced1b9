"""Renderer v1. Its bytes are frozen: what one release of shopset wrote, every later one writes the same."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Generic, TypeVar

from shopset.api import Cluster, Platform, ShopSet, Tier, format_duration, repository_folder
from shopset.api.platforms import ArgoCd
from shopset.core.fleets import Fleet
from shopset.core.rendering._scalars import scalar

_Kind = TypeVar("_Kind", Platform, Tier, Cluster)
_HEADER: Final = "# Written by shopset (renderer v1). Change the fleet or the base instead.\n"
_KEPT: Final = 1 << 17
"""Rendered files that are kept: a plan renders the whole fleet, and the next one the same again."""


class RendererV1:
    """The first renderer."""

    def tier_files(self, platform: Platform, tier: Tier) -> Mapping[str, bytes]:
        """Return `.gitmodules`: relative URLs, so that no credential is in git and one credential serves all three."""
        branch, repositories = f"tier-{tier.spec.level}", platform.spec.repositories
        modules = (("base", repositories.apps), ("configuration", repositories.configuration))
        text = "".join(
            f'[submodule "{name}"]\n\tpath = {name}\n\turl = ../{repository_folder(url)}\n\tbranch = {branch}\n'
            for name, url in modules
        )
        return {".gitmodules": text.encode()}

    def overlay(self, fleet: Fleet, tier: Tier, shopset: ShopSet, components: Sequence[str]) -> bytes:
        """Return the kustomization of one ShopSet."""
        path = fleet.configurations[shopset.spec.configuration].spec.path
        return _overlay(
            tier.metadata.name, path, tuple(components), fleet.namespace(shopset.metadata.name), shopset.metadata.name
        )

    def application(self, fleet: Fleet, tier: Tier, shopset: ShopSet) -> bytes:
        """Return the Argo CD Application of one ShopSet."""
        cluster = fleet.clusters[shopset.spec.cluster]
        return _application(_Same(fleet.platform), _Same(tier), _Same(cluster), shopset.metadata.name)


class _Same(Generic[_Kind]):
    """An immutable resource as a key of a cache: by identity, which costs the same however large it is."""

    __slots__ = ("resource",)

    def __init__(self, resource: _Kind) -> None:
        self.resource: _Kind = resource

    def __hash__(self) -> int:
        return id(self.resource)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.resource is other.resource


@lru_cache(maxsize=_KEPT)
def _overlay(tier: str, path: str, components: tuple[str, ...], namespace: str, name: str) -> bytes:
    return (_overlay_template(tier, path, components) % {"namespace": scalar(namespace), "name": scalar(name)}).encode()


@lru_cache(maxsize=_KEPT)
def _application(platform: _Same[Platform], tier: _Same[Tier], cluster: _Same[Cluster], name: str) -> bytes:
    prefixes = platform.resource.spec.prefixes
    filled = {
        "namespace": scalar(f"{prefixes.namespace}{name}"),
        "name": scalar(name),
        "path": name,
        "application": scalar(f"{platform.resource.application_prefix}{name}"),
    }
    return (_application_template(platform, tier, cluster) % filled).encode()


@lru_cache(maxsize=4096)
def _overlay_template(tier: str, path: str, components: tuple[str, ...]) -> str:
    resources = "".join(f"- {_fixed(f'../../base/{name}'.rstrip('/'))}\n" for name in components)
    return (
        f"{_HEADER}"
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        "namespace: %(namespace)s\n"
        f"resources:\n{resources}"
        f"components:\n- {_fixed(f'../../configuration/{path}')}\n"
        "labels:\n"
        "- pairs:\n"
        f"{_labels(tier, '    ')}"
        "  includeSelectors: false\n"
    )


@lru_cache(maxsize=4096)
def _application_template(platform_key: _Same[Platform], tier_key: _Same[Tier], cluster_key: _Same[Cluster]) -> str:
    platform, tier, cluster = platform_key.resource, tier_key.resource, cluster_key.resource
    argocd = platform.spec.delivery.argocd or ArgoCd()
    destination = "".join(f"    {key}: {_fixed(value)}\n" for key, value in cluster.destination.items())
    return (
        f"{_HEADER}"
        "apiVersion: argoproj.io/v1alpha1\n"
        "kind: Application\n"
        "metadata:\n"
        f"  name: %(application)s\n"
        f"  namespace: {_fixed(argocd.namespace)}\n"
        "  labels:\n"
        f"{_labels(tier.metadata.name, '    ')}"
        "  annotations:\n"
        "    argocd.argoproj.io/manifest-generate-paths: /overlays/%(path)s;/base;/configuration\n"
        "  finalizers:\n"
        "  - resources-finalizer.argocd.argoproj.io\n"
        "spec:\n"
        f"  project: {_fixed(argocd.project)}\n"
        "  source:\n"
        f"    repoURL: {_fixed(platform.spec.repositories.system)}\n"
        f"    targetRevision: tier-{tier.spec.level}\n"
        "    path: overlays/%(path)s\n"
        "  destination:\n"
        f"{destination}"
        "    namespace: %(namespace)s\n"
        f"{_sync_policy(argocd)}"
    )


def _labels(tier: str, indent: str) -> str:
    pairs = ("app.kubernetes.io/part-of: shopset", "shopset.dev/shopset: %(name)s", f"shopset.dev/tier: {_fixed(tier)}")
    return "".join(f"{indent}{pair}\n" for pair in pairs)


def _sync_policy(argocd: ArgoCd) -> str:
    options = "".join(f"    - {_fixed(option)}\n" for option in ("CreateNamespace=true", *argocd.sync_options))
    backoff = argocd.retry.backoff
    return (
        "  syncPolicy:\n"
        "    automated:\n"
        "      prune: true\n"
        "      selfHeal: true\n"
        f"    syncOptions:\n{options}"
        "    retry:\n"
        f"      limit: {argocd.retry.limit}\n"
        "      backoff:\n"
        f"        duration: {format_duration(backoff.duration)}\n"
        f"        factor: {backoff.factor}\n"
        f"        maxDuration: {format_duration(backoff.max_duration)}\n"
    )


def _fixed(text: str) -> str:
    """Return a scalar as it stands in a template, which is filled by `%`."""
    return scalar(text).replace("%", "%%")
