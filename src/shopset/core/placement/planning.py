"""The plan of one step of the placement: which shops go where, and what the ledger says of clusters after it."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from shopset.core.fleets import Fleet
from shopset.core.placement._conditions import conditions
from shopset.core.placement._homing import is_back, waits_for
from shopset.core.placement._targets import targets
from shopset.core.placement._waves import Step, leftovers, next_step
from shopset.core.placement.drains import held_back
from shopset.core.placement.evaluating import loads, worst, worst_n1
from shopset.core.placement.facts import edge_conditions, edge_facts
from shopset.core.placement.formats import BRANCH, difference
from shopset.core.placement.grouping import Regrouping, regroup
from shopset.core.placement.modelling import Model, model
from shopset.core.placement.placements import Placement
from shopset.core.placement.plans import Move, PlacementPlan, Seen, Utilisation, shops_of
from shopset.core.placement.problems import Ints
from shopset.core.release.actions import SHOPSET, ActionKind, Commit, Identity, PushCommits
from shopset.core.release.ledgers import BRANCH as LEDGER
from shopset.core.release.records import ClusterRecord, cluster_path

_NAMED: Final = 3
"""Names in a subject; of more only the number is told."""


def plan_placement(
    fleet: Fleet, seen: Seen, budget: int = 0, author: Identity = SHOPSET, reason: str = ""
) -> PlacementPlan:
    """Return the next step. Pure: the same arguments give the same plan; the same step is planned until it is done.

    `budget` lets so many shops more than needed move, where that makes loads more even: `author` asked for it, for `reason`.
    """
    held = held_back(fleet, seen)
    grouped = regroup(fleet, seen.shops, seen.placement, seen.known)
    found = model(held, seen.shops, grouped.placement, seen.clusters, seen.unusable, grouped.seated)
    goal = targets(held, seen, found, budget)
    step = next_step(held, seen, found, goal)
    after = grouped.placement.with_groups(step.groups) if step.groups else grouped.placement
    after = with_facts(fleet, seen, after)
    asked = author if reason else _asked_by(seen, step)
    actions = [*_place(seen, grouped, step, after, asked, reason), *_records(fleet, seen, step, after)]
    return PlacementPlan(
        now=seen.now,
        placement=after,
        actions=tuple(actions),
        moves=step.moves,
        later=step.later,
        before=_utilisation(found, found.problem.legs),
        after=_utilisation(found, goal.legs),
        conditions=(*conditions(fleet, seen, found, goal, step), *edge_conditions(fleet, after)),
        wake_at=step.wake_at,
        seats=grouped.seats,
    )


def with_facts(fleet: Fleet, seen: Seen, placement: Placement) -> Placement:
    """Return a placement with what edges have to know of it."""
    return placement.with_edge(edge_facts(held_back(fleet, seen), seen.shops, placement, seen.clusters))


def _asked_by(seen: Seen, step: Step) -> Identity:
    """Return who asked for a step: whoever had the one cluster that it is about emptied, declared lost or brought back."""
    people = {
        record.by for name, record in seen.clusters.items() for each in step.moves if f"cluster {name} " in each.why
    }
    return Identity.parse(people.pop()) if len(people) == 1 else SHOPSET


def _utilisation(found: Model, legs: Ints) -> Utilisation:
    seen = loads(found.problem, legs)
    return Utilisation(worst(found.problem, seen), worst_n1(found.problem, seen))


def _place(
    seen: Seen, grouped: Regrouping, step: Step, after: Placement, author: Identity, reason: str
) -> Iterator[PushCommits]:
    why = [f"{counted(number, 'shop')}: {cause}" for cause, number in _causes(step.moves)]
    if reason:
        why.append(f"{author.name} asked for it: {reason}")
    action = commit_placement(seen, after, _subject(seen, grouped, step), tuple(why), author)
    if action is not None:
        yield action


def commit_placement(
    seen: Seen, after: Placement, subject: str, why: tuple[str, ...], author: Identity
) -> PushCommits | None:
    """Return the action that brings a placement to its branch; None where it is there."""
    delta = difference(seen.placement, after)
    if not (delta.writes or delta.deletes):
        return None
    informed = tuple(("Shopset-Reason", each) for each in why)
    line = " ".join(subject.split())
    commit = Commit(BRANCH, seen.head, line, delta.writes, delta.deletes, trailers=informed, before=delta.before)
    return PushCommits(kind=ActionKind.PLACE, what=line, why=why, author=author, at=seen.now, commits=(commit,))


def _subject(seen: Seen, grouped: Regrouping, step: Step) -> str:
    parts = []
    if step.moves:
        causes = [cause for cause, _ in _causes(step.moves)]
        parts.append(f"place {counted(shops_of(step.moves), 'shop')}: {'; '.join(causes[:3])}")
    settled = len(step.groups) - len(step.moves)
    if settled > 0:
        parts.append(f"old replicas of {counted(settled, 'group')} go")
    for verb, noun, names in (
        ("add", "shop", grouped.joined),
        ("remove", "shop", grouped.left),
        ("divide", "group", grouped.split),
        ("join", "group", grouped.merged),
    ):
        if names and not (verb == "add" and step.moves):
            parts.append(f"{verb} {', '.join(names) if len(names) <= _NAMED else counted(len(names), noun)}")
    what = "the edge" if grouped.placement is seen.placement else "hosts"
    return "; ".join(parts) or f"bring {what} up to date"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 shop`, `1,234 shops`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _causes(moves: tuple[Move, ...]) -> list[tuple[str, int]]:
    counts: Counter[str] = Counter()
    for move in moves:
        counts[move.why] += move.shops
    return counts.most_common()


def _records(fleet: Fleet, seen: Seen, step: Step, after: Placement) -> Iterator[PushCommits]:
    """Yield what changes on the ledger: a cluster that is empty now, one whose shops are all back."""
    for cluster, record in sorted(seen.clusters.items()):
        members = frozenset(fleet.hosted(cluster))
        if record.state == "Draining" and next(leftovers(after.groups, members), None) is None:
            emptied = record.model_copy(update={"state": "Upgrading", "since": seen.now})
            subject = f"cluster {cluster} is empty: {record.reason}"
            yield record_cluster(seen, cluster, emptied, subject, ("no shop has a replica there any more",), SHOPSET)
        elif record.state == "Returning" and not waits_for(fleet, seen, cluster) and not _is_coming(step, cluster):
            subject = f"cluster {cluster} is back"
            yield record_cluster(
                seen, cluster, None, subject, ("its shops have returned, where they still fit",), SHOPSET
            )


def _is_coming(step: Step, cluster: str) -> bool:
    return any(each.why == is_back(cluster) for each in (*step.moves, *step.later))


def record_cluster(
    seen: Seen, cluster: str, record: ClusterRecord | None, subject: str, why: tuple[str, ...], author: Identity
) -> PushCommits:
    """Return the action that writes, or removes, what the ledger says of a cluster."""
    path = cluster_path(cluster)
    writes, deletes = ({path: record.dump()}, ()) if record else ({}, (path,))
    reason = record.reason if record else why[0]
    commit = Commit(LEDGER, seen.ledger_head, subject, writes, deletes, trailers=(("Shopset-Reason", reason),))
    return PushCommits(kind=ActionKind.CLUSTER, what=subject, why=why, author=author, at=seen.now, commits=(commit,))
