"""Rules for the branches and tags of apps and configuration."""

from collections.abc import Iterator

from model.repositories import Push, Update
from model.scenes import Scene
from model.verdicts import Rule, Violation


def check_moves(scene: Scene, push: Push, excused: frozenset[tuple[str, str, str | None]]) -> Iterator[Violation]:
    """Judge how a push moved the refs of a repository.

    `excused` are a person's own doings: (repository, ref, commit).
    """
    for update in push.updates:
        if (push.repository, update.ref, update.new) in excused:
            continue
        where = f"{push.repository} {update.ref}"
        if update.ref.startswith("refs/tags/shopset/") and update.old is not None:
            yield Violation(Rule.TAG_MOVED, where, f"{update.old} -> {update.new}")
        elif update.ref.startswith("refs/heads/"):
            yield from _check_branch(scene, push.repository, update, where)


def _check_branch(scene: Scene, repository: str, update: Update, where: str) -> Iterator[Violation]:
    if update.new is None:
        yield Violation(Rule.DELETED, where, f"was at {update.old}")
        return
    if update.old is not None and not scene.stores[repository].is_ancestor(update.old, update.new):
        yield Violation(Rule.FAST_FORWARD, where, f"{update.old} -> {update.new}")
    tier = scene.wish.branches().get(update.ref.removeprefix("refs/heads/"))
    lower = scene.wish.lower(tier) if tier else None
    if repository == "system" or lower is None:
        return
    ledger = scene.current_ledger()
    verified = [pin[repository] for pin in ledger.pins(lower) if ledger.verified(lower, pin["revision"])]
    if update.new not in verified:
        yield Violation(Rule.SAME_OBJECTS, where, f"{update.new} is not what {lower} verified")
