"""The part of the story that shoppers see: they ask the edge all the time, and the demo counts what they get."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shopset.cli.demo.edges import Edge
from shopset.cli.demo.servers import HTTP, Servers
from shopset.cli.demo.shoppers import Shoppers
from shopset.cli.demo.stages import StoryError
from shopset.cli.demo.tallies import Tally, Visit, tally

_RUSH: Final = 50
"""Times its limit that a shop is asked for."""
_BROKEN: Final = 0.25
"""Seconds after which no connection to a dead server is taken for alive."""
_CUT: Final = 2
"""Requests that may break with a server that is killed under hundreds of them a second: those that were connecting when it was
marked down (docs/edge.md, "Failover")."""
_LOOK: Final = 2.0
"""Seconds of shoppers that are looked at where nothing has to be waited for."""
_MEMORY: Final = 20.0
"""Seconds within which the edge still counts a request: its windows are of ten, and it looks at the one before too."""
_OK, _UNAVAILABLE = 200, 503


@dataclass
class Visiting:
    """Shoppers before an edge before the servers of ShopSets."""

    edge: Edge
    servers: Servers
    hosts: Mapping[str, float]
    """Host -> requests per second."""
    head: Callable[[], str]
    """Returns the commit of the placement, as git has it."""
    say: Callable[[str, str], None]
    """Tells people something, in a style."""
    _shoppers: Shoppers = field(init=False)
    _began: float = field(init=False)
    _rushed: dict[str, float] = field(default_factory=dict)
    """Host -> when it was rushed at no more."""
    _unredundant: set[str] = field(default_factory=set)
    """Hosts that were down with their only replica."""
    _cut: list[Visit] = field(default_factory=list)
    """Safe requests that broke with a server."""

    def open(self) -> None:
        """Start the edge, and then shoppers."""
        self.edge.start()
        self.follow()
        port = self.edge.ports[HTTP]
        first = next(iter(self.hosts))
        self.edge.until(lambda _: self.edge.serves(first), f"the edge serves {first}")
        self.say(f"HAProxy listens on 127.0.0.1:{port}, and its agent follows git alone", "green")
        self._shoppers = Shoppers(self.edge.children, port)
        self._began = time.monotonic()
        rate = sum(self.hosts.values())
        self._shoppers.visit("everybody", self.hosts, rate)
        self.say(f"{rate:.0f} requests a second begin, to {len(self.hosts)} shops; one in seven is a POST", "")

    def ask(self, host: str) -> str:
        """Be a shopper, and show what the shop answers. Raises StoryError where it is not served."""
        status, page = self.edge.ask(host)
        self.say(f"a shopper of {host} gets {page}", "")
        if status != _OK:
            raise StoryError(f"{host} is not served: {status}")
        return page

    def lately(self) -> Tally:
        """Count what shoppers got within the last second."""
        return self._shoppers.lately()

    def follow(self) -> float:
        """Wait until the edge routes by the placement as git has it. Returns the moment."""
        head = self.head()
        self.edge.until(lambda status: status.get("commit") == head, f"the edge routes by {head[:7]}")
        return time.monotonic()

    def kill(self, cluster: str) -> float:
        """Let the servers of a cluster die under load. Returns the moment at which they were dead."""
        dead = self.servers.kill(cluster)
        self.say(f"kill -9: the servers of {' and '.join(dead)} are gone", "bold red")
        return time.monotonic()

    @contextmanager
    def nobody_fails(self, what: str) -> Iterator[None]:
        """Check that no request of a shopper fails meanwhile. Raises StoryError."""
        began = time.monotonic()
        yield
        self.follow()
        self._check_served(self._shoppers.since(began), what)

    def look(self, what: str, since: float | None = None) -> None:
        """Check that for a while (or since a moment, for at least a while) no request fails. Raises StoryError."""
        began = time.monotonic() if since is None else since
        time.sleep(max(began + _LOOK - time.monotonic(), 0))
        self._check_served(self._shoppers.since(began), what)

    def judge_loss(self, before: float, dead: float, redundant: Collection[str], single: Collection[str]) -> None:
        """Check what shoppers felt of a dead cluster before anybody did anything about it. Raises StoryError."""
        time.sleep(_LOOK)
        found = self._shoppers.since(before)
        safe = [each for each in found if each.host in redundant]
        told = tally(safe)
        self.say(f"shops with another replica: {told.text}", "green")
        late = [each for each in safe if each.failed and (each.safe or each.began > dead)]
        # What was on its way to a server that died and may not be sent twice is lost; and of what may, hardly ever
        # one: HAProxy ends what is just connecting when it marks the server down.
        cut = [each for each in late if not each.status and each.began < dead + _BROKEN]
        if len(late) > len(cut) or len(cut) > _CUT:
            raise StoryError(f"shops with another replica failed: {late[:5]}")
        self._cut += cut
        self._unredundant |= set(single)
        if not single:
            return
        # On connections that broke just then, HAProxy closes the shopper's without an answer, as the server did.
        down = tally(each for each in found if each.host in single and each.began > dead + _BROKEN)
        self.say(f"shops with one replica: {down.text}; with status {_counts(down)}", "red")
        pages = down.statuses.get(_UNAVAILABLE, 0)
        if not pages or down.requests - pages > min(down.statuses.get(0, 0), _CUT):
            raise StoryError(f"shops whose only replica is dead are to get a page with 503, and got {down}")

    def rush(self, host: str, limit: float) -> None:
        """Let shoppers rush at one shop, and check that only they are told to wait. Raises StoryError."""
        calm = time.monotonic()
        time.sleep(_LOOK)
        began = time.monotonic()
        self._shoppers.visit("rush", {host: 1.0}, _RUSH * limit, others=0)
        time.sleep(2 * _LOOK)
        self._shoppers.visit("rush", {}, 0)
        ended = self._rushed[host] = time.monotonic()
        before = tally(each for each in self._shoppers.since(calm, began) if each.host != host)
        during = self._shoppers.since(began, ended)
        others, rushed = (tally(each for each in during if (each.host == host) is here) for here in (False, True))
        seconds = ended - began
        served = rushed.requests - rushed.told_to_wait
        self.say(f"{host}: {rushed.requests / seconds:.0f} requests/s, {limit:g}/s allowed", "bold")
        self.say(f"  {served} served, {rushed.told_to_wait} told to wait (429)", "yellow")
        self.say(f"the others before: {before.text}; half of them within {1000 * before.median:.1f} ms", "")
        self.say(f"the others during: {others.text}; half of them within {1000 * others.median:.1f} ms", "green")
        if rushed.failed or before.failed or others.failed or others.told_to_wait or before.told_to_wait:
            raise StoryError(f"the rush was felt: {rushed}, {others}")
        # In each second what the limit says and the burst; twice that, as the edge counts in windows, and by chance.
        if not 0 < served <= 4 * limit * (seconds + 1) or not rushed.told_to_wait:
            raise StoryError(f"{served} requests of the rush were served in {seconds:.1f} s")

    def served_by(self, shopset: str, since: float) -> set[str]:
        """Return the hosts that a ShopSet has answered."""
        return {each.host for each in self._shoppers.since(since) if each.shopset == shopset}

    def total(self) -> None:
        """Tell what all shoppers got, from the beginning. Raises StoryError where a shop with two replicas ever failed."""
        found = self._shoppers.since(self._began)
        self.say(f"shoppers, all in all: {tally(found).text}", "bold")
        failed = [each for each in found if each.failed and each.safe and each not in self._cut]
        if felt := [each for each in failed if each.host not in self._unredundant]:
            raise StoryError(f"shops with two replicas failed: {felt[:5]}")
        if failed:
            self.say(
                "whatever failed was of shops with one replica, while that was dead and nobody had re-placed them", ""
            )

    def close(self, kept: Path) -> None:
        """End everything, and leave in `kept` what the edge had on disk."""
        self.edge.close(kept)
        self.edge.ports.close()

    def _check_served(self, found: Collection[Visit], what: str) -> None:
        told = tally(found)
        failed = [each for each in found if each.failed or (each.told_to_wait and not self._is_late_of_rush(each))]
        if failed or not found:
            raise StoryError(f"shoppers felt it: {what}: {told.text}: {failed[:5]}")
        self.say(f"{what}: {told.text}", "green")

    def _is_late_of_rush(self, visit: Visit) -> bool:
        """Whether it is one to a shop whose rush the edge has not forgotten yet."""
        ended = self._rushed.get(visit.host)
        return ended is not None and visit.began < ended + _MEMORY


def _counts(told: Tally) -> str:
    return ", ".join(f"{status}: {count}" for status, count in told.statuses.items()) or "none"
