"""What one source of shops says: columns, before it is known which of its shops are taken."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from shopset.api import Shop
from shopset.api.shops import Limits
from shopset.core.placement.shops import EdgeWish, Shops

RESOURCES: Final = "Resources"
"""What the source of Shop resources is called."""


@dataclass(frozen=True, slots=True)
class ShopProblem:
    """What is wrong with one shop, one line or one source."""

    place: str
    """`shops/new.csv:17`, `public.shops` or `Shop/hoge`."""
    shop: str
    """Its name; empty where it is not known or not only about one."""
    field: str
    """The field as the source calls it; empty where it is about more than one."""
    message: str
    advice: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        lead = "warning: " if self.severity == "warning" else ""
        of_shop = f"{self.shop}: " if self.shop and not self.place.endswith(f"/{self.shop}") else ""
        of_field = f"{self.field}: " if self.field else ""
        advice = f": {self.advice}" if self.advice else ""
        return f"{self.place}: {lead}{of_shop}{of_field}{self.message}{advice}"


@dataclass(frozen=True)
class Table:
    """The shops of one source, each of which is right by itself. Rows are in the order of the source; names may repeat."""

    source: str
    """`Resources`, a path, or a table."""
    shops: Shops = field(default_factory=Shops)
    """Its columns; neither sorted nor distinct yet."""
    files: Sequence[tuple[int, str]] = ()
    """(first row, file) of each file, ascending; empty where the source has no files."""
    lines: NDArray[np.int32] | None = None
    """The line of each row in its file, from 1 on."""
    created: NDArray[np.float64] | None = None
    """Unix seconds; NaN where it is not known. None where it is known of no row."""
    unread: frozenset[str] = frozenset()
    """Names of shops that are there and cannot be read: they are no shops that were removed."""
    is_whole: bool = True
    """Whether every shop of the source is in `shops` or in `unread`."""

    def __len__(self) -> int:
        return len(self.shops)

    def place(self, row: int) -> str:
        """Return where a row is, as people look for it."""
        if self.files and self.lines is not None:
            file = self.files[bisect_right(self.files, row, key=lambda each: each[0]) - 1][1]
            return f"{file}:{self.lines[row]}"
        return f"Shop/{self.shops.names[row]}" if self.source == RESOURCES else self.source


def from_resources(resources: Iterable[Shop]) -> Table:
    """Return the table of Shop resources, sorted by name."""
    found = sorted(resources, key=lambda shop: shop.name)
    classes: dict[str, int] = {}
    kinds = [classes.setdefault(shop.spec.class_, len(classes)) for shop in found]
    created = [shop.metadata.creation_timestamp for shop in found]
    shops = Shops(
        names=[shop.name for shop in found],
        hosts=[shop.spec.hosts for shop in found],
        class_names=tuple(classes),
        classes=np.array(kinds, np.int32),
        demand=np.array([_demand(shop) for shop in found], np.float64).reshape(-1, 2),
        pins={row: shop.spec.pins for row, shop in enumerate(found) if shop.spec.pins},
        edge={
            row: wish for row, shop in enumerate(found) if (wish := wish_of(shop.spec.limits, shop.spec.maintenance))
        },
    )
    times = np.array([np.nan if at is None else at.timestamp() for at in created], np.float64)
    return Table(RESOURCES, shops, created=times)


def wish_of(limits: Limits | None, maintenance: bool) -> EdgeWish | None:
    """Return how a Shop resource wants to be served by the edge; None where it says nothing of that."""
    rate, burst = (None, None) if limits is None else (limits.requests_per_second, limits.burst)
    wish = EdgeWish(rate, burst, maintenance)
    return None if wish == EdgeWish() else wish


def _demand(shop: Shop) -> tuple[float, float]:
    stated = shop.spec.demand
    if stated is None:
        return np.nan, np.nan
    unknown = np.nan
    return (
        unknown if stated.requests_per_second is None else stated.requests_per_second,
        unknown if stated.connections is None else float(stated.connections),
    )
