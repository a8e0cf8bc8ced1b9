"""What a request and its answer carry through an edge, on real HAProxy: headers, bodies, WebSockets and the access log."""

import base64
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeShopSet
from support.certificates import certificate, issue, make_authority
from support.edges import PATIENT, Answer, Edge, edge, facts_of, shop
from support.haproxies import haproxy
from support.origins import Origin, origins

__all__ = ["haproxy"]
SHOPS = (shop("hoge", "standard#"),)
HOST = "hoge.example.com"


@contextmanager
def _edge(program: str, **place: Any) -> Iterator[tuple[Edge, dict[str, Origin]]]:
    with origins("a-1", "b-1") as shopsets:
        facts = facts_of(shopsets, EdgeClass("standard", replicas=2))
        with edge(program, facts, {"standard#": ("a-1", "b-1")}, SHOPS, **place) as it:
            yield it, shopsets


def _received(answer: Answer) -> dict[str, list[str]]:
    """Return the headers that the ShopSet says it received, by name."""
    headers: dict[str, list[str]] = {}
    for name, value in json.loads(answer.body)["headers"]:
        headers.setdefault(name.lower(), []).append(value)
    return headers


FORGED = (
    ("X-Forwarded-For", "10.9.9.9"),
    ("X-Forwarded-For", "10.9.9.8"),
    ("x-forwarded-proto", "https"),
    ("X-Forwarded-Host", "other.example.com"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Prefix", "/admin"),
    ("Forwarded", "for=10.9.9.9;host=other.example.com"),
    ("X-Real-IP", "10.9.9.9"),
    ("Proxy", "http://10.9.9.9"),
    ("X-Edge-By", "1:b-1"),
)
TRACE = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


def test_headers(haproxy: str) -> None:
    with _edge(haproxy) as (it, shopsets):
        received = _received(it.get(HOST, headers=[*FORGED, TRACE], source="127.0.0.9"))
        assert received["x-forwarded-for"] == ["127.0.0.9"]
        assert received["x-forwarded-proto"] == ["http"]
        assert received["traceparent"] == [TRACE[1]]
        assert received["host"] == [HOST]
        told = {"x-forwarded-for", "x-forwarded-proto", "x-request-id"}
        gone = {name.lower() for name, _ in FORGED} - told - {"x-edge-by"}
        assert not gone & received.keys()
        assert len(received["x-request-id"]) == 1

        # A request id is kept where it is one.
        for given, kept in (
            ("abcdef0123456789", True),
            ("a" * 200, False),
            ("<script>alert()", False),
            ("short", False),
        ):
            identity = _received(it.get(HOST, headers=[("X-Request-ID", given)]))["x-request-id"]
            assert (identity == [given]) is kept
            assert re.fullmatch(r"[A-Za-z0-9._-]{8,128}", identity[0])

        # The second ShopSet is told the same, and the shopper nothing about who it was.
        shopsets["a-1"].behave("reset")
        answer = it.get(HOST, headers=[*FORGED, TRACE], source="127.0.0.9")
        assert answer.told == (200, "b-1")
        received = _received(answer)
        assert received["x-forwarded-for"] == ["127.0.0.9"]
        assert not gone & received.keys()
        assert "x-edge-by" not in answer.headers


def test_trusted_proxies(haproxy: str) -> None:
    with _edge(haproxy, trusted_proxies=("127.0.0.7", "127.0.1.0/24")) as (it, _):
        headers = [("X-Forwarded-For", "192.0.2.1, 192.0.2.2"), ("X-Forwarded-Proto", "https")]
        trusted = _received(it.get(HOST, headers=headers, source="127.0.1.5"))
        assert trusted["x-forwarded-for"] == ["192.0.2.1, 192.0.2.2"]
        assert trusted["x-forwarded-proto"] == ["https"]
        other = _received(it.get(HOST, headers=headers, source="127.0.0.8"))
        assert other["x-forwarded-for"] == ["127.0.0.8"]
        assert other["x-forwarded-proto"] == ["http"]


def test_shopsets_with_https(haproxy: str, tmp_path: Path) -> None:
    """One whose certificate no authority of ours signed is none."""
    authority = make_authority(tmp_path / "ca")
    issue(authority, tmp_path / "signed")
    signed, own = tmp_path / "signed.pem", tmp_path / "own.pem"
    signed.write_text("".join((tmp_path / "signed" / name).read_text() for name in ("tls.crt", "tls.key")))
    own.write_text(certificate("a-1.example.com"))
    with origins("b-1", certificate=signed) as good, origins("a-1", certificate=own) as bad:
        shopsets = {name: EdgeShopSet(name, f"https://{each.address}") for name, each in (good | bad).items()}
        facts = EdgeFacts(PATIENT, shopsets, {"standard": EdgeClass("standard", replicas=2)})
        lists = {"standard#": ("a-1", "b-1")}
        with edge(haproxy, facts, lists, SHOPS, up=False, authorities=str(authority)) as it:
            it.wait("UP", "b-1")
            it.wait("DOWN", "a-1")
            assert it.get(HOST).told == (200, "b-1")


def test_large_uploads(haproxy: str) -> None:
    body = os.urandom(1 << 20) * 20
    with _edge(haproxy) as (it, _):
        answer = it.request("POST", HOST, "/upload", body=body)
        assert answer.told == (200, "a-1")
        assert hashlib.sha256(body).hexdigest() in answer.body.decode()


def test_websockets(haproxy: str) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = ("GET /socket HTTP/1.1", f"Host: {HOST}", "Connection: Upgrade", "Upgrade: websocket")
    head = "\r\n".join([*lines, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""])
    with _edge(haproxy) as (it, _), socket.create_connection(("127.0.0.1", it.port), 30) as connection:
        connection.sendall(head.encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(4096)
        assert data.startswith(b"HTTP/1.1 101 ")
        payload, mask = b"hello", b"\1\2\3\4"
        masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
        connection.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + masked)
        frame = data.partition(b"\r\n\r\n")[2]
        while len(frame) < 2 + len(payload):
            frame += connection.recv(4096)
        assert frame == bytes([0x81, len(payload)]) + payload


def _lines(receiver: socket.socket, count: int) -> Sequence[dict[str, Any]]:
    receiver.settimeout(30)
    return [json.loads(receiver.recv(65536)) for _ in range(count)]


def test_access_logs(haproxy: str, tmp_path: Path) -> None:
    """A line of JSON for each request of a shopper, whichever ShopSets it went through."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "log"))
    with receiver, _edge(haproxy, log=str(tmp_path / "log")) as (it, shopsets):
        it.get(HOST, '/a"b?secret=1', headers=[("X-Request-ID", "abcdef0123456789")], source="127.0.0.9")
        it.request("POST", HOST, "/cart", body=b"x" * 100)
        it.get("unknown.example.com")
        shopsets["a-1"].behave("reset")
        it.get(HOST)
        shopsets["b-1"].behave("500")
        it.get(HOST)
        first, post, unknown, second, failed = _lines(receiver, 5)
    assert first["requestId"] == "abcdef0123456789"
    assert (first["path"], first["method"], first["client"]) == ('/a"b', "GET", "127.0.0.9")
    assert (first["host"], first["shop"], first["shopset"], first["hops"]) == (HOST, "hoge", "a-1", 0)
    assert (first["status"], first["termination"]) == (200, "--")
    assert first["milliseconds"].keys() == {"request", "queue", "connect", "response", "total"}
    assert post["received"] > 100
    assert (unknown["status"], unknown["shop"], unknown["shopset"]) == (404, "-", "-")
    assert (second["shopset"], second["hops"], second["status"]) == ("b-1", 1, 200)
    assert failed["status"] >= 500
    assert failed["hops"] >= 1
