"""What shoppers asked and what they got, counted. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Visit:
    """One request and its end. Times are of the monotonic clock, in seconds."""

    began: float
    ended: float
    host: str
    safe: bool
    """GET: it may be sent again. A POST may not."""
    status: int
    """0 where no answer came."""
    shopset: str = ""
    """Who answered; empty where it was the edge itself."""

    @property
    def told_to_wait(self) -> bool:
        """Whether the edge said that it was too much."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS

    @property
    def failed(self) -> bool:
        """Whether the shopper got nothing, or an error."""
        return self.status != HTTPStatus.OK and not self.told_to_wait


@dataclass(frozen=True)
class Tally:
    """Some visits, counted."""

    safe: int = 0
    others: int = 0
    failed_safe: int = 0
    failed_others: int = 0
    told_to_wait: int = 0
    statuses: Mapping[int, int] = field(default_factory=dict)
    """Of those that failed."""
    shopsets: Mapping[str, int] = field(default_factory=dict)
    """Who answered how many, sorted by name."""
    median: float = 0.0
    """Seconds until the answer, of those that were served."""

    @property
    def requests(self) -> int:
        """All of them."""
        return self.safe + self.others

    @property
    def failed(self) -> int:
        """All that failed."""
        return self.failed_safe + self.failed_others

    @property
    def text(self) -> str:
        """The counts in words."""
        served = ", ".join(f"{name} {count}" for name, count in self.shopsets.items()) or "nobody"
        failed = f"failed {self.failed_safe} of {self.safe} GET, {self.failed_others} of {self.others} POST"
        wait = f"; told to wait {self.told_to_wait}" if self.told_to_wait else ""
        return f"{self.requests} requests; served by {served}{wait}; {failed}"


def tally(visits: Iterable[Visit]) -> Tally:
    """Count some visits."""
    found = list(visits)
    failed = [each for each in found if each.failed]
    took = sorted(each.ended - each.began for each in found if each.status == HTTPStatus.OK)
    safe = sum(each.safe for each in found)
    failed_safe = sum(each.safe for each in failed)
    return Tally(
        safe=safe,
        others=len(found) - safe,
        failed_safe=failed_safe,
        failed_others=len(failed) - failed_safe,
        told_to_wait=sum(each.told_to_wait for each in found),
        statuses=dict(sorted(Counter(each.status for each in failed).items())),
        shopsets=dict(sorted(Counter(each.shopset for each in found if each.shopset).items())),
        median=took[len(took) // 2] if took else 0.0,
    )
