"""One HTTP API, asked within bounds of time and size, with credentials that are read at each question."""

import asyncio
import base64
import json
import ssl
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx2

from shopset.api import redact
from shopset.gates.answers import UnknownError, line
from shopset.gates.targets import Secrets

LARGEST: Final = 32 * 1024 * 1024
"""The most bytes of an answer that are read."""
_LONGEST_WAIT: Final = 60.0


class NoAnswerError(UnknownError):
    """The API did not answer, or not with what it should."""


class Service:
    """An API. It never follows a redirect and takes no proxy and no credentials from the environment."""

    def __init__(self, name: str, url: str, secret: str | None, secrets: Secrets, timeout: timedelta) -> None:
        self._name = name
        self._url = url.rstrip("/")
        self._secret = secret
        self._secrets = secrets
        self._timeout = bounded(timeout)

    async def ask(self, path: str, form: Mapping[str, str] | None = None) -> Any:
        """Return the JSON that a path answers with; a form is posted. Raises NoAnswerError."""
        try:
            async with asyncio.timeout(self._timeout):
                status, body = await self._exchange(path, form)
        except TimeoutError as error:
            raise NoAnswerError(f"{self._name} did not answer within {self._timeout:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError) as error:
            raise NoAnswerError(f"{self._name} does not answer: {_words(error)}") from error
        return self._parsed(status, body)

    async def _exchange(self, path: str, form: Mapping[str, str] | None) -> tuple[int, bytes]:
        headers, verify = self._credentials()
        async with (
            httpx2.AsyncClient(verify=verify, trust_env=False, timeout=self._timeout) as client,
            client.stream("GET" if form is None else "POST", self._url + path, data=form, headers=headers) as response,
        ):
            return response.status_code, await self._read(response)

    async def _read(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes(65536):
            body += chunk
            if len(body) > LARGEST:
                raise NoAnswerError(f"{self._name} answers with more than {LARGEST} bytes")
        return bytes(body)

    def _parsed(self, status: int, body: bytes) -> Any:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise NoAnswerError(f"{self._name} answers {status}, and not with JSON") from error
        if status != 200:
            said = answer.get("error", "") if isinstance(answer, dict) else ""
            raise NoAnswerError(f"{self._name} answers {status} {said}".rstrip())
        return answer

    def _credentials(self) -> tuple[dict[str, str], ssl.SSLContext]:
        """Return headers and trusted CAs as the Secret has them now, so that a rotated one is taken up at once."""
        headers = {"Accept": "application/json"}
        if self._secret is None:
            return headers, trusted()
        try:
            folder = self._secrets(self._secret)
            authority = folder / "ca.crt"
            if not authority.exists() or any((folder / name).exists() for name in ("token", "username")):
                headers["Authorization"] = _authorization(folder)
            return headers, ssl.create_default_context(cafile=authority) if authority.exists() else trusted()
        except (OSError, ValueError, LookupError) as error:
            message = f"the credentials of {self._name}, of Secret {self._secret}, cannot be read"
            raise NoAnswerError(f"{message}: {type(error).__name__}") from error


@cache
def trusted() -> ssl.SSLContext:
    """Return the CAs that the machine trusts."""
    return ssl.create_default_context()


def bounded(timeout: timedelta) -> float:
    """Return seconds that something may take: what is asked for, within reason."""
    return min(max(timeout.total_seconds(), 0.05), _LONGEST_WAIT)


def _authorization(folder: Path) -> str:
    if (folder / "token").exists():
        return f"Bearer {_word(folder / 'token').encode('ascii').decode()}"
    user, password = _word(folder / "username"), _word(folder / "password")
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _word(file: Path) -> str:
    text = file.read_text(encoding="utf-8").strip("\r\n")
    if not text or not text.isprintable():
        raise ValueError(file.name)
    return text


def _words(error: Exception) -> str:
    return line(redact(str(error))) or type(error).__name__
