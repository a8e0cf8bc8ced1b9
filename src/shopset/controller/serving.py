"""What the controller answers over HTTP: whether it lives and is ready, its metrics, pushes, and what the API server asks."""

import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shopset.gitops.webhooks import make_application

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ports:
    """Where each listens; 0 leaves the choice to the system, None does without."""

    host: str = "0.0.0.0"  # noqa: S104  # in a Pod; a NetworkPolicy says who reaches it
    health: int | None = 8080
    metrics: int | None = 9090
    webhook: int | None = None
    admission: int | None = None


async def serve_health(
    stack: AsyncExitStack, ports: Ports, lives: Callable[[], bool], ready: Callable[[], bool]
) -> None:
    """Answer /healthz and /readyz until the stack is closed."""
    if ports.health is None:
        return
    application = web.Application()
    for path, check in (("/healthz", lives), ("/readyz", ready)):
        application.router.add_get(path, _checking(check))
    await _serve(stack, application, ports.host, ports.health)


async def serve_metrics(stack: AsyncExitStack, ports: Ports, registry: CollectorRegistry) -> None:
    """Answer /metrics until the stack is closed."""
    if ports.metrics is None:
        return

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/metrics", show)
    await _serve(stack, application, ports.host, ports.metrics)


async def serve_webhook(
    stack: AsyncExitStack,
    ports: Ports,
    secret: Path,
    watched: Callable[[], Mapping[str, str]],
    wake: Callable[[str], None],
) -> None:
    """Take pushes until the stack is closed."""
    if ports.webhook is not None:
        await _serve(stack, make_application(secret, watched, wake), ports.host, ports.webhook)


async def serve_admission(stack: AsyncExitStack, ports: Ports, certificate: Path, application: web.Application) -> None:
    """Answer the API server until the stack is closed, over TLS: it asks nobody else.

    `certificate` is a folder with `tls.crt` and `tls.key`, as a Secret of type kubernetes.io/tls is mounted.
    """
    if ports.admission is not None:
        await _serve(stack, application, ports.host, ports.admission, _renewing(certificate))


def _renewing(certificate: Path) -> ssl.SSLContext:
    """Return a context for whose every connection the certificate is read anew, so that it may come late and be rotated."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def renew(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            fresh.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
        except OSError as error:
            _log.warning("the API server cannot be answered: tls.crt and tls.key in %s: %s", certificate, error)
        connection.context = fresh

    context.sni_callback = renew
    return context


def _checking(check: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok") if check() else web.Response(text="not ok", status=503)

    return answer


async def _serve(
    stack: AsyncExitStack, application: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None
) -> None:
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port, ssl_context=tls).start()
