"""TLS at the edge, on real HAProxy: whose certificate is shown, and what a connection may be used for."""

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeHealth, EdgeSettings, EdgeShopSet
from shopset.core.placement.placements import Group, PlacedShop
from shopset.edge.configuration import Place, configuration
from shopset.edge.routes import host_entries, routes
from shopset.edge_agent.certificate_sources import Folder
from shopset.edge_agent.certificates import Certificates
from shopset.edge_agent.runtime import Runtime
from support.certificates import certificate, make_authority
from support.edges import write_hosts
from support.haproxies import check, debian, newer, running, wait_for_state
from support.origins import Origin, free_port, origins
from support.shoppers import shopping

NOW = datetime.now(UTC) + timedelta(hours=1)
"""When all certificates of the tests are valid, whenever they are made."""
SHOPS = {
    "tea": ("tea.example.com", "www.tea.example"),
    "wine": ("wine.example.com",),
    "wild": ("*.wild.example", "wild.example"),
    "platform": ("one.shops.example", "two.shops.example"),
    "third": ("three.shops.example",),
}
"""`platform` and `third` have a certificate in common, as shops below a platform's own domain do."""
CERTIFICATES = {
    "tea": SHOPS["tea"],
    "wine": SHOPS["wine"],
    "wild": SHOPS["wild"],
    "shops": ("*.shops.example",),
    "unrouted": ("unrouted.example.com",),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def pems(authority: Path) -> Mapping[str, str]:
    return {name: certificate(*hosts, authority=authority) for name, hosts in CERTIFICATES.items()}


@dataclass
class Edge:
    """One that runs."""

    http: int
    https: int
    source: Path
    certificates: Certificates
    runtime: Runtime


@contextmanager
def edge(
    program: str, folder: Path, shopset: Origin, pems: Mapping[str, str], settings: EdgeSettings
) -> Iterator[Edge]:
    """Run HAProxy for SHOPS, with certificates that the agent took from a folder."""
    http, https = free_port(), free_port()
    state, source = folder / "state", folder / "source"
    place = Place(str(state), http=(f"127.0.0.1:{http}",), https=(f"127.0.0.1:{https}",), threads=1, connections=1000)
    for each in (source, state / "maps", state / "run"):
        each.mkdir(parents=True)
    facts = EdgeFacts(
        settings, {"a-1": EdgeShopSet("a-1", f"http://{shopset.address}")}, {"standard": EdgeClass("standard")}
    )
    groups = {"standard#": Group("standard#", "standard", ("a-1",))}
    shops = [PlacedShop(name, "standard#", hosts) for name, hosts in SHOPS.items()]
    entries = host_entries(shops, facts, routes(facts, groups, {}))
    write_hosts(Path(place.hosts_map), entries)
    Path(place.moved_map).touch()
    Path(place.configuration).write_text(configuration(facts, place))
    for name, pem in pems.items():
        (source / f"{name}.pem").write_text(pem)
    certificates = Certificates(Path(place.certificate_list).parent, [Folder(source)])
    certificates.look(NOW)
    check(program, Path(place.configuration))
    with running(program, Path(place.configuration), ready=https):
        wait_for_state(Path(place.runtime_socket), "a-1/p", "UP")
        yield Edge(http, https, source, certificates, Runtime(Path(place.runtime_socket)))


@pytest.fixture(scope="module", params=[debian, newer])
def it(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pems: Mapping[str, str]
) -> Iterator[Edge]:
    settings = EdgeSettings(health=EdgeHealth(interval=100, timeout=5000, rise=2, slow_start=0), redirect="Https")
    folder = tmp_path_factory.mktemp("edge")
    with origins("a-1") as shopsets, edge(request.param(), folder, shopsets["a-1"], pems, settings) as started:
        yield started


def trusting(authority: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    # An authority of openssl's defaults has no key usage, which later Pythons ask for.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    return context


@contextmanager
def connected(port: int, name: str | None, context: ssl.SSLContext, **more: Any) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=name, **more) as connection,
    ):
        yield connection


