"""Rules for the branches of the tiers: what may stand in a tree, and how it may change."""

import re
from collections.abc import Iterator

from model.documents import parse
from model.repositories import Commit
from model.scenes import LEDGER, Revision, Scene
from model.verdicts import Rule, Violation

_PATHS = re.compile(
    r"\.gitmodules|base|configuration|revision\.yaml|overlays/([a-z0-9-]+)/kustomization\.yaml|applications/([a-z0-9-]+)\.yaml"
)


def check_tier_commit(scene: Scene, tier: str, commit: Commit) -> Iterator[Violation]:
    """Judge one commit of a tier's branch against the one before it."""
    where = f"{tier} {commit.id[:10]}"
    files = scene.system.files(commit.tree)
    if len(commit.parents) > 1:
        yield Violation(Rule.LINEAR, where, "is a merge")
    for path in files:
        if not _PATHS.fullmatch(path):
            yield Violation(Rule.PATHS, where, path)
    revision = scene.revision(commit.id)
    links = scene.gitlinks(commit.id)
    if revision is None or links != {"base": revision.apps, "configuration": revision.configuration}:
        yield Violation(Rule.REVISION_FILE, where, f"revision.yaml {revision}, gitlinks {links}")
        return
    yield from _check_modules(scene, where, commit)
    if revision.renderer not in scene.renderers:
        yield Violation(Rule.RENDERER, where, f"renderer {revision.renderer}")
    if not all(scene.stores[name].has(source) for name, source in _sources(revision)):
        yield Violation(Rule.KEPT_ALIVE, where, "a pinned commit does not exist")
        return
    yield from _check_overlays(scene, tier, where, commit, scene.components(revision.apps))
    yield from _check_applications(scene, tier, where, commit)


def check_tiers(scene: Scene) -> Iterator[Violation]:
    """Judge the heads of all tiers, and the ledger with them."""
    homes: dict[str, str] = {}
    ledger = scene.current_ledger()
    for tier in scene.wish.tiers:
        head = scene.tier_head(tier)
        revision = scene.revision(head) if head else None
        if (revision.id if revision else None) != ledger.newest(tier):
            detail = (
                f"the branch has {revision.id if revision else None}, the ledger's newest pin is {ledger.newest(tier)}"
            )
            yield Violation(Rule.PIN_WITH_RECORD, tier, detail)
        for name in scene.overlays(head) if head else ():
            if homes.setdefault(name, tier) != tier:
                yield Violation(Rule.ONE_TIER, name, f"is in the trees of {homes[name]} and {tier}")
        for name, commit in _sources(revision) if revision else ():
            yield from _check_kept(scene, tier, name, commit)


def _sources(revision: Revision) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("apps", revision.apps), ("configuration", revision.configuration)


def _check_kept(scene: Scene, tier: str, repository: str, commit: str) -> Iterator[Violation]:
    tags = {target for ref, target in scene.refs[repository].items() if ref.startswith("refs/tags/shopset/")}
    if not scene.stores[repository].has(commit):
        yield Violation(Rule.KEPT_ALIVE, tier, f"{repository} has no commit {commit}")
    elif commit not in tags:
        yield Violation(Rule.KEPT_ALIVE, tier, f"no tag shopset/* of {repository} is at {commit}")


def _check_modules(scene: Scene, where: str, commit: Commit) -> Iterator[Violation]:
    entry = scene.system.files(commit.tree).get(".gitmodules")
    urls = re.findall(r"url = (\S+)", scene.system.blob(entry.id).decode()) if entry else []
    if sorted(urls) != ["../shopset-apps.git", "../shopset-configuration.git"]:
        yield Violation(Rule.REVISION_FILE, where, f".gitmodules has the URLs {urls}")


def _check_overlays(
    scene: Scene, tier: str, where: str, commit: Commit, components: tuple[str, ...]
) -> Iterator[Violation]:
    now, before = scene.overlays(commit.id), scene.overlays(commit.parents[0]) if commit.parents else {}
    for name, tree in now.items():
        content = _overlay(scene, tree)
        if parse(content).get("resources") != [f"../../base/{each}" if each else "../../base" for each in components]:
            detail = f"the overlay of {name} has not the components of this revision's base"
            yield Violation(Rule.ONE_REVISION, where, detail)
        if before.get(name) != tree and content not in _wanted(scene, tier, name, components, moves=name in before):
            yield Violation(Rule.FLEET, where, f"the overlay of {name} is not what the fleet says")
    for name in before.keys() - now.keys():
        if all(name in wish.shopsets and wish.shopsets[name].tier == tier for wish in scene.wishes):
            yield Violation(Rule.FLEET, where, f"the overlay of {name} went, though the fleet has it on {tier}")


def _overlay(scene: Scene, tree: str) -> bytes:
    entry = scene.system.tree(tree).get("kustomization.yaml")
    return scene.system.blob(entry.id) if entry else b"{}"


def _wanted(scene: Scene, tier: str, name: str, components: tuple[str, ...], *, moves: bool) -> list[bytes]:
    """Return what the overlay may be, by any fleet in use. One that moves away stays in the tree for a while."""
    wishes = [wish for wish in scene.wishes if name in wish.shopsets and (moves or wish.shopsets[name].tier == tier)]
    return [wish.overlay(tier, name, components) for wish in wishes]


def _check_applications(scene: Scene, tier: str, where: str, commit: Commit) -> Iterator[Violation]:
    files = scene.system.files(commit.tree)
    names = {path.split("/")[1].removesuffix(".yaml") for path in files if path.startswith("applications/")}
    if names != scene.overlays(commit.id).keys():
        yield Violation(
            Rule.ONE_REVISION,
            where,
            f"Applications {sorted(names)} and overlays {sorted(scene.overlays(commit.id))} differ",
        )
    for name in names:
        application = parse(scene.system.blob(files[f"applications/{name}.yaml"].id))
        source = application["spec"]["source"]
        found = application["metadata"]["name"], source["targetRevision"], source["path"]
        wanted = f"{scene.wish.platform}-{name}", f"tier-{scene.wish.tiers[tier].level}", f"overlays/{name}"
        if found != wanted:
            yield Violation(Rule.FLEET, where, f"the Application of {name} is {found}, not {wanted}")


def check_pairing(scene: Scene, tier: str, old: str | None, pushed: frozenset[str]) -> Iterator[Violation]:
    """Judge that a tier whose revision changed by this push got its record by the same push."""
    head = scene.tier_head(tier)
    before, after = (scene.revision(commit) if commit else None for commit in (old, head))
    if after is not None and (before is None or before.id != after.id) and LEDGER not in pushed:
        yield Violation(Rule.PIN_WITH_RECORD, tier, f"{after.id} was pushed without a record")
