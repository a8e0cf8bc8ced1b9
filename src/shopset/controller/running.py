"""The controller as one process: the watches, the loop, the Lease and what is served, and how they end together."""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Final

from lightkube import Client

from shopset.controller.admission import make_application
from shopset.controller.looping import Loop
from shopset.controller.metrics import Metrics
from shopset.controller.objects import Objects
from shopset.controller.serving import Ports, serve_admission, serve_health, serve_metrics, serve_webhook
from shopset.controller.settings import Settings
from shopset.controller.watching import watch, watch_members, watch_shops
from shopset.kube.clients import KubeError
from shopset.kube.leases import Lease, Terms, new_identity

_log = logging.getLogger(__name__)
LEASE_NAME: Final = "shopset-controller"
_FIRST_TRIES: Final = 30
_SILENCE: Final = timedelta(minutes=10)
"""How long the loop may be at one round before it counts as stuck."""
_LAST_ACTION: Final = 90.0
"""Seconds that the action which is being done may take when the controller is told to end."""


@dataclass(frozen=True)
class Election:
    """How replicas find out who acts. The client's timeout is no longer than `terms.retry`."""

    client: Client
    terms: Terms


async def run(
    client: Client,
    settings: Settings,
    ports: Ports,
    election: Election | None,
    webhook_secret: Path | None,
    admission_certificate: Path | None,
) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code. Without an election, this is the only replica."""
    metrics, objects = Metrics(), Objects(client, settings.namespace)
    stop_lease, ended = Event(), asyncio.Event()
    lease = None
    if election is not None:
        lease = Lease(election.client, settings.namespace, LEASE_NAME, new_identity(), election.terms, _led)
    loop = Loop(objects, settings, metrics, (lambda: True) if lease is None else (lambda: lease.held))
    metrics.leads.set_function((lambda: 1.0) if lease is None else (lambda: float(lease.held)))
    for wanted in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(wanted, ended.set)
    await _list_first(objects, ended)
    threads = [Thread(target=loop.run, name="loop", daemon=True)]
    if lease is not None:
        threads.append(Thread(target=lease.run, args=(stop_lease,), name="lease", daemon=True))
    watching_ready = asyncio.Event()
    async with AsyncExitStack() as stack:
        await serve_health(
            stack,
            ports,
            lambda: all(each.is_alive() for each in threads) and datetime.now(UTC) - loop.beat < _SILENCE,
            lambda: loop.is_ready and watching_ready.is_set() and objects.shops.is_complete,
        )
        await serve_metrics(stack, ports, metrics.registry)
        if webhook_secret is not None:
            await serve_webhook(stack, ports, webhook_secret, lambda: objects.repositories, loop.look)
        if admission_certificate is not None:
            await serve_admission(stack, ports, admission_certificate, make_application(objects, metrics))
        for thread in threads:
            thread.start()
        watching = (
            asyncio.create_task(watch(objects, loop.hurry, loop.wake, watching_ready)),
            asyncio.create_task(watch_shops(objects, loop.wake)),
            asyncio.create_task(watch_members(objects, loop.wake)),
        )
        stopping = asyncio.create_task(ended.wait())
        await asyncio.wait({*watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        # kopf takes SIGTERM too, and then ends its watches in peace.
        blind = [error for each in watching if each.done() and (error := each.exception()) is not None]
        for error in blind:
            _log.error("a watch ended", exc_info=error)
        _log.info("ending: %s", "it cannot see any more" if blind else "told to")
        # The action that is being done is done to its end, and only then another replica may take over.
        loop.stop()
        await asyncio.to_thread(threads[0].join, _LAST_ACTION)
        stop_lease.set()
        for thread in threads[1:]:
            await asyncio.to_thread(thread.join, 5.0)
        for task in (*watching, stopping):
            task.cancel()
        await asyncio.gather(*watching, stopping, return_exceptions=True)
    return 1 if blind else 0


async def _list_first(objects: Objects, ended: asyncio.Event) -> None:
    """Read everything, before which nothing is known, not even Argo CD's namespace. Raises KubeError after some tries."""
    for attempt in range(_FIRST_TRIES):
        try:
            await asyncio.to_thread(objects.list_all)
        except KubeError as error:
            # An API server that has just learnt of the kinds is not ready for them yet.
            if ended.is_set() or attempt == _FIRST_TRIES - 1:
                raise
            _log.warning("%s", error)
            await asyncio.sleep(1.0)
        else:
            return


def _led(held: bool) -> None:  # the shape that a Lease calls
    _log.info("this replica %s", "leads" if held else "does not lead")
