"""Asking the agents of edges, all at once, what they applied and what they see."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from shopset.api import InvalidValueError
from shopset.api.urls import check_endpoint
from shopset.core.release.refusals import RequestRefusedError
from shopset.gates.services import NoAnswerError, Service

_PATH: Final = "/status"


@dataclass(frozen=True)
class Agent:
    """One edge as its agent tells of it; a trouble where it does not."""

    url: str
    told: Mapping[str, Any]
    trouble: str = ""

    @property
    def name(self) -> str:
        """The address, which is how people tell edges apart."""
        return urlsplit(self.url).netloc

    def text(self, key: str) -> str:
        """Return a text that it told; empty where it did not."""
        found = self.told.get(key)
        return found if isinstance(found, str) else ""

    def number(self, key: str) -> int | None:
        """Return a number that it told."""
        found = self.told.get(key)
        return found if isinstance(found, int) else None

    def texts(self, key: str) -> list[str]:
        """Return the texts of a list that it told."""
        found = self.told.get(key)
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []

    def part(self, key: str) -> Mapping[str, Any]:
        """Return an object that it told; empty where it did not."""
        found = self.told.get(key)
        return found if isinstance(found, dict) else {}

    def moment(self, key: str) -> datetime | None:
        """Return a time that it told."""
        return moment_of(self.told.get(key))


def moment_of(told: object) -> datetime | None:
    """Return the time that a text is; None for anything else."""
    try:
        found = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo else None


def ask_agents(urls: Sequence[str], timeout: float) -> list[Agent]:
    """Ask each agent for its status within `timeout` seconds; the answers are in the order of the URLs."""
    for url in urls:
        try:
            check_endpoint(url)
        except InvalidValueError as error:
            raise RequestRefusedError(
                f"{url!r} is no URL of an agent: write one as in http://edge-1.example.com:8405"
            ) from error
    return asyncio.run(_ask_all(urls, timedelta(seconds=timeout)))


async def _ask_all(urls: Sequence[str], timeout: timedelta) -> list[Agent]:
    return list(await asyncio.gather(*(_ask(url, timeout) for url in urls)))


async def _ask(url: str, timeout: timedelta) -> Agent:
    # No agent asks for credentials, so there is no Secret to look into.
    service = Service("the agent", url, None, Path, timeout)
    try:
        told = await service.ask(_PATH)
    except NoAnswerError as error:
        return Agent(url, {}, str(error))
    return Agent(url, told) if isinstance(told, dict) else Agent(url, {}, "the agent answers with no status")
