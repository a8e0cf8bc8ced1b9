"""Secrets with certificates, followed at an API server. It is the only thing for which an edge asks one, and it may be away."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Never

import httpx2
from lightkube import AsyncClient

from shopset.kube.certificates import SecretCertificates, collection
from shopset.kube.clients import connect
from shopset.kube.following import Follower

_TIMEOUT: Final = 30.0
"""Seconds of one call."""


@dataclass(frozen=True)
class Secrets:
    """Which Secrets, and how their API server is reached: as kubectl does, or, in a Pod, by its ServiceAccount."""

    namespace: str
    labels: Mapping[str, str | None] = field(default_factory=dict)
    """None is any value."""
    kubeconfig: str | None = None
    context: str | None = None


def parse_labels(text: str) -> dict[str, str | None]:
    """Read labels as in `shopset.dev/edge=public,certificates`."""
    pairs = (each.strip().partition("=") for each in text.split(",") if each.strip())
    return {key: value if mark else None for key, mark, value in pairs}


def api_server(secrets: Secrets) -> AsyncClient:
    """Return a connection to their API server, which is not asked anything yet. Raises KubeError where nothing says which."""
    with connect(secrets.kubeconfig, secrets.context) as client:
        return AsyncClient(client.config, timeout=httpx2.Timeout(_TIMEOUT))


async def follow(client: AsyncClient, secrets: Secrets, found: SecretCertificates, news: Callable[[], None]) -> Never:
    """Tell of the Secrets until cancelled; the connection ends then."""
    try:
        await Follower(client, collection(secrets.namespace, secrets.labels), found, news).run()
    finally:
        await client.close()
