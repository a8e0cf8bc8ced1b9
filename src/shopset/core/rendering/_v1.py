"""Renderer v1. Its bytes are frozen: what one release of shopset wrote, every later one writes the same."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from shopset.api import Cluster, Platform, ShopSet, Tier, format_duration, repository_folder
from shopset.api.platforms import ArgoCd
from shopset.core.fleets import Fleet
from shopset.core.rendering._scalars import scalar

_HEADER: Final = "# Written by shopset (renderer v1). Change the fleet or the base instead.\n"
_KEPT: Final = 1 << 17
"""Rendered files that are kept: a plan renders the whole fleet, and the next one the same again."""
_TEMPLATES_KEPT: Final = 4096


class RendererV1:
    """The first renderer."""

    def __init__(self) -> None:
        # By identity, because comparing large models costs more than rendering; the models are kept, so ids stay theirs.
        self._templates: dict[tuple[int, int, int], tuple[Platform, Tier, Cluster, _Template]] = {}

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
        prefix = fleet.platform.spec.prefixes.namespace
        return _overlay(tier.metadata.name, path, tuple(components), prefix, shopset.metadata.name)

    def application(self, fleet: Fleet, tier: Tier, shopset: ShopSet) -> bytes:
        """Return the Argo CD Application of one ShopSet."""
        template = self._template(fleet.platform, tier, fleet.clusters[shopset.spec.cluster])
        return _application(template, shopset.metadata.name)

    def _template(self, platform: Platform, tier: Tier, cluster: Cluster) -> "_Template":
        key = (id(platform), id(tier), id(cluster))
        if key not in self._templates:
            if len(self._templates) >= _TEMPLATES_KEPT:
                self._templates.clear()
            text = _application_template(platform, tier, cluster)
            template = _Template(text, platform.spec.prefixes.namespace, platform.application_prefix)
            self._templates[key] = (platform, tier, cluster, template)
        return self._templates[key][3]


class _Template(NamedTuple):
    """What an Application consists of besides its ShopSet's name."""

    text: str
    namespace_prefix: str
    application_prefix: str


# The keys are strings that live as long as the fleet: hashing a new one for each ShopSet would cost as much as rendering.


@lru_cache(maxsize=_KEPT)
def _overlay(tier: str, path: str, components: tuple[str, ...], prefix: str, name: str) -> bytes:
    filled = {"namespace": scalar(f"{prefix}{name}"), "name": scalar(name)}
    return (_overlay_template(tier, path, components) % filled).encode()


@lru_cache(maxsize=_KEPT)
def _application(template: _Template, name: str) -> bytes:
    filled = {
        "namespace": scalar(f"{template.namespace_prefix}{name}"),
        "application": scalar(f"{template.application_prefix}{name}"),
        "name": scalar(name),
        "path": name,
    }
    return (template.text % filled).encode()


@lru_cache(maxsize=_TEMPLATES_KEPT)
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


def _application_template(platform: Platform, tier: Tier, cluster: Cluster) -> str:
    argocd = platform.spec.delivery.argocd or ArgoCd()
    destination = "".join(f"    {key}: {_fixed(value)}\n" for key, value in platform.destination(cluster).items())
    return (
        f"{_HEADER}"
        "apiVersion: argoproj.io/v1alpha1\n"
        "kind: Application\n"
        "metadata:\n"
        "  name: %(application)s\n"
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
