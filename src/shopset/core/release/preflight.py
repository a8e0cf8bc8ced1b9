"""Building before the pin: what would break in production breaks here, before anything is written."""

from collections.abc import Mapping, Sequence

from shopset.api import Tier
from shopset.core.manifests import Build
from shopset.core.release._context import Context
from shopset.core.release.observed import BuildOf, ComponentsOf
from shopset.core.release.plans import Check, Condition
from shopset.core.release.revisions import Revision
from shopset.core.vetting import vet


def check_builds(context: Context, tier: Tier, revision: Revision) -> Check:
    """Build and vet a candidate: at the lowest tier for the ShopSets of every tier, else for the tier's own."""
    tiers = context.fleet.tiers if context.fleet.lower(tier.name) is None else (tier,)
    names = [name for each in tiers for name in context.residents[each.name]]
    return _check(context, tier, revision, names, names)


def check_change(context: Context, tier: Tier, revision: Revision, names: Sequence[str], added: Sequence[str]) -> Check:
    """Build and vet what a change of the fleet brings to a tier, together with all that shares a cluster with it."""
    if not added:
        return Check("Builds", True, "no overlay is new")
    clusters = {context.fleet.shopsets[name].spec.cluster for name in added}
    beside = [
        name for name, found in context.fleet.shopsets.items() if found.spec.cluster in clusters and name not in names
    ]
    return _check(context, tier, revision, names, [*names, *beside])


def _check(context: Context, tier: Tier, revision: Revision, own: Sequence[str], names: Sequence[str]) -> Check:
    """Judge the builds of `names`. That one of them does not build counts only if it is of `own`."""
    components = context.ask(ComponentsOf(revision.apps))
    if components is None:
        return Check("Builds", None, f"the base of {revision.short} is being read")
    if components.problem:
        return Check("Builds", False, components.problem)
    if revision.renderer not in context.renderers.versions:
        return Check("Builds", None, f"renderer {revision.renderer} is not part of this release of shopset")
    builds = builds_of(context, names, revision, components.names)
    ready = {name: build for name, build in builds.items() if build is not None}
    for name, build in ready.items():
        if build.transient:
            return Check("Builds", None, f"{name} could not be built at {revision.short} here: {build.problem}")
    if len(ready) < len(builds):
        return Check("Builds", None, f"{len(builds) - len(ready)} ShopSets are still to be built at {revision.short}")
    mine = set(own)
    return _judge(
        context, tier, revision, {name: build for name, build in ready.items() if name in mine or not build.problem}
    )


def builds_of(
    context: Context, names: Sequence[str], revision: Revision, components: Sequence[str]
) -> dict[str, Build | None]:
    """Return ShopSet -> its build at the revision (None: not built yet).

    ShopSets of one Configuration differ in their namespace and labels only, so one of them is built for all.
    """
    renderer = context.renderers.versions[revision.renderer]
    paths = {name: _path_of(context, name) for name in names}
    shared: dict[str, Build | None] = {}
    for path in sorted(set(paths.values())):
        # The fleet's first ShopSet of that Configuration: every tier then asks for the same build.
        first = next(found for name, found in context.fleet.shopsets.items() if _path_of(context, name) == path)
        overlay = renderer.overlay(context.fleet, context.fleet.tier(first.spec.tier), first, components)
        shared[path] = context.ask(BuildOf(revision.apps, revision.configuration, overlay))
    return {name: shared[path] for name, path in paths.items()}


def _path_of(context: Context, shopset: str) -> str:
    return context.fleet.configurations[context.fleet.shopsets[shopset].spec.configuration].spec.path


def _judge(context: Context, tier: Tier, revision: Revision, builds: Mapping[str, Build]) -> Check:
    clusters = {name: context.fleet.shopsets[name].spec.cluster for name in builds}
    vetting = vet(builds, clusters, context.fleet.platform.spec.images.policy)
    for warning in vetting.warnings:
        context.report(Condition(f"Tier/{tier.name}", "Builds", "Warned", f"{revision.short}: {warning}", "Warning"))
    if vetting.problems:
        detail = f"{revision.short} was refused: " + "; ".join(vetting.problems)
        return Check("Builds", False, detail, "mend it in a new commit and push that")
    return Check("Builds", True, f"{revision.short} builds for {len(builds)} ShopSets")
