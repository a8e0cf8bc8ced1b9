"""Which errors a change would bring to a fleet, judged before it is made. Pure.

Only what gets worse counts: a fleet that has errors must be mendable step by step, in any order. And what is missing is
no error here, since `kubectl apply` of a folder brings its objects one by one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from shopset.api import Platform, Resource, ShopSet
from shopset.core.fleets import Field, Problem, assemble

Said = Resource | Problem | None
"""What an object says: a resource, or the problem for which it cannot be read; nothing where it is not there."""


def new_errors(others: Iterable[Resource], before: Said, after: Said) -> tuple[Problem, ...]:
    """Return the errors that a fleet of `others` has with an object as it is `after`, and not as it is `before`."""
    # There may be thousands of ShopSets, and none is judged by another.
    company = [each for each in others if not (isinstance(after, ShopSet) and isinstance(each, ShopSet))]
    known = Counter(_place(error) for error in _errors(company, before))
    found = []
    for error in _errors(company, after):
        known[_place(error)] -= 1
        if known[_place(error)] < 0:
            found.append(error)
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
    yield from (each for each in assemble(found).problems if each.severity == "error" and not each.missing)


def _place(error: Problem) -> tuple[str, Field]:
    """What stays the same while an error is being mended: its words may name others then."""
    return error.resource, error.field
