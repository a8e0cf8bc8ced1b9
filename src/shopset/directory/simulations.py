"""Simulations: what the demo's annotations on an object ask a directory cluster to pretend.

demo.shopset.dev/degraded: beta,prod        the tiers in which it is Degraded; * for all
demo.shopset.dev/message: carts are lost    what is said then
demo.shopset.dev/degraded-after: 2s         it is Healthy until so long after the sync
demo.shopset.dev/starting: 1s               it is Progressing until so long after the sync
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from shopset.api import InvalidValueError, parse_duration
from shopset.core.objects import label_of

_PREFIX: Final = "demo.shopset.dev/"


class Simulation(BaseModel):
    """What is pretended of one object."""

    model_config = ConfigDict(frozen=True)

    label: str
    """`Deployment/cart`."""
    degraded: bool = False
    message: str = ""
    after: float = 0.0
    """Seconds from the sync until it is Degraded."""
    starting: float = 0.0
    """Seconds from the sync during which it is Progressing."""


def simulations_of(documents: Iterable[Mapping[str, Any]]) -> Iterator[Simulation]:
    """Yield what the objects ask to be pretended."""
    for document in documents:
        metadata = document["metadata"]
        asked = {
            key: str(value) for key, value in (metadata.get("annotations") or {}).items() if key.startswith(_PREFIX)
        }
        tiers = {tier.strip() for tier in asked.get(f"{_PREFIX}degraded", "").split(",")}
        degraded = bool(tiers & {"*", (metadata.get("labels") or {}).get("shopset.dev/tier")})
        starting = _seconds(asked.get(f"{_PREFIX}starting"))
        if degraded or starting:
            yield Simulation(
                label=label_of(document),
                degraded=degraded,
                message=asked.get(f"{_PREFIX}message", "its pods crash"),
                after=_seconds(asked.get(f"{_PREFIX}degraded-after")),
                starting=starting,
            )


def _seconds(text: str | None) -> float:
    try:
        return parse_duration(text).total_seconds() if text else 0.0
    except InvalidValueError:
        # A demo that goes on tells more than one that stops.
        return 0.0
