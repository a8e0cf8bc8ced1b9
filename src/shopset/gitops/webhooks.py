"""Webhooks of git servers: a push wakes a look, so that nobody waits for the next poll.

Nothing in a webhook is acted on. What it says decides only whether somebody looks at git now: a forged or a repeated
one costs one look, and one that never comes costs the wait for the poll.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from aiohttp import web

PATH: Final = "/webhooks/git"
MAX_BODY: Final = 5 << 20
"""Bytes. Longer lists of commits are cut short by the servers themselves."""
MAX_SECONDS: Final = 10.0
"""Within which a body has to arrive."""
_SCP_LIKE: Final = re.compile(r"(?:[^/@:]+@)?(?P<host>[^/@:]+|\[[^\]/]+\]):(?P<path>.+)")
_URL_FIELDS: Final = (
    "clone_url",
    "ssh_url",
    "git_url",
    "html_url",
    "git_http_url",
    "git_ssh_url",
    "http_url",
    "web_url",
    "url",
)
_log = logging.getLogger(__name__)


class Provider(StrEnum):
    """Whose webhook it is."""

    GITHUB = "GitHub"
    GITLAB = "GitLab"
    GENERIC = "generic"


_PROOFS: Final = {
    Provider.GITHUB: "x-hub-signature-256",
    Provider.GITLAB: "x-gitlab-token",
    Provider.GENERIC: "x-shopset-signature-256",
}
_EVENTS: Final = {Provider.GITHUB: "x-github-event", Provider.GENERIC: "x-shopset-event"}

# -- pure


def verify(headers: Mapping[str, str], body: bytes, secret: bytes) -> Provider | None:
    """Return who sent it; None where nothing shows that the sender knows the secret. An empty secret is known to nobody.

    GitHub, Gitea and Forgejo sign the body in X-Hub-Signature-256 (`sha256=<HMAC in hex>`), GitLab repeats the secret in
    X-Gitlab-Token, and whoever has neither, a post-receive hook with curl for instance, signs it as GitHub does in
    X-Shopset-Signature-256. Where several are there, each has to be right.
    """
    given = {name.lower(): value for name, value in headers.items()}
    signature = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}".encode()
    shown = {provider: given[header] for provider, header in _PROOFS.items() if header in given}
    right = [
        hmac.compare_digest(
            value.encode(errors="surrogateescape"), secret if provider is Provider.GITLAB else signature
        )
        for provider, value in shown.items()
    ]
    return next(iter(shown)) if secret and right and all(right) else None


def is_ping(headers: Mapping[str, str], provider: Provider) -> bool:
    """Whether it only asks if somebody listens. GitLab has no such event: its test button sends a push."""
    given = {name.lower(): value for name, value in headers.items()}
    return given.get(_EVENTS.get(provider, ""), "") == "ping"


def repositories(payload: Any) -> frozenset[str]:
    """Return the URLs by which a payload names repositories, whoever sent it: none where it has another shape.

    GitHub and GitLab describe one in `repository` and `project`; a generic sender writes a URL to `repository`, or several
    to `repositories`.
    """
    return frozenset(_urls(payload)) if isinstance(payload, Mapping) else frozenset()


def _urls(payload: Mapping[str, Any]) -> Iterator[str]:
    several = payload.get("repositories")
    named = [payload.get("repository"), payload.get("project"), *(several if isinstance(several, list) else [])]
    for each in named:
        found = [each.get(field) for field in _URL_FIELDS] if isinstance(each, Mapping) else [each]
        yield from (url for url in found if isinstance(url, str))


def normalised(url: str) -> tuple[str, str] | None:
    """Return host and path of a repository, the same for all of its URLs; None where there is none.

    `git@Git.example.com:team/apps.git`, `ssh://git@git.example.com:2222/team/apps` and
    `https://git.example.com/team/apps.git` are the same repository; so scheme, user and port do not count.
    """
    if "://" not in url:
        match = _SCP_LIKE.fullmatch(url)
        host, path = (match["host"].strip("[]"), match["path"]) if match else ("", url)
    else:
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        host, path = parts.hostname or "", unquote(parts.path)
    path = path.strip("/").removesuffix(".git").rstrip("/")
    return (host.lower(), path) if path else None


def touched(payload: Any, watched: Mapping[str, str]) -> tuple[str, ...]:
    """Return which of the watched repositories (name -> URL) a payload names, sorted."""
    named = {normalised(url) for url in repositories(payload)} - {None}
    return tuple(sorted(name for name, url in watched.items() if normalised(url) in named))


# -- HTTP


def git_webhook(
    secret: Path,
    watched: Callable[[], Mapping[str, str]],
    wake: Callable[[str], None],
    max_body: int = MAX_BODY,
    max_seconds: float = MAX_SECONDS,
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler of POST requests.

    `secret` is a file, read at each request, so that it may be rotated; blanks around it do not count. `watched` returns
    the Platform's repositories, name -> URL. `wake(reason)` must return at once; the reason holds nothing that was sent.
    Answers 202, and 200 to a ping; 400 not JSON, 401 wrong signature, 408 too slow, 413 too large, 503 no secret to be had.
    """

    async def handle(request: web.Request) -> web.Response:
        body = await _read(request, max_body, max_seconds)
        provider = verify(request.headers, body, _read_secret(secret))
        if provider is None:
            raise web.HTTPUnauthorized
        payload = _parse(body)
        names = touched(payload, watched())
        if is_ping(request.headers, provider):
            return web.Response(text=f"pong: {', '.join(names) or 'not a repository of this fleet'}\n")
        if names:
            wake(f"{provider} told of a push to {', '.join(names)}")
        return web.Response(status=202, text=f"{', '.join(names) or 'not a repository of this fleet'}\n")

    return handle


def make_application(
    secret: Path,
    watched: Callable[[], Mapping[str, str]],
    wake: Callable[[str], None],
    max_body: int = MAX_BODY,
    max_seconds: float = MAX_SECONDS,
) -> web.Application:
    """Return an application with the handler at PATH; other methods are answered with 405."""
    application = web.Application()
    application.router.add_post(PATH, git_webhook(secret, watched, wake, max_body, max_seconds))
    return application


async def _read(request: web.Request, most: int, seconds: float) -> bytes:
    """Read the body, but no more than is allowed, so that nobody without the secret fills the memory."""
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(most, request.content_length or 0)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > most:
                    raise web.HTTPRequestEntityTooLarge(most, len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    return bytes(body)


def _read_secret(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        _log.warning("git webhooks are refused: %s: %s", path, error.strerror)
        raise web.HTTPServiceUnavailable from error


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(
            text="the body is not JSON: set the webhook's content type to application/json\n"
        ) from None
