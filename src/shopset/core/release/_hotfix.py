"""A hotfix: a merge at the lowest tier whose tree is the fix's, so that every tier can fast-forward to it."""

from collections.abc import Iterator, Mapping

from shopset.api import Tier
from shopset.core.release._context import Context
from shopset.core.release.actions import ActionKind, AnyAction, Identity, PushMerge, PushRefs, RefUpdate
from shopset.core.release.observed import IsAncestor, Repository, SameTree
from shopset.core.release.refusals import RequestRefusedError
from shopset.core.release.revisions import SHORT
from shopset.core.release.sources import commit_of, repository_name, source_heads


def hotfix(
    context: Context,
    tier: Tier,
    fixes: Mapping[Repository, str | None],
    reason: str,
    author: Identity,
    *,
    discard: bool,
) -> Iterator[AnyAction]:
    """Yield what brings the fixes to the lowest tier's branches; nothing where they are there already.

    With `discard` the lowest tier keeps its content, and the merge only lets the tier's diverged branch go on.
    """
    for repository, fix in fixes.items():
        if fix is not None:
            yield from _bring(context, tier, repository, fix, reason, author, discard=discard)


def _bring(
    context: Context, tier: Tier, repository: Repository, fix: str, reason: str, author: Identity, *, discard: bool
) -> Iterator[AnyAction]:
    lowest = context.fleet.tiers[0]
    head, branch = source_heads(context, lowest).of(repository), context.fleet.branch(lowest.name)
    name = repository_name(context, repository)
    if head is None:
        raise RequestRefusedError(f"{name} has no branch {branch}: push it before a fix can be merged into it")
    if not discard and not _based_on_pin(context, tier, repository, fix):
        return
    if _is_there(context, repository, fix, head, discard=discard):
        return
    forward = context.ask(IsAncestor(repository, head, fix))
    if forward is None:
        return
    if forward:
        yield _fast_forward(context, tier, repository, RefUpdate(f"refs/heads/{branch}", fix, head), reason, author)
    else:
        yield _merge(context, tier, repository, fix, head, reason, author, discard=discard)


def _based_on_pin(context: Context, tier: Tier, repository: Repository, fix: str) -> bool:
    pinned = context.pinned(tier)
    base = commit_of(pinned, repository) if pinned else fix
    answer = True if base == fix else context.ask(IsAncestor(repository, base, fix))
    if answer is False:
        message = (
            f"{fix[:SHORT]} in {repository_name(context, repository)} is not based on {base[:SHORT]}, which {tier.name} runs: "
            f"git rebase it onto {base[:SHORT]}, or give --discard to drop it"
        )
        raise RequestRefusedError(message)
    return bool(answer)


def _is_there(context: Context, repository: Repository, fix: str, head: str, *, discard: bool) -> bool:
    if fix == head:
        return True
    contained = context.ask(IsAncestor(repository, fix, head))
    if contained and discard:
        return True
    same = context.ask(SameTree(repository, fix, head)) if contained else False
    # Unknown counts as there: the questions are answered before anything is done.
    return contained is None or same is None or same


def _fast_forward(
    context: Context, tier: Tier, repository: Repository, update: RefUpdate, reason: str, author: Identity
) -> AnyAction:
    target = f"{repository_name(context, repository)}@{context.fleet.branch(context.fleet.tiers[0].name)}"
    return PushRefs(
        kind=ActionKind.HOTFIX,
        tier=tier.name,
        what=f"push the fix {update.commit[:SHORT]} to {target}",
        why=(f"{author.name} asked for a hotfix of {tier.name}: {reason}", "the lowest tier has no pending work"),
        author=author,
        at=context.now,
        repository=repository,
        updates=(update,),
    )


def _merge(
    context: Context,
    tier: Tier,
    repository: Repository,
    fix: str,
    head: str,
    reason: str,
    author: Identity,
    *,
    discard: bool,
) -> AnyAction:
    branch = context.fleet.branch(context.fleet.tiers[0].name)
    name, kept = repository_name(context, repository), head if discard else fix
    return PushMerge(
        kind=ActionKind.HOTFIX,
        tier=tier.name,
        what=f"merge {fix[:SHORT]} into {name}@{branch}, with the content of {kept[:SHORT]}",
        why=(f"{author.name} asked for a hotfix of {tier.name}: {reason}", "a merge lets every tier fast-forward"),
        author=author,
        at=context.now,
        repository=repository,
        branch=branch,
        parents=(head, fix),
        tree_of=kept,
        subject=f"hotfix for {tier.name}: {' '.join(reason.split())}",
        pending=None if discard else f"shopset/pending-{head[:SHORT]}",
    )
