"""The demo's fleet: that of the talk, with the two ShopSets that its drain needs."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Final

from shopset.cli.scaffolding import Copy, Layout

_COPIES: Final = (
    ("a-1", "beta-prod", "a"),
    ("a-2", "prod", "a"),
    ("b-1", "prod", "b"),
    ("b-2", "beta-prod", "b"),
    ("c-1", "beta", "c"),
    ("c-2", "dev", "c"),
    ("c-3", "prod", "c"),
    ("c-4", "beta-prod", "c"),
)
_TOPOLOGY: Final = {
    "a": {"provider": "on-premises", "region": "tokyo"},
    "b": {"provider": "aws", "region": "tokyo"},
    "c": {"provider": "on-premises", "region": "osaka"},
}
_FAST: Final = ("failureGrace: 1s", "deadline: 2m")
TIERS: Final = {
    "dev": (*_FAST, "bake: 0s"),
    "beta": (*_FAST, "bake: 1s"),
    "beta-prod": (*_FAST, "bake: 1s"),
    "prod": (*_FAST, "bake: 1s"),
}


def layout(folder: Path, configurations: Sequence[str]) -> Layout:
    """Return the fleet in a folder. The configurations are given to the ShopSets in order; of two, the second is production's."""
    if list(configurations) == ["staging", "production"]:
        given = ["staging" if tier == "dev" else "production" for _, tier, _ in _COPIES]
    else:
        given = [name for name, _ in zip(cycle(configurations), _COPIES, strict=False)]
    copies = [
        Copy(name, tier, configuration, cluster)
        for (name, tier, cluster), configuration in zip(_COPIES, given, strict=True)
    ]
    return Layout(
        parent=str(folder / "git"),
        clusters=str(folder / "clusters"),
        tiers=TIERS,
        configurations=configurations,
        copies=copies,
        topology=_TOPOLOGY,
    )
