"""Following the objects of a kind that has very many: listed page by page, then watched, and none is kept here."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Never, Protocol

from lightkube import AsyncClient
from lightkube.generic_resource import GenericNamespacedResource

from shopset.kube.clients import GoneError, KubeError, Manifest, asking

_log = logging.getLogger(__name__)
_PAGE: Final = 500
"""Objects of one answer."""
_SERVER_TIMEOUT: Final = 120
"""Seconds after which the API server ends a watch."""
_SILENCE: Final = 150.0
"""Seconds without any news after which a watch is begun anew: it may have gone silent without being closed."""
_PAUSE: Final = 2.0
"""Seconds before the API server is asked again."""


@dataclass(frozen=True)
class Collection:
    """The objects of one kind in a namespace, all or those with some labels and fields."""

    resource: type[GenericNamespacedResource]
    namespace: str
    labels: Mapping[str, str | None] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """Takes note of objects. Each method returns whether that is news."""

    def put(self, manifest: Manifest) -> bool:
        """Take note of an object as it is now."""

    def remove(self, manifest: Manifest) -> bool:
        """Take note that an object is gone."""

    def retain(self, names: Set[str]) -> bool:
        """Take note that there are no others than these."""


class Follower:
    """Tells a sink of all objects of a collection, and calls `news` where the sink says that it is some."""

    def __init__(self, client: AsyncClient, of: Collection, sink: Sink, news: Callable[[], None]) -> None:
        self._client = client
        self._of = of
        self._sink = sink
        self._news = news
        self._trouble = ""
        """What was complained of last."""
        self._version = ""
        """Up to which all is known; empty where it is to be listed."""

    async def run(self) -> Never:
        """Follow until cancelled. Where the API server does not answer, it is asked again."""
        while True:
            try:
                with asking(f"{self._of.resource.__name__} cannot be watched"):
                    if not self._version:
                        await self._list()
                    await self._watch()
            except GoneError:
                self._version = ""
            except KubeError as error:
                self._complain(str(error))
            await asyncio.sleep(_PAUSE)

    async def _list(self) -> None:
        names = set()
        found = self._client.list(
            self._of.resource,
            namespace=self._of.namespace,
            labels={**self._of.labels},
            fields={**self._of.fields},
            chunk_size=_PAGE,
        )
        async for manifest in found:
            names.add(manifest["metadata"]["name"])
            self._told(self._sink.put(manifest))
        self._told(self._sink.retain(names))
        self._version = found.resourceVersion

    async def _watch(self) -> None:
        """Watch until nothing is heard."""
        events = aiter(
            self._client.watch(
                self._of.resource,
                namespace=self._of.namespace,
                labels={**self._of.labels},
                fields={**self._of.fields},
                server_timeout=_SERVER_TIMEOUT,
                resource_version=self._version,
            )
        )
        while True:
            try:
                async with asyncio.timeout(_SILENCE):
                    event, manifest = await anext(events)
            except TimeoutError:
                return
            self._told(self._sink.remove(manifest) if event == "DELETED" else self._sink.put(manifest))
            self._version = manifest["metadata"]["resourceVersion"]
            self._trouble = ""

    def _told(self, is_news: bool) -> None:
        if is_news:
            self._news()

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble
