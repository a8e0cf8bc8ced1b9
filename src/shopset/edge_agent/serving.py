"""What the agent answers over HTTP: whether it lives and is ready, its status, metrics, demand, and pushes."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shopset.core.placement.edges import EdgeShopSet
from shopset.edge.panic import fewest_up
from shopset.edge_agent.agents import Agent
from shopset.edge_agent.looping import Loop
from shopset.edge_agent.metrics import Metrics
from shopset.edge_agent.runtime import Runtime, RuntimeApiError
from shopset.edge_agent.statuses import Mode
from shopset.gitops.webhooks import PATH as WEBHOOK
from shopset.gitops.webhooks import git_webhook

_log = logging.getLogger(__name__)
_SILENCE: Final = timedelta(minutes=5)
"""How long the loop may be at one round before it counts as stuck."""
_FRESH: Final = 1.0
"""Seconds for which an answer of HAProxy about its servers is good enough."""
_TROUBLED: Final = re.compile(r"key=(\S+) .*gpc1_rate\(\d+\)=([1-9]\d*)")


class ShopSets:
    """How HAProxy sees the ShopSets. It is asked when somebody wants to know, and not more than once a second."""

    def __init__(self, agent: Agent, runtime: Runtime, metrics: Metrics) -> None:
        self._agent, self._runtime, self._metrics = agent, runtime, metrics
        self._at = -_FRESH
        self._found: dict[str, dict[str, str]] = {}
        self.trouble = ""
        """What is wrong with all of them together, as they were seen last; empty where nothing is."""

    async def states(self) -> Mapping[str, Mapping[str, str]]:
        """Return ShopSet -> its state (`up`, `down`, `ejected`; `unknown` where HAProxy does not answer), cluster, tier, backend."""
        if monotonic() - self._at > _FRESH:
            self._found = await asyncio.to_thread(self._ask)
            self._at = monotonic()
        return self._found

    def _ask(self) -> dict[str, dict[str, str]]:
        backends = self._agent.backends()
        try:
            up = {server.backend: server.is_up for server in self._runtime.servers() if server.name == "p"}
            troubled = {found[1] for found in _TROUBLED.finditer(self._runtime.ask("show table troubles"))}
        except RuntimeApiError:
            up, troubled = {}, set()
        states = {}
        for name, (shopset, backend) in backends.items():
            state = "unknown" if backend not in up else "ejected" if backend in troubled and up[backend] else "down"
            states[name] = {
                "state": "up" if state == "down" and up[backend] else state,
                "backend": backend,
                **_labels(shopset),
            }
        self._show(backends, states)
        self._judge(states)
        return states

    def _judge(self, states: Mapping[str, Mapping[str, str]]) -> None:
        down = sum(each["state"] == "down" for each in states.values())
        panics = len(states) - down < fewest_up(self._agent.facts)
        told = (
            f"{down} of {len(states)} ShopSets fail its checks, which it does not believe: it tries them all the same"
        )
        self.trouble = told if panics else ""
        self._metrics.panic.set(panics)

    def _show(self, backends: Mapping[str, tuple[EdgeShopSet, str]], states: Mapping[str, Mapping[str, str]]) -> None:
        gauges = (self._metrics.up, self._metrics.ejected, self._metrics.concurrency)
        for gauge in gauges:
            gauge.clear()
        for name, (shopset, _) in backends.items():
            state = states[name]["state"]
            values = (state in {"up", "ejected"}, state == "ejected", shopset.concurrency or 0)
            for gauge, value in zip(gauges, values, strict=True):
                # What nobody knows must not look like a cluster that is down: automatic failover reads this.
                if state != "unknown":
                    gauge.labels(name, shopset.cluster, shopset.tier).set(value)


def make_application(
    agent: Agent,
    loop: Loop,
    shopsets: ShopSets,
    metrics: Metrics,
    *,
    repository: str,
    webhook_secret: Path | None,
    demand: Callable[[], Iterable[bytes]],
    certificates: Callable[[], Mapping[str, Any]],
) -> web.Application:
    """Return the application. Pushes are taken where there is a secret."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(datetime.now(UTC) - loop.beat < _SILENCE)

    async def readyz(_: web.Request) -> web.Response:
        status = agent.status
        return _answer(status.mode is not Mode.WAITING and status.haproxy is not None)

    async def status(_: web.Request) -> web.Response:
        told = agent.status.told() | {"shopsets": await shopsets.states(), "certificates": certificates()}
        told["troubles"] += [shopsets.trouble] if shopsets.trouble else []
        return web.json_response(told)

    async def show_metrics(_: web.Request) -> web.Response:
        await shopsets.states()
        body = await asyncio.to_thread(generate_latest, metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def show_demand(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await answer.prepare(request)
        for piece in demand():
            await answer.write(piece)
        await answer.write_eof()
        return answer

    application = web.Application()
    for path, handler in (
        ("/healthz", healthz),
        ("/readyz", readyz),
        ("/status", status),
        ("/metrics", show_metrics),
        ("/demand", show_demand),
    ):
        application.router.add_get(path, handler)
    if webhook_secret is not None:
        handle = git_webhook(webhook_secret, lambda: {"system": repository}, loop.wake)
        application.router.add_post(WEBHOOK, handle)
    return application


@asynccontextmanager
async def serving(application: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Answer until the block ends; yields the port."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answer(good: bool) -> web.Response:
    return web.Response(text="ok") if good else web.Response(text="not ok", status=503)


def _labels(shopset: EdgeShopSet) -> dict[str, str]:
    return {"cluster": shopset.cluster, "tier": shopset.tier, "endpoint": shopset.endpoint}
