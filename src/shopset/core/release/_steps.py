"""The steps of one planning round: each looks at one thing and yields the actions that it calls for."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from shopset.api import Tier
from shopset.core.release._commits import ledger_commit, pin_write, tier_commit, trailers
from shopset.core.release._context import Context
from shopset.core.release.actions import (
    SHOPSET,
    ActionKind,
    AnyAction,
    ApplyApplication,
    DeleteApplication,
    Identity,
    OnApplication,
    PushCommits,
    PushRefs,
    RefreshApplication,
    RefUpdate,
    SyncApplication,
)
from shopset.core.release.candidates import Candidate, approvals_for
from shopset.core.release.entry import standing_checks
from shopset.core.release.ledgers import TIERS_PATH, dump_levels
from shopset.core.release.observed import ComponentsOf, ObservedApplication, Repository, SubjectOf
from shopset.core.release.plans import Check, Condition, Phase
from shopset.core.release.preflight import check_change
from shopset.core.release.revisions import SHORT, Revision, blob_id
from shopset.core.release.sources import SOURCES, commit_of, fast_forwards, repository_name
from shopset.core.release.trees import Delta, application_path, overlay_path, tier_delta

_OnApplication = TypeVar("_OnApplication", bound=OnApplication)
_PATIENCE: Final = timedelta(seconds=15)
"""How long what Argo CD was asked for may take, at most, until it is asked again."""
_PREPARED_DESPITE = {"NotHeld", "NotFrozen", "Settled"}
"""Rules that keep a revision out of a tier for a time, but not its branches from being fast-forwarded."""


def record_tiers(context: Context) -> Iterator[AnyAction]:
    """The ledger names the tiers and their levels, so that it can be read, and checked, without the fleet."""
    levels = {tier.name: tier.spec.level for tier in context.fleet.tiers}
    seen = context.observed.repositories[Repository.SYSTEM].trouble is None
    if not seen or levels == dict(context.observed.ledger.levels):
        return
    subject = f"record the tiers: {', '.join(levels)}"
    yield PushCommits(
        kind=ActionKind.RECORD_TIERS,
        what=f"record the tiers in the ledger: {', '.join(f'{name} {level}' for name, level in levels.items())}",
        why=("the ledger's tiers.yaml differs from the fleet",),
        at=context.now,
        commits=(ledger_commit(context, subject, {TIERS_PATH: dump_levels(levels)}),),
    )


def fast_forward(context: Context, tier: Tier, candidate: Candidate, checks: Sequence[Check]) -> Iterator[AnyAction]:
    """Bring the tier's source branches to the same commits that the lower tier verified."""
    if candidate.adopted or context.fleet.lower(tier.name) is None:
        return
    if not all(check.passed for check in checks if check.rule not in _PREPARED_DESPITE):
        return
    for repository, update in sorted(fast_forwards(context, tier, candidate.revision).items()):
        name = repository_name(context, repository)
        was = f"from {update.expected[:SHORT]}" if update.expected else "(new)"
        yield PushRefs(
            kind=ActionKind.FAST_FORWARD,
            tier=tier.name,
            what=f"fast-forward {name}@{context.fleet.branch(tier.name)} {was} to {update.commit[:SHORT]}",
            why=_reasons(checks, "VerifiedBelow"),
            at=context.now,
            repository=repository,
            updates=(update,),
        )


def tag(context: Context, tier: Tier, revision: Revision) -> Iterator[AnyAction]:
    """Keep a commit alive before it is pinned: a rewritten branch must not let the server collect what runs."""
    for repository in SOURCES:
        commit, tags = commit_of(revision, repository), context.observed.repositories[repository].tags
        names = [f"shopset/{revision.id[:length]}" for length in (SHORT, 12, 40)]
        if any(tags.get(name) == commit for name in names):
            continue
        name = next(name for name in names if name not in tags)
        yield PushRefs(
            kind=ActionKind.TAG,
            tier=tier.name,
            what=f"tag {commit[:SHORT]} as {name} in {repository_name(context, repository)}",
            why=("what is pinned must stay even if a branch is rewritten",),
            at=context.now,
            repository=repository,
            updates=(RefUpdate(f"refs/tags/{name}", commit, None),),
        )


