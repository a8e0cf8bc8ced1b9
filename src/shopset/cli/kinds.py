"""The kinds that `shopctl get` and `describe` know, by the names that people give them."""

import difflib
from typing import Final

from shopset.core.errors import ShopsetError

ALIASES: Final = {
    "platforms": ("platform", "pf"),
    "tiers": ("tier", "t"),
    "shopsets": ("shopset", "ss"),
    "configurations": ("configuration", "conf"),
    "clusters": ("cluster", "cl"),
    "failuredomains": ("failuredomain", "fd"),
    "shopclasses": ("shopclass", "sc"),
    "shops": ("shop", "s"),
    "releases": ("release", "revisions", "revision", "rev"),
    "pins": ("pin",),
    "verifications": ("verification", "verified"),
    "rejections": ("rejection", "rejected"),
    "approvals": ("approval", "ap"),
    "holds": ("hold",),
}
RESOURCES: Final = {
    "platforms": "Platform",
    "tiers": "Tier",
    "shopsets": "ShopSet",
    "configurations": "Configuration",
    "clusters": "Cluster",
    "failuredomains": "FailureDomain",
    "shopclasses": "ShopClass",
    "shops": "Shop",
}
"""Those that are read from the fleet's folder."""


class UnknownKindError(ShopsetError):
    """A kind that nobody knows, or an object that is not there."""


def resolve_kind(word: str) -> str:
    """Return a kind's plural name. Raises UnknownKindError."""
    wanted = word.lower()
    for plural, aliases in ALIASES.items():
        if wanted == plural or wanted in aliases:
            return plural
    close = difflib.get_close_matches(
        wanted, [name for plural, aliases in ALIASES.items() for name in (plural, *aliases)], n=1
    )
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(ALIASES)}"
    raise UnknownKindError(f"there is no kind {word!r}: {hint}")
