"""A tier's tree: what it should hold, and how that differs from what it holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shopset.api import Tier
from shopset.core.release._context import Context
from shopset.core.release.observed import ObservedTier
from shopset.core.release.revisions import REVISION_PATH, Revision, blob_id


@dataclass(frozen=True)
class Delta:
    """The files and gitlinks by which a tree changes."""

    writes: Mapping[str, bytes] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    gitlinks: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.writes or self.deletes or self.gitlinks)


def overlay_path(shopset: str) -> str:
    """Return the path of a ShopSet's overlay."""
    return f"overlays/{shopset}/kustomization.yaml"


def application_path(shopset: str) -> str:
    """Return the path of a ShopSet's Application."""
    return f"applications/{shopset}.yaml"


def manifests_of(files: Mapping[str, str]) -> dict[str, str]:
    """Return ShopSet -> blob id of its Application, from the files of a tier's tree."""
    names = ((path.removeprefix("applications/"), blob) for path, blob in files.items())
    return {name.removesuffix(".yaml"): blob for name, blob in names if "/" not in name and name.endswith(".yaml")}


def tier_delta(
    context: Context, tier: Tier, revision: Revision, components: Sequence[str], shopsets: Iterable[str]
) -> Delta:
    """Return how the tier's tree changes when it holds `revision` for exactly these ShopSets.

    The ShopSets must be the fleet's; one that the fleet has no more stays as it is while it serves shops. Raises KeyError for a
    renderer that this release does not carry.
    """
    head = context.head(tier) or ObservedTier(head="", revision=None)
    renderer, fleet = context.renderers.versions[revision.renderer], context.fleet
    writes: dict[str, bytes] = {}
    kept = {REVISION_PATH}

    def want(path: str, content: bytes) -> None:
        kept.add(path)
        if head.files.get(path) != blob_id(content):
            writes[path] = content

    want(REVISION_PATH, revision.text)
    for path, content in renderer.tier_files(fleet.platform, tier).items():
        want(path, content)
    for name in shopsets:
        want(overlay_path(name), renderer.overlay(fleet, tier, fleet.shopsets[name], components))
        want(application_path(name), renderer.application(fleet, tier, fleet.shopsets[name]))
    kept.update(path for name in context.observed.serving for path in (overlay_path(name), application_path(name)))
    deletes = tuple(sorted(head.files.keys() - kept))
    links = {"base": revision.apps, "configuration": revision.configuration}
    return Delta(writes, deletes, {} if head.gitlinks == links else links)