def pin(context: Context, tier: Tier, candidate: Candidate, checks: Sequence[Check]) -> Iterator[AnyAction]:
    """Pin the candidate: the tier's commit and the ledger's record in one atomic push."""
    revision, before = candidate.revision, context.pinned(tier)
    components = context.ask(ComponentsOf(revision.apps))
    if components is None:
        return
    delta = tier_delta(context, tier, revision, components.names, context.residents[tier.name])
    rules = ("VerifiedBelow", "Approved") if tier.spec.promotion.approvals_needed else ("VerifiedBelow",)
    reason = "; ".join(_reasons(checks, *rules))
    author = _asked_by(context, tier, revision)
    what = _described(context, revision, before)
    subject = f"{tier.name} takes {revision.short}" + (f": {what}" if what else "")
    writes = pin_write(
        context,
        tier,
        revision,
        "Adoption" if candidate.adopted else "Promotion",
        str(author),
        reason,
        candidate.skipped,
    )
    informed = trailers(tier, revision, reason)
    tier_commits = (tier_commit(context, tier, delta, subject, informed),) if delta else ()
    yield PushCommits(
        kind=ActionKind.PIN,
        tier=tier.name,
        what=f"{tier.name} takes {revision.short}" + (f" (was {before.short})" if before else " (its first)"),
        why=_reasons(checks, *rules, "Builds"),
        author=author,
        at=context.now,
        commits=(*tier_commits, ledger_commit(context, subject, writes, trailers=informed)),
    )


def render(context: Context, tiers: Sequence[Tier]) -> Iterator[AnyAction]:
    """Bring the trees to what the fleet says, at the revisions that they have. A ShopSet that moves leaves and arrives in one push."""
    open_tiers = {tier.name: tier for tier in tiers if context.pinned(tier) and _may_change(context, tier)}
    residents = {name: set(context.residents[name]) for name in open_tiers}
    groups = {name: {name} for name in open_tiers}
    for name, home, wanted in context.moves:
        if wanted in open_tiers and home in open_tiers:
            residents[home].discard(name)
            residents[wanted].add(name)
            joined = groups[home] | groups[wanted]
            groups.update(dict.fromkeys(joined, joined))
    for group in sorted({tuple(sorted(group)) for group in groups.values()}):
        members = sorted((open_tiers[name] for name in group), key=lambda tier: tier.spec.level)
        yield from _render_together(context, members, residents)


def _render_together(context: Context, tiers: Sequence[Tier], residents: Mapping[str, set[str]]) -> Iterator[AnyAction]:
    commits = []
    for tier in tiers:
        revision, names = context.pinned(tier), sorted(residents[tier.name])
        components = context.ask(ComponentsOf(revision.apps)) if revision else None
        if revision is None or components is None:
            return
        delta = tier_delta(context, tier, revision, components.names, names)
        added = [name for name in names if overlay_path(name) in delta.writes]
        check = check_change(context, tier, revision, names, added)
        if not check.passed:
            if check.passed is False:
                context.report(Condition(f"Tier/{tier.name}", "Rendered", "RenderRefused", check.detail))
            return
        if delta:
            subject = f"{tier.name} follows the fleet: {_changed(delta)}"
            commits.append(tier_commit(context, tier, delta, subject, trailers(tier, revision, "the fleet changed")))
    if commits:
        names_of = ", ".join(tier.name for tier in tiers)
        yield PushCommits(
            kind=ActionKind.RENDER,
            tier=tiers[0].name,
            what="; ".join(commit.subject for commit in commits),
            why=(f"the fleet says so; {names_of} keeps the revision it has",),
            at=context.now,
            commits=tuple(commits),
        )


def deliver(context: Context, tier: Tier) -> Iterator[AnyAction]:
    """Apply the Application of each ShopSet whose applied one is not the file in the tier's branch."""
    head, revision = context.head(tier), context.pinned(tier)
    if head is None or revision is None or revision.renderer not in context.renderers.versions:
        return
    for name in context.residents[tier.name]:
        blob, found = head.files.get(application_path(name)), context.observed.applications.get(name)
        cluster = context.fleet.shopsets[name].spec.cluster
        if blob is None or cluster in context.observed.deliveries or _is_lost(context, cluster):
            continue
        if found is not None and found.deleting:
            continue
        if found is not None and found.cluster != cluster:
            yield _delete(context, found, f"{name} moves to cluster {cluster}")
        elif (found is None or found.manifest != blob) and _is_current(context, tier, revision, name, blob):
            yield ApplyApplication(
                kind=ActionKind.APPLY,
                tier=tier.name,
                what=f"apply the Application of {name} on cluster {cluster}",
                why=("there is none yet" if found is None else "what was applied differs from the tier's branch",),
                at=context.now,
                shopset=name,
                cluster=cluster,
                application=context.fleet.application(name),
                branch=context.fleet.branch(tier.name),
                blob=blob,
            )


def prune(context: Context) -> Iterator[AnyAction]:
    """Delete the Applications of ShopSets that neither the fleet nor a tier's branch has any more."""
    applications = context.observed.applications
    for name in sorted(
        applications.keys() - context.fleet.shopsets.keys() - context.rendered - context.observed.serving.keys()
    ):
        if not applications[name].deleting:
            yield _delete(context, applications[name], f"the fleet has no ShopSet {name} any more")


