"""The admission webhook's certificate, on real connections: it may come late and be rotated, and nothing is started again."""

import asyncio
import logging
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession, web

from shopset.controller.serving import Ports, serve_admission
from support.certificates import issue, make_authority
from testbed.programs import free_ports


def ask(folder: Path, *authorities: Path) -> list[bool]:
    """Return whether each authority's client gets an answer, before a certificate is there and after each is issued."""
    return asyncio.run(_ask(folder, authorities))


async def _ask(folder: Path, authorities: tuple[Path, ...]) -> list[bool]:
    application = web.Application()
    application.router.add_get("/", _answer)
    (port,) = free_ports(1)
    async with AsyncExitStack() as stack:
        await serve_admission(stack, Ports("127.0.0.1", None, None, None, port), folder, application)
        found = [await _trusts(port, authorities[0])]
        for authority in authorities:
            await asyncio.to_thread(issue, authority, folder)
            found += [await _trusts(port, each) for each in authorities]
    return found


async def _answer(_: web.Request) -> web.Response:
    return web.Response()


async def _trusts(port: int, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=str(authority))
    try:
        async with ClientSession() as session, session.get(f"https://127.0.0.1:{port}/", ssl=context) as answer:
            return answer.status == 200
    except ClientConnectorError:
        return False


def test_the_certificate_is_read_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, other = make_authority(tmp_path / "one"), make_authority(tmp_path / "other")
    with caplog.at_level(logging.WARNING):
        assert ask(tmp_path / "certificate", one, other) == [False, True, False, False, True]
    (told,) = [each.message for each in caplog.records if each.name == "shopset.controller.serving"]
    assert "tls.crt and tls.key" in told


def test_a_key_that_does_not_belong_to_the_certificate_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = make_authority(tmp_path / "authority")
    issue(authority, tmp_path / "certificate")
    (tmp_path / "certificate" / "tls.key").write_bytes((tmp_path / "authority" / "ca.key").read_bytes())
    with caplog.at_level(logging.WARNING):
        assert ask(tmp_path / "certificate", authority) == [False, True]
    assert "the API server cannot be answered" in caplog.text
