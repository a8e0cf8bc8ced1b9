"""Renderer v1. Its bytes are frozen: what one release of shopset wrote, every later one writes the same."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from shopset.api import Cluster, Platform, ShopSet, Tier, format_duration, repository_folder
from shopset.api.platforms import ArgoCd
from shopset.core.fleets import Fleet
from shopset.core.rendering._scalars import scalar

_HEADER: Final = "# Written by shopset (renderer v1). Change the fleet or the base instead.\n"


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
        return _overlay(tier.metadata.name, path, tuple(components)).fill(fleet, shopset.metadata.name)

    def application(self, fleet: Fleet, tier: Tier, shopset: ShopSet) -> bytes:
        """Return the Argo CD Application of one ShopSet."""
        cluster = fleet.clusters[shopset.spec.cluster]
        return _application(_Same(fleet.platform), _Same(tier), _Same(cluster)).fill(fleet, shopset.metadata.name)


class _Template(NamedTuple):
    """Text in which everything is filled in but what belongs to one ShopSet: its name is all that differs."""

    text: str

    def fill(self, fleet: Fleet, name: str) -> bytes:
        text = self.text.replace("\0path", name).replace("\0namespace", scalar(fleet.namespace(name)))
        return text.replace("\0application", scalar(fleet.application(name))).replace("\0name", scalar(name)).encode()


class _Same:
    """An immutable resource as a key of a cache: by identity, which costs the same however large it is."""

    __slots__ = ("resource",)

    def __init__(self, resource: Platform | Tier | Cluster) -> None:
        self.resource = resource

    def __hash__(self) -> int:
        return id(self.resource)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.resource is other.resource


@lru_cache(maxsize=4096)
def _overlay(tier: str, path: str, components: tuple[str, ...]) -> _Template:
    resources = "".join(f"- {scalar(f'../../base/{name}'.rstrip('/'))}\n" for name in components)
    return _Template(
        f"{_HEADER}"
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        "namespace: \0namespace\n"
        f"resources:\n{resources}"
        f"components:\n- {scalar(f'../../configuration/{path}')}\n"
        "labels:\n"
        "- pairs:\n"
        f"{_labels(tier, '    ')}"
        "  includeSelectors: false\n"
    )


@lru_cache(maxsize=4096)
def _application(platform_key: _Same, tier_key: _Same, cluster_key: _Same) -> _Template:
    platform, tier, cluster = platform_key.resource, tier_key.resource, cluster_key.resource
    if not (isinstance(platform, Platform) and isinstance(tier, Tier) and isinstance(cluster, Cluster)):
        raise TypeError(platform, tier, cluster)
    argocd = platform.spec.delivery.argocd or ArgoCd()
    destination = "".join(f"    {key}: {scalar(value)}\n" for key, value in cluster.destination.items())
    return _Template(
        f"{_HEADER}"
        "apiVersion: argoproj.io/v1alpha1\n"
        "kind: Application\n"
        "metadata:\n"
        f"  name: \0application\n"
        f"  namespace: {scalar(argocd.namespace)}\n"
        "  labels:\n"
        f"{_labels(tier.metadata.name, '    ')}"
        "  annotations:\n"
        "    argocd.argoproj.io/manifest-generate-paths: /overlays/\0path;/base;/configuration\n"
        "  finalizers:\n"
        "  - resources-finalizer.argocd.argoproj.io\n"
        "spec:\n"
        f"  project: {scalar(argocd.project)}\n"
        "  source:\n"
        f"    repoURL: {scalar(platform.spec.repositories.system)}\n"
        f"    targetRevision: tier-{tier.spec.level}\n"
        "    path: overlays/\0path\n"
        "  destination:\n"
        f"{destination}"
        "    namespace: \0namespace\n"
        f"{_sync_policy(argocd)}"
    )


def _labels(tier: str, indent: str) -> str:
    pairs = ("app.kubernetes.io/part-of: shopset", "shopset.dev/shopset: \0name", f"shopset.dev/tier: {scalar(tier)}")
    return "".join(f"{indent}{pair}\n" for pair in pairs)


def _sync_policy(argocd: ArgoCd) -> str:
    options = "".join(f"    - {scalar(option)}\n" for option in ("CreateNamespace=true", *argocd.sync_options))
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
