"""The source branches of a tier, judged against what is pinned there and what it is to take."""

from collections.abc import Iterator
from dataclasses import dataclass

from shopset.api import Tier
from shopset.core.release._context import Context
from shopset.core.release.actions import RefUpdate
from shopset.core.release.observed import IsAncestor, Repository
from shopset.core.release.plans import Check
from shopset.core.release.revisions import SHORT, Revision

SOURCES = (Repository.APPS, Repository.CONFIGURATION)


def commit_of(revision: Revision, repository: Repository) -> str:
    """Return the commit that a revision takes from a source repository."""
    return revision.apps if repository is Repository.APPS else revision.configuration


def repository_name(context: Context, repository: Repository) -> str:
    """Return a repository's name as people know it: the last segment of its URL."""
    url: str = getattr(context.fleet.platform.spec.repositories, repository.value)
    return url.rstrip("/").rpartition("/")[2].removesuffix(".git") or url


@dataclass(frozen=True)
class SourceHeads:
    """The heads of a tier's branches in apps and configuration. None where there is no such branch."""

    apps: str | None
    configuration: str | None

    def of(self, repository: Repository) -> str | None:
        """The head in one of the two."""
        return self.apps if repository is Repository.APPS else self.configuration

    def offer(self, renderer: str) -> Revision | None:
        """The revision that the two heads make, or None where one is missing."""
        if self.apps is None or self.configuration is None:
            return None
        return Revision(self.apps, self.configuration, renderer)


def source_heads(context: Context, tier: Tier) -> SourceHeads:
    """Return the heads of a tier's source branches."""
    branch = context.fleet.branch(tier.name)
    apps, configuration = (context.observed.repositories[repository].branches.get(branch) for repository in SOURCES)
    return SourceHeads(apps, configuration)


def check_sources(context: Context, tier: Tier, target: Revision | None) -> Iterator[Check]:
    """Judge both branches. `target` is what an upper tier is to take; None at the lowest, which takes its heads."""
    for repository in SOURCES:
        yield _check_source(context, tier, repository, target)


def fast_forwards(context: Context, tier: Tier, target: Revision) -> dict[Repository, RefUpdate]:
    """Return the ref updates that bring a tier's branches to the target; none where they are there."""
    branch, heads = context.fleet.branch(tier.name), source_heads(context, tier)
    return {
        repository: RefUpdate(f"refs/heads/{branch}", commit_of(target, repository), heads.of(repository))
        for repository in SOURCES
        if heads.of(repository) != commit_of(target, repository)
    }


def _check_source(context: Context, tier: Tier, repository: Repository, target: Revision | None) -> Check:
    trouble = context.observed.repositories[repository].trouble
    name, branch = repository_name(context, repository), context.fleet.branch(tier.name)
    if trouble is not None:
        return Check(
            trouble.reason,
            None,
            f"{name} cannot be read: {trouble.message}",
            f"git ls-remote {_url(context, repository)}",
        )
    head, pinned = source_heads(context, tier).of(repository), context.pinned(tier)
    if head is None:
        return _check_absent(context, repository, pinned, target, branch)
    if pinned is not None and head != commit_of(pinned, repository):
        contained = context.ask(IsAncestor(repository, commit_of(pinned, repository), head))
        if contained is None:
            return Check("SourcesKnown", None, f"the history of {name}@{branch} is being read")
        if not contained:
            return _rewritten(repository, name, branch, commit_of(pinned, repository), head)
    if target is None or head == commit_of(target, repository):
        return Check("SourcesReady", True, f"{name}@{branch} is at {head[:SHORT]}")
    return _check_forward(context, tier, repository, head, commit_of(target, repository))


def _check_absent(
    context: Context, repository: Repository, pinned: Revision | None, target: Revision | None, branch: str
) -> Check:
    name, url = repository_name(context, repository), _url(context, repository)
    if pinned is not None:
        commit = commit_of(pinned, repository)
        advice = f"git push {url} {commit}:refs/heads/{branch}"
        return Check(
            "SourceDeleted",
            False,
            f"{name} has no branch {branch} any more, and {commit[:SHORT]} is pinned from it",
            advice,
        )
    if target is None:
        return Check(
            "SourceMissing", False, f"{name} has no branch {branch} yet", f"git push {url} HEAD:refs/heads/{branch}"
        )
    return Check("SourcesReady", True, f"{name}@{branch} is created by the first promotion")


def _rewritten(repository: Repository, name: str, branch: str, commit: str, head: str) -> Check:
    detail = f"{name}@{branch} was rewritten: {head[:SHORT]} does not contain the pinned commit {commit[:SHORT]}"
    advice = f"merge it and push: git -C {repository.value} merge -s ours {commit} && git -C {repository.value} push origin HEAD:{branch}"
    return Check("HistoryRewritten", False, detail, advice)


def _check_forward(context: Context, tier: Tier, repository: Repository, head: str, wanted: str) -> Check:
    name, branch = repository_name(context, repository), context.fleet.branch(tier.name)
    forward = context.ask(IsAncestor(repository, head, wanted))
    if forward is None:
        return Check("SourcesKnown", None, f"the history of {name}@{branch} is being read")
    if forward:
        return Check("SourcesReady", True, f"{name}@{branch} is fast-forwarded from {head[:SHORT]} to {wanted[:SHORT]}")
    lower = context.fleet.lower(tier.name)
    below = lower.name if lower else tier.name
    detail = f"{name}@{branch} ({head[:SHORT]}) has commits that {below} did not verify, so it cannot be fast-forwarded to {wanted[:SHORT]}"
    mend = "" if context.pinned(tier) else " --discard"
    return Check("SourceDiverged", False, detail, f"shopctl release hotfix {tier.name}{mend}")


def _url(context: Context, repository: Repository) -> str:
    return str(getattr(context.fleet.platform.spec.repositories, repository.value))
