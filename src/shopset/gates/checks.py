"""Gates of HTTP checks: each ShopSet answers now with 2xx, in time. What it answers with is not read."""

import asyncio
from collections.abc import Sequence
from typing import Final

import httpx2

from shopset.api.gates import HttpGate
from shopset.core.errors import ShopsetError
from shopset.core.release.observed import GateReading
from shopset.gates.answers import failed, line, passed
from shopset.gates.services import bounded, trusted
from shopset.gates.targets import Target

_AT_ONCE: Final = 32
_ATTEMPTS: Final = 2
_PAUSE: Final = 0.5


class CheckFailedError(ShopsetError):
    """A ShopSet did not answer as it should."""


async def read_http(gate: HttpGate, tier: str, targets: Sequence[Target]) -> GateReading:
    """Read a gate of HTTP checks. The first that fails ends the others."""
    urls = sorted({url_for(gate, tier, target) for target in targets})
    limit = asyncio.Semaphore(_AT_ONCE)
    timeout = bounded(gate.timeout)
    problems: list[str] = []
    try:
        async with (
            httpx2.AsyncClient(verify=trusted(), trust_env=False, timeout=timeout) as client,
            asyncio.TaskGroup() as group,
        ):
            for url in urls:
                group.create_task(_check(client, url, timeout, limit))
    except* CheckFailedError as errors:
        problems.extend(map(str, errors.exceptions))
    if problems:
        return failed(min(problems))
    return passed(f"{urls[0]} answers{f', and {len(urls) - 1} more' if len(urls) > 1 else ''}")


def url_for(gate: HttpGate, tier: str, target: Target) -> str:
    """Return what is asked for of one ShopSet."""
    return gate.url.format(tier=tier, shopset=target.shopset, namespace=target.namespace, cluster=target.cluster)


async def _check(client: httpx2.AsyncClient, url: str, timeout: float, limit: asyncio.Semaphore) -> None:
    """Check one URL, twice before it fails. Raises CheckFailedError."""
    async with limit:
        problem = ""
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(_PAUSE * attempt)
            problem = await _problem(client, url, timeout)
            if not problem:
                return
        raise CheckFailedError(f"{url} {problem}")


async def _problem(client: httpx2.AsyncClient, url: str, timeout: float) -> str:
    try:
        async with asyncio.timeout(timeout), client.stream("GET", url) as response:
            if response.is_success:
                return ""
            return f"answers {response.status_code}{', and redirects are not followed' if response.has_redirect_location else ''}"
    except TimeoutError:
        return f"did not answer within {timeout:g} s"
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"does not answer: {line(str(error)) or type(error).__name__}"