def ask(
    connection: socket.socket, host: str, path: str = "/", headers: Sequence[str] = (), method: str = "GET"
) -> tuple[int, Mapping[str, str], bytes]:
    """Ask over a connection that is kept; return status, headers and body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return answer(connection)


def answer(connection: socket.socket) -> tuple[int, Mapping[str, str], bytes]:
    with connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        fields = {}
        while line := file.readline().strip():
            name, _, value = line.decode().partition(": ")
            fields[name.lower()] = value
        return status, fields, file.read(int(fields.get("content-length", 0)))


def echoed(body: bytes) -> dict[str, str]:
    """Return the headers that the ShopSet got."""
    return {name.lower(): value for name, value in json.loads(body)["headers"]}


def test_each_name_gets_its_certificate_and_others_none(it: Edge, authority: Path) -> None:
    context = trusting(authority)
    for name in ("tea.example.com", "TEA.example.COM", "www.tea.example", "wine.example.com", "x.wild.example"):
        # The client checks the name.
        with connected(it.https, name, context) as connection:
            assert ask(connection, name)[0] == 200
    for name in ("unknown.example.com", "a.b.wild.example", "tea.example.com.evil.example"):
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"), connected(it.https, name, context):
            pass
    context.check_hostname = False
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"), connected(it.https, None, context):
        pass
    old = trusting(authority)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    with connected(it.https, "tea.example.com", old) as connection:
        assert connection.version() == "TLSv1.2"
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        older = trusting(authority)
        older.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLS"):
            older.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLS"):
            older.maximum_version = version
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"), connected(it.https, "tea.example.com", older):
            pass


def test_a_connection_is_for_the_hosts_of_one_shop(it: Edge, authority: Path) -> None:
    context = trusting(authority)
    with connected(it.https, "tea.example.com", context) as connection:
        for host in (
            "tea.example.com",
            "www.tea.example",
            "TEA.Example.com",
            "tea.example.com.",
            f"www.tea.example:{it.https}",
        ):
            assert ask(connection, host)[0] == 200, host
        for host in (
            "wine.example.com",
            "WINE.example.com",
            "wine.example.com.",
            "wine.example.com:443",
            "x.wild.example",
        ):
            assert ask(connection, host)[0] == 421, host
        assert ask(connection, "unknown.example.com")[0] == 404
        assert ask(connection, "tea.example.com", "/", ["X-Forwarded-Host: wine.example.com"])[0] == 200
        connection.sendall(b"GET http://wine.example.com/ HTTP/1.1\r\nHost: wine.example.com\r\n\r\n")
        assert answer(connection)[0] == 421
    # The certificate is good for both, and still one's connection is not the other's.
    with connected(it.https, "one.shops.example", context) as connection:
        assert ask(connection, "two.shops.example")[0] == 200
        assert ask(connection, "three.shops.example")[0] == 421
    with connected(it.https, "x.wild.example", context) as connection:
        assert ask(connection, "y.wild.example")[0] == 200
        assert ask(connection, "three.shops.example")[0] == 421
    with connected(it.https, "three.shops.example", context) as connection:
        assert ask(connection, "y.wild.example")[0] == 421


def test_http2_connections_are_for_one_shop_too(it: Edge, authority: Path) -> None:
    context = trusting(authority)
    with httpx2.Client(http2=True, verify=context, trust_env=False, timeout=60) as client:

        def status(host: str) -> tuple[str, int]:
            found = client.get(
                f"https://127.0.0.1:{it.https}/",
                headers={"Host": host},
                extensions={"sni_hostname": "one.shops.example"},
            )
            return found.http_version, found.status_code

        hosts = (
            "one.shops.example",
            "two.shops.example",
            "three.shops.example",
            "wine.example.com",
            "one.shops.example",
        )
        assert [status(host) for host in hosts] == [("HTTP/2", code) for code in (200, 200, 421, 421, 200)]


def test_what_comes_without_tls_is_sent_to_it_but_for_acme(it: Edge) -> None:
    with socket.create_connection(("127.0.0.1", it.http), timeout=60) as connection:
        for method in ("GET", "POST"):
            more = ["Content-Length: 0"] if method == "POST" else []
            status, fields, _ = ask(connection, "Tea.example.com", "/cart?a=1&b=%20", more, method)
            assert (status, fields["location"]) == (308, "https://tea.example.com/cart?a=1&b=%20")
        # The ShopSet, or whatever of the platform it leads to, answers the challenge of a certificate to come.
        status, _, body = ask(connection, "tea.example.com", "/.well-known/acme-challenge/token")
        assert (status, json.loads(body)["target"]) == (200, "/.well-known/acme-challenge/token")
        status, _, _ = ask(connection, "tea.example.com", "/x/../.well-known/acme-challenge/token")
        assert status == 308


def test_shopsets_are_told_of_the_client_and_not_by_it(it: Edge, authority: Path) -> None:
    lies = [
        "X-Forwarded-Proto: http",
        "X-Forwarded-For: 192.0.2.1",
        "Forwarded: proto=http",
        "X-Request-ID: request-0001",
    ]
    with connected(it.https, "tea.example.com", trusting(authority)) as connection:
        _, _, body = ask(connection, "tea.example.com", "/", [*lies, "traceparent: 00-1-2-01"])
    told = echoed(body)
    assert (told["x-forwarded-proto"], told["x-forwarded-for"]) == ("https", "127.0.0.1")
    assert (told["x-request-id"], told["traceparent"], "forwarded" in told) == ("request-0001", "00-1-2-01", False)


def test_sessions_are_resumed(it: Edge, authority: Path) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(authority)
        context.minimum_version = context.maximum_version = version
        with connected(it.https, "tea.example.com", context) as connection:
            # TLS 1.3 sends what can be resumed after the handshake.
            ask(connection, "tea.example.com")
            session = connection.session
        with connected(it.https, "tea.example.com", context, session=session) as connection:
            assert connection.session_reused
            assert ask(connection, "tea.example.com")[0] == 200
        # A name that is not the session's: whichever of the two counts, the connection is for one of the shops.
        with connected(it.https, "wine.example.com", context, session=session) as connection:
            statuses = [ask(connection, host)[0] for host in ("tea.example.com", "wine.example.com")]
            assert sorted(statuses) == [200, 421]


def test_websockets_pass(it: Edge, authority: Path) -> None:
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    with connected(it.https, "tea.example.com", trusting(authority)) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        status, fields, _ = ask(connection, "tea.example.com", "/socket", [*upgrade, f"Sec-WebSocket-Key: {key}"])
        assert (status, fields["upgrade"]) == (101, "websocket")
        for number in range(3):
            payload = f"frame {number}".encode()
            mask = os.urandom(4)
            masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
            connection.sendall(struct.pack("!BB", 0x81, 0x80 | len(payload)) + mask + masked)
            frame = b""
            while len(frame) < 2 + len(payload):
                frame += connection.recv(100)
            assert frame[2:] == payload


@pytest.mark.parametrize("http2", [False, True])
def test_large_uploads_pass_whole(it: Edge, authority: Path, http2: bool) -> None:
    content = os.urandom(1 << 20) * 30
    with httpx2.Client(http2=http2, verify=trusting(authority), trust_env=False, timeout=120) as client:
        found = client.post(
            f"https://127.0.0.1:{it.https}/upload",
            content=content,
            headers={"Host": "tea.example.com"},
            extensions={"sni_hostname": "tea.example.com"},
        )
    assert (found.status_code, found.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
    assert found.json()["body"] == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_certificates_are_renewed_added_and_removed_while_shoppers_shop(it: Edge, authority: Path) -> None:
    hosts = ("tea.example.com", "www.tea.example", "wine.example.com")
    context = trusting(authority)
    with (
        shopping(it.https, rate=60, hosts=hosts, tls=context, timeout=60) as staying,
        # A handshake for every request.
        shopping(it.https, rate=30, hosts=hosts, tls=context, timeout=60, headers=[("Connection", "close")]) as coming,
    ):
        for number in range(6):
            (it.source / "tea.pem").write_text(certificate(*CERTIFICATES["tea"], authority=authority))
            added = it.source / f"more-{number}.pem"
            added.write_text(certificate(f"more-{number}.wild.example", authority=authority))
            if number:
                (it.source / f"more-{number - 1}.pem").unlink()
            assert it.certificates.look(NOW)
            brought = it.certificates.bring(it.runtime, NOW)
            assert (brought.added, brought.removed) == (2, 2 if number else 1)
            coming.wait(5)
            with connected(it.https, f"more-{number}.wild.example", context) as connection:
                shown = connection.getpeercert()
                assert shown
                assert ("DNS", f"more-{number}.wild.example") in shown["subjectAltName"]
        outcomes = [shoppers.finish() for shoppers in (staying, coming)]
    for outcome in outcomes:
        assert not outcome.failed.outcomes()
        assert len(outcome) > 30


def test_what_certificates_and_routes_disagree_on_is_told(it: Edge) -> None:
    maps = [Path(it.runtime.path.parent.parent, "maps", name) for name in ("hosts.map", "moved.map")]
    it.certificates.check_owners(maps)
    assert {(each.name, each.reason) for each in it.certificates.remarks()} == {
        ("shops", "SeveralShops"),
        ("unrouted", "NotRouted"),
    }