def nudge(context: Context, tier: Tier, phase: Phase, *, pinning: bool) -> Iterator[AnyAction]:
    """Ask Argo CD to look at what it has not seen yet, and to sync once more what failed for good before the pin.

    Nobody has seen what is pinned by the same plan: it is asked for right after the push, which saves another round.
    """
    head, pin = context.head(tier), context.observed.ledger.pinned(tier.name)
    if head is None or pin is None:
        return
    for name in context.residents[tier.name]:
        found = context.observed.applications.get(name)
        if found is None or found.deleting or found.operating or found.looked_at is None or name not in head.overlays:
            continue
        if pinning:
            yield _refresh(context, tier, found)
        elif not found.is_at(head):
            if _is_due(context, found, pin.at):
                yield _refresh(context, tier, found)
        elif found.sync_error and _may_sync_again(context, found, pin.at, phase):
            why = f"its last sync failed for good: {found.sync_error}"
            yield _on(SyncApplication, ActionKind.SYNC, context, found, f"sync {name} once more", why, tier.name)


def _refresh(context: Context, tier: Tier, found: ObservedApplication) -> RefreshApplication:
    what = f"ask Argo CD to look at {found.shopset}"
    why = f"it has not seen what {context.fleet.branch(tier.name)} holds for it, and polls only now and then"
    return _on(RefreshApplication, ActionKind.REFRESH, context, found, what, why, tier.name)


def _is_due(context: Context, found: ObservedApplication, pinned_at: datetime) -> bool:
    """Whether Argo CD is to be asked: at once where it last looked before the pin, and then in pauses that double.

    It may have looked after the plan was made and still before the push, and it forgets a request that comes while it is
    at the one before (argo-cd#28392).
    """
    if found.refreshing or found.looked_at is None:
        return False
    pause = min(found.looked_at - pinned_at, _PATIENCE)
    return context.now >= context.wake(found.looked_at + pause)


def _may_sync_again(context: Context, found: ObservedApplication, pinned_at: datetime, phase: Phase) -> bool:
    """A failure since the pin is for the verdict to judge; later, from before the pin, or inconclusive, it is to be mended."""
    if found.inconclusive or found.synced_at is None or found.synced_at < pinned_at:
        return True
    return phase is Phase.VERIFIED and context.now >= context.wake(found.synced_at + _PATIENCE)


def _delete(context: Context, found: ObservedApplication, why: str) -> DeleteApplication:
    what = f"delete the Application of {found.shopset} on cluster {found.cluster}"
    return _on(DeleteApplication, ActionKind.DELETE, context, found, what, why)


def _on(
    action: type[_OnApplication],
    kind: ActionKind,
    context: Context,
    found: ObservedApplication,
    what: str,
    why: str,
    tier: str | None = None,
) -> _OnApplication:
    """Return an action on an Application that was seen."""
    return action(
        kind=kind,
        tier=tier,
        what=what,
        why=(why,),
        at=context.now,
        shopset=found.shopset,
        cluster=found.cluster,
        application=found.name,
    )


def _is_lost(context: Context, cluster: str) -> bool:
    record = context.observed.ledger.clusters.get(cluster)
    return record is not None and record.state == "Lost"


def _is_current(context: Context, tier: Tier, revision: Revision, name: str, blob: str) -> bool:
    # A branch that is held may be behind the fleet: then what it says of the cluster must not be applied elsewhere.
    renderer = context.renderers.versions[revision.renderer]
    return blob_id(renderer.application(context.fleet, tier, context.fleet.shopsets[name])) == blob


def _may_change(context: Context, tier: Tier) -> bool:
    lowest = context.fleet.lower(tier.name) is None
    return lowest or all(check.passed for check in standing_checks(context, tier))


def _asked_by(context: Context, tier: Tier, revision: Revision) -> Identity:
    given = approvals_for(context, tier, revision)
    return Identity.parse(given[-1].by) if given else SHOPSET


def _described(context: Context, revision: Revision, before: Revision | None) -> str:
    """Say what a revision changes, by the subject of the commit that is new in it."""
    if before is not None and before.apps == revision.apps and before.configuration != revision.configuration:
        return context.ask(SubjectOf(Repository.CONFIGURATION, revision.configuration)) or ""
    return context.ask(SubjectOf(Repository.APPS, revision.apps)) or ""


def _reasons(checks: Sequence[Check], *rules: str) -> tuple[str, ...]:
    return tuple(check.detail for rule in rules for check in checks if check.rule == rule)


def _changed(delta: Delta) -> str:
    written = sorted({path.split("/")[1].removesuffix(".yaml") for path in delta.writes if "/" in path})
    removed = sorted({path.split("/")[1].removesuffix(".yaml") for path in delta.deletes if "/" in path} - set(written))
    parts = [f"{verb} {_some(names)}" for verb, names in (("write", written), ("remove", removed)) if names]
    return ", ".join(parts) or "its files change"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
