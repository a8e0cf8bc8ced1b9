"""The agent as one process: the lock, the loop, what is served, and how they end together. HAProxy goes on."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any, Final, Never

from shopset.core.errors import ShopsetError
from shopset.edge.places import Place
from shopset.edge_agent.agents import Agent
from shopset.edge_agent.certificate_secrets import Secrets, api_server, follow
from shopset.edge_agent.certificate_sources import Folder, Source
from shopset.edge_agent.certificates import Certificates
from shopset.edge_agent.demand import INTERVAL, DemandMetrics
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.following import Branch, LocalWatch
from shopset.edge_agent.haproxies import Haproxy
from shopset.edge_agent.looping import Loop
from shopset.edge_agent.metrics import Metrics
from shopset.edge_agent.serving import ShopSets, make_application, serving
from shopset.edge_agent.settings import Settings
from shopset.kube.certificates import SecretCertificates

_log = logging.getLogger(__name__)
_LAST_STEP: Final = 60.0
"""Seconds that what is being done may take when the agent is told to end."""
_CERTIFICATES: Final = 10.0
"""Seconds between two looks at folders with certificates."""
_COMPARE: Final = 300.0
"""Seconds between two comparisons of the names in certificates with all hosts."""


@dataclass(frozen=True)
class Given:
    """What the agent was started with."""

    folder: StateFolder
    place: Place
    repository: str
    environment: Mapping[str, str]
    settings: Settings = field(default_factory=Settings)
    timeout: float = 60
    haproxy: str | None = None
    host: str = "127.0.0.1"
    port: int = 8405
    webhook_secret: Path | None = None
    certificates: tuple[Path, ...] = ()
    secrets: Secrets | None = None
    """Those that have certificates."""
    top: int = 1000
    """Shops whose demand is exported one by one."""


def make_branch(given: Given) -> Branch:
    """Return the branch, with its local copy in the state folder."""
    return Branch(given.repository, given.folder.path / "git" / "system.git", given.environment, given.timeout)


async def run(given: Given) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code. Raises StateError where another agent has the folder."""
    with given.folder.locked():
        metrics = Metrics()
        haproxy = Haproxy(given.folder, given.place, given.haproxy)
        agent = Agent(given.folder, given.place, make_branch(given), haproxy, given.settings, metrics)
        demand = DemandMetrics(haproxy.runtime, given.top)
        metrics.registry.register(demand)
        certificates = _Certificates(given, haproxy, agent, metrics) if given.place.https else None
        following = _follow(given, certificates)
        duties = [] if certificates is None else [(_CERTIFICATES, certificates.look)]
        loop = Loop(agent, LocalWatch(given.repository), given.settings, duties)
        told = certificates.told if certificates else dict
        try:
            await _serve(given, agent, loop, haproxy, metrics, demand, told)
        finally:
            for each in following:
                each.cancel()
    return 0


async def _serve(
    given: Given,
    agent: Agent,
    loop: Loop,
    haproxy: Haproxy,
    metrics: Metrics,
    demand: DemandMetrics,
    certificates: Callable[[], Mapping[str, Any]],
) -> None:
    ended = asyncio.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(wanted, ended.set)
    lines: Callable[[], Iterable[bytes]] = demand.lines
    application = make_application(
        agent,
        loop,
        ShopSets(agent, haproxy.runtime, metrics),
        metrics,
        repository=given.repository,
        webhook_secret=given.webhook_secret,
        demand=lines,
        certificates=certificates,
    )
    async with serving(application, given.host, given.port) as port:
        _log.info("answering on %s:%d", given.host, port)
        thread = Thread(target=loop.run, name="loop", daemon=True)
        thread.start()
        counting = asyncio.create_task(_count(demand))
        await ended.wait()
        _log.info("ending: told to; HAProxy goes on")
        counting.cancel()
        loop.stop()
        await asyncio.to_thread(thread.join, _LAST_STEP)


async def _count(demand: DemandMetrics) -> None:
    """Read the demand of shops again and again."""
    while True:
        await asyncio.sleep(INTERVAL)
        try:
            await asyncio.to_thread(demand.read)
        except ShopsetError as error:
            _log.warning("the demand of shops was not read: %s", error)


def _follow(given: Given, certificates: "_Certificates | None") -> list["asyncio.Task[Never]"]:
    """Follow the Secrets with certificates, where there are to be any. Raises KubeError."""
    if given.secrets is None or certificates is None or certificates.secrets is None:
        return []
    client = api_server(given.secrets)
    # The next look takes what is new.
    return [asyncio.create_task(follow(client, given.secrets, certificates.secrets, lambda: None))]


class _Certificates:
    """The certificates, looked at by the loop."""

    def __init__(self, given: Given, haproxy: Haproxy, agent: Agent, metrics: Metrics) -> None:
        sources: list[Source] = [Folder(path) for path in given.certificates]
        self.secrets = SecretCertificates(given.secrets.namespace) if given.secrets else None
        if self.secrets:
            sources.append(self.secrets)
        self._kept = Certificates(given.folder.path / "certificates", sources)
        try:
            # HAProxy does not start without a list, be it empty.
            self._kept.look(datetime.now(UTC))
        except OSError as error:
            _log.warning("certificates: %s", error)
        self._haproxy, self._agent, self._metrics = haproxy, agent, metrics
        self._maps = (given.folder.maps / "hosts.map", given.folder.maps / "moved.map")
        self._is_brought = False
        self._compared: tuple[int, ...] = ()
        self._compare_at = 0.0

    def look(self) -> None:
        """Take what is new, and bring it to HAProxy."""
        now = datetime.now(UTC)
        try:
            if self._kept.look(now) or not self._is_brought:
                self._is_brought, self._compare_at = False, 0.0
                self._bring(now)
            self._compare()
        except (ShopsetError, OSError) as error:
            _log.warning("certificates: %s", error)
        for state, number in self._kept.counts().items():
            self._metrics.certificates.labels(state).set(number)
        if expiry := self._kept.first_expiry():
            self._metrics.expiry.set(expiry.timestamp())

    def _bring(self, now: datetime) -> None:
        if self._haproxy.process() is None:
            return
        if self._kept.bring(self._haproxy.runtime, now).needs_reload:
            self._haproxy.reload()
        self._is_brought = True

    def _compare(self) -> None:
        """Compare the names with the hosts where either has changed. That reads all hosts, so it is done now and then."""
        if monotonic() < self._compare_at:
            return
        maps = [path for path in self._maps if path.exists()]
        stamps = tuple(path.stat().st_mtime_ns for path in maps)
        if maps and (stamps != self._compared or not self._compare_at):
            self._kept.check_owners(maps)
            self._compared, self._compare_at = stamps, monotonic() + _COMPARE

    def told(self) -> dict[str, Any]:
        """Return what /status says of certificates."""
        expiry = self._kept.first_expiry()
        remarks = [{"name": each.name, "reason": each.reason, "message": each.message} for each in self._kept.remarks()]
        return {**self._kept.counts(), "expiry": expiry.isoformat() if expiry else None, "remarks": remarks}
