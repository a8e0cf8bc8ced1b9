"""Watching the API server: what it tells goes to the stores, and wakes the loop where it is news.

kopf watches what the fleet is made of; its handlers of events write nothing to the objects that they watch. Not so the
Shops: kopf keeps a task and a memory for each object, which is much for 50,000.
"""

import asyncio
from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Never

import httpx2
import kopf
from lightkube import AsyncClient, Client

from shopset.api import API_GROUP, Shop
from shopset.controller.objects import Objects
from shopset.controller.shops import Shops
from shopset.kube.applications import SELECTOR
from shopset.kube.clients import APPLICATION, PLURALS, RESOURCES, Manifest
from shopset.kube.fleets import FLEET_KINDS
from shopset.kube.following import Collection, Follower, Sink
from shopset.kube.stores import Store

_SERVER_TIMEOUT: Final = 120
"""Seconds after which the API server ends a watch, so that one that has gone silent does not stay so (kopf#585)."""
_REQUEST_TIMEOUT: Final = 30
"""Seconds."""
_LOOK: Final = 1.0
"""Seconds between two looks at which clusters there are."""


def make_registry(objects: Objects, hurry: Callable[[str], None], wake: Callable[[str], None]) -> kopf.OperatorRegistry:
    """Return the handlers: each event of the fleet's kinds, which people change, and of shopset's Applications."""
    registry = kopf.OperatorRegistry()
    for kind in FLEET_KINDS:
        kopf.on.event(API_GROUP, "v1alpha1", PLURALS[kind], id=kind, registry=registry)(
            _taking(objects.fleet, hurry, objects.namespace)
        )
    if not objects.has_argocd_per_cluster:
        labels = dict[str, Any](SELECTOR)
        kopf.on.event("argoproj.io", "v1alpha1", "applications", id="applications", labels=labels, registry=registry)(
            _taking(objects.applications, wake, objects.argocd_namespace)
        )
    kopf.on.login(id="login", registry=registry)(_logging_in(objects.client))
    return registry


def make_settings() -> kopf.OperatorSettings:
    """Return kopf's settings for a process that only listens."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.server_timeout = _SERVER_TIMEOUT
    settings.watching.client_timeout = _SERVER_TIMEOUT + 30
    settings.networking.request_timeout = _REQUEST_TIMEOUT
    settings.scanning.disabled = True
    return settings


async def watch(
    objects: Objects, hurry: Callable[[str], None], wake: Callable[[str], None], ready: asyncio.Event
) -> None:
    """Watch until cancelled. Raises where a watch cannot go on: a controller that is blind must end."""
    await kopf.operator(
        registry=make_registry(objects, hurry, wake),
        settings=make_settings(),
        namespaces=sorted(
            {objects.namespace} | (set() if objects.has_argocd_per_cluster else {objects.argocd_namespace})
        ),
        standalone=True,
        ready_flag=ready,
    )


async def watch_shops(objects: Objects, wake: Callable[[str], None]) -> Never:
    """Watch the Shops until cancelled."""
    news = partial(wake, "a Shop")
    await _follow(
        objects.client, Collection(RESOURCES[Shop.__name__], objects.namespace), _Placeable(objects.shops), news
    )


async def watch_members(objects: Objects, wake: Callable[[str], None]) -> Never:
    """Watch the Applications of the clusters that have an Argo CD each, until cancelled. Raises what a watch ended by."""
    applications = Collection(APPLICATION, objects.argocd_namespace, SELECTOR)
    watches: dict[Store, asyncio.Task[Never]] = {}
    try:
        while True:
            wanted = objects.members.watched()
            for store in watches.keys() - wanted.keys():
                watches.pop(store).cancel()
            for store in wanted.keys() - watches.keys():
                news = partial(wake, "an Application")
                watches[store] = asyncio.create_task(_follow(wanted[store], applications, store, news))
            await asyncio.sleep(_LOOK)
            for each in watches.values():
                if each.done():
                    each.result()
    finally:
        for each in watches.values():
            each.cancel()
        await asyncio.gather(*watches.values(), return_exceptions=True)


async def _follow(client: Client, of: Collection, sink: Sink, news: Callable[[], None]) -> Never:
    same = AsyncClient(client.config, timeout=httpx2.Timeout(_REQUEST_TIMEOUT))
    try:
        await Follower(same, of, sink, news).run()
    finally:
        await same.close()


@dataclass(frozen=True)
class _Placeable:
    """Takes note of Shops; besides what is to be told of one, it is news that one is to be placed."""

    shops: Shops

    def put(self, manifest: Manifest) -> bool:
        """Take note of a Shop as it is now."""
        return self._is_news(lambda: self.shops.put(manifest))

    def remove(self, manifest: Manifest) -> bool:
        """Take note that a Shop is gone."""
        return self._is_news(lambda: self.shops.remove(manifest))

    def retain(self, names: Set[str]) -> bool:
        """Take note that there are no other Shops than these; now they may be placed."""
        complete = self.shops.is_complete
        return self._is_news(lambda: self.shops.retain(names)) or not complete

    def _is_news(self, take: Callable[[], bool]) -> bool:
        edition = self.shops.edition
        return take() or self.shops.edition != edition


def _taking(store: Store, wake: Callable[[str], None], namespace: str) -> Callable[..., Any]:
    # kopf watches every kind in all namespaces that it is told of.
    async def take(event: kopf.RawEvent, **_: Any) -> None:
        manifest: dict[str, Any] = dict(event["object"])
        if manifest["metadata"].get("namespace") != namespace:
            return
        news = store.remove(manifest) if event["type"] == "DELETED" else store.put(manifest)
        if news:
            wake(f"{manifest['kind']}/{manifest['metadata']['name']} {event['type'] or 'is there'}")

    return take


def _logging_in(client: Client) -> Callable[..., Any]:
    """Let kopf connect as the client does."""

    def log_in(**_: Any) -> kopf.ConnectionInfo:
        config = client.config
        cluster, user = config.cluster, config.user
        token = user.token if user else None
        if user is not None and user.token_file:
            # A ServiceAccount's token is renewed on disk.
            with open(user.token_file, encoding="ascii") as file:  # noqa: PTH123  # kubeconfigs may name it relatively
                token = file.read().strip()
        return kopf.ConnectionInfo(
            server=cluster.server,
            ca_path=str(config.abs_file(cluster.certificate_auth)) if cluster.certificate_auth else None,
            ca_data=cluster.certificate_auth_data,
            insecure=cluster.insecure,
            token=token,
            username=user.username if user else None,
            password=user.password if user else None,
            certificate_path=str(config.abs_file(user.client_cert)) if user and user.client_cert else None,
            certificate_data=user.client_cert_data if user else None,
            private_key_path=str(config.abs_file(user.client_key)) if user and user.client_key else None,
            private_key_data=user.client_key_data if user else None,
        )

    return log_in
