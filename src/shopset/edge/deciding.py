"""How a request is routed, and why: what HAProxy's configuration does, told without asking it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shopset.core.placement.edges import EdgeFacts
from shopset.edge.panic import fewest_up
from shopset.edge.routes import SLOTS, Choice, HostValue, shopset_of, slot_of

SAFE: Final = ("GET", "HEAD", "OPTIONS")
"""Methods whose requests are sent again when the first ShopSet fails."""


class State(StrEnum):
    """How a ShopSet is for an edge."""

    UP = "up"
    DOWN = "down"
    EJECTED = "ejected"
    """Up, and left where there is another, because requests fail there."""
    UNKNOWN = "unknown"
    """No edge was asked: it counts as up."""


@dataclass(frozen=True, slots=True)
class Request:
    """What decides about a request besides its host."""

    client: str | None = None
    """An address; None is any client."""
    method: str = "GET"
    path: str = "/"


@dataclass(frozen=True, slots=True)
class Share:
    """A list of ShopSets, and how many of the clients it is for."""

    percent: int
    shopsets: tuple[str, ...]
    canary: bool
    chosen: bool
    """Whether it is for the client that asks."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request goes."""

    shares: tuple[Share, ...]
    slot: int | None
    """Of the client."""
    shopsets: tuple[tuple[str, State], ...]
    """In the order in which they are tried; of the greatest share where the client is not known."""
    serving: str | None
    """The ShopSet that gets it first; None where none is up or the shop is not served now.

    It is one that is down where so much is that the edge does not believe its checks.
    """
    then: tuple[str, ...]
    """Those that get it when the ones before fail."""
    status: int | None
    """With what the edge answers by itself; None where a ShopSet answers."""


def decide(found: HostValue | None, facts: EdgeFacts, states: Mapping[str, State], asked: Request) -> Decision:
    """Return where a request goes, given what the map says of its host."""
    if found is None:
        return Decision((), None, (), None, (), 404)
    slot = None if asked.client is None else slot_of(asked.client)
    canaries = {name for each in facts.classes.values() for name in each.canaries}
    shares = tuple(_shares(found.route.choices, slot, canaries))
    chosen = next((each for each in shares if each.chosen), None) or max(shares, key=lambda each: each.percent)
    order = tuple((name, states.get(name, State.UNKNOWN)) for name in chosen.shopsets)
    serving, then = turns(order)
    if serving is None and order and _panics(facts, states):
        serving, *others = (name for name, _ in order)
        then = tuple(others)
    if found.route.maintenance:
        return Decision(shares, slot, order, None, (), 503)
    return Decision(shares, slot, order, serving, then, None if serving else 503)


def turns(order: Sequence[tuple[str, State]]) -> tuple[str | None, tuple[str, ...]]:
    """Return which ShopSet gets a request first, and which ones when those before them fail.

    It is the first that is up and not ejected; where all are merely ejected, the first that is up, and that is tried once.
    """
    turn = [name for name, state in order if state in (State.UP, State.UNKNOWN)]
    after = [name for name, _ in order].index(turn[-1]) + 1 if turn else 0
    turn += [name for name, state in order[after:] if state is State.EJECTED][:1]
    return (turn[0], tuple(turn[1:])) if turn else (None, ())


def _panics(facts: EdgeFacts, states: Mapping[str, State]) -> bool:
    return sum(states.get(name) is not State.DOWN for name in facts.shopsets) < fewest_up(facts)


def _shares(choices: Sequence[Choice], slot: int | None, canaries: set[str]) -> Iterator[Share]:
    below = 0
    for choice in choices:
        names = tuple(map(shopset_of, choice.backends))
        is_chosen = len(choices) == 1 or (slot is not None and below <= slot < choice.bound)
        yield Share((choice.bound - below) * 100 // SLOTS, names, names[:1] != () and names[0] in canaries, is_chosen)
        below = max(below, choice.bound)
