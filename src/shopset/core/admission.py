"""Which errors a change would bring to a fleet, judged before it is made. Pure.

Only what gets worse counts: a fleet that has errors must be mendable step by step, in any order. And what is missing is
no error here, since `kubectl apply` of a folder brings its objects one by one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from shopset.api import Cluster, Configuration, Platform, Resource, ShopSet
from shopset.core.capacity.budgets import Budget, cluster_budgets, database_budgets
from shopset.core.fleets import Field, Problem, assemble

Said = Resource | Problem | None
"""What an object says: a resource, or the problem for which it cannot be read; nothing where it is not there."""


def new_errors(others: Iterable[Resource], before: Said, after: Said) -> tuple[Problem, ...]:
    """Return the errors that a fleet of `others` has with an object as it is `after`, and not as it is `before`."""
    everybody = list(others)
    # There may be thousands of ShopSets, and one is judged by another only in what they share.
    company = [each for each in everybody if not (isinstance(after, ShopSet) and isinstance(each, ShopSet))]
    known = Counter(_place(error) for error in _errors(company, before))
    found = []
    for error in _errors(company, after):
        known[_place(error)] -= 1
        if known[_place(error)] < 0:
            found.append(error)
    if isinstance(after, ShopSet):
        found += _beyond_budgets(everybody, before, after)
    return tuple(found)


def dependents(others: Iterable[Resource], gone: Resource) -> tuple[str, ...]:
    """Return which of `others` would miss a resource, as in `ShopSet/a-1`, sorted."""
    company = list(others)
    found = {error.resource for error in assemble(company).problems if error.missing == gone.reference}
    if isinstance(gone, Platform) and not any(isinstance(each, Platform) for each in company):
        found |= {each.reference for each in company if isinstance(each, ShopSet)}
    return tuple(sorted(found))


def _errors(company: list[Resource], said: Said) -> Iterator[Problem]:
    if isinstance(said, Problem):
        yield said
    found = [*company, said] if isinstance(said, Resource) else company
    # What exceeds a budget does so by its ShopSets: a database or a cluster that shrank is a fact, and may be stated.
    yield from (
        each for each in assemble(found).problems if each.severity == "error" and not each.missing and each.stops
    )


def _beyond_budgets(others: list[Resource], before: Said, after: ShopSet) -> Iterator[Problem]:
    """Yield the budgets that a ShopSet exceeds, or exceeds further, by what it takes of them more than it did."""
    was = {(each.owner, each.database): each.left for each in _budgets(others, before)}
    for budget in _budgets(others, after):
        if budget.left < 0 and budget.left < was[budget.owner, budget.database]:
            yield Problem(after.reference, budget.field, budget.arithmetic, budget.advice, stops=False)


def _budgets(others: list[Resource], said: Said) -> Iterator[Budget]:
    company = [*others, said] if isinstance(said, ShopSet) else others
    shopsets = {each.name: each for each in company if isinstance(each, ShopSet)}
    yield from database_budgets({each.name: each for each in company if isinstance(each, Configuration)}, shopsets)
    yield from cluster_budgets({each.name: each for each in company if isinstance(each, Cluster)}, shopsets)


def _place(error: Problem) -> tuple[str, Field]:
    """What stays the same while an error is being mended: its words may name others then."""
    return error.resource, error.field
