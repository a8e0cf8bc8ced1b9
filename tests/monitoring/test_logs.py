"""What an edge tells of each request, with real HAProxy on the edge's own configuration: the access log, and counters of shops."""

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shopset.core.placement.edges import EdgeClass, EdgeFacts, RateLimit
from shopset.edge_agent.demand import DemandMetrics
from shopset.edge_agent.runtime import Runtime
from support.edges import Edge, edge, facts_of, shop
from support.haproxies import haproxy
from support.origins import Origin, free_port, origins

__all__ = ["haproxy"]
ROOT = Path(__file__).resolve().parents[2]
SHOPS = [shop("hoge", "standard#1"), shop("foo", "standard#1"), shop("small", "small#1")]
LISTS = {"standard#1": ("a-1", "b-1"), "small#1": ("a-1", "b-1")}
CLASSES = (
    EdgeClass("standard", replicas=2),
    EdgeClass("small", replicas=2, limit=RateLimit(requests_per_second=1.0, burst=2)),
)


@dataclass
class Bed:
    """An edge with two ShopSets whose log a test reads."""

    edge: Edge
    shopsets: dict[str, Origin]
    log: socket.socket
    exporter: str

    def line(self) -> dict[str, Any]:
        """Return the next line of the log, and fail where none comes."""
        text = self.log.recv(65536).decode()
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def lines_until(self, path: str) -> list[dict[str, Any]]:
        """Return all lines before the one of a request for this path."""
        self.edge.get("hoge.example.com", path)
        found = []
        while (line := self.line())["path"] != path:
            found.append(line)
        return found


@contextmanager
def started(program: str, folder: Path) -> Iterator[Bed]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, origins("a-1", "b-1") as shopsets:
        log.bind(str(folder / "log.sock"))
        log.settimeout(60)
        facts: EdgeFacts = facts_of(shopsets, *CLASSES)
        port = free_port()
        place: dict[str, Any] = {"log": str(folder / "log.sock"), "metrics": f"127.0.0.1:{port}"}
        with edge(program, facts, LISTS, SHOPS, **place) as found:
            yield Bed(found, shopsets, log, f"http://127.0.0.1:{port}/metrics")


@pytest.fixture
def bed(haproxy: str, tmp_path: Path) -> Iterator[Bed]:
    # A short path: names of sockets are.
    with started(haproxy, tmp_path) as found:
        yield found


def test_a_line_says_whose_request_it_was_and_who_served_it(bed: Bed) -> None:
    told = bed.edge.get("Hoge.example.com:80", "/products?token=secret", headers=[("X-Request-ID", "abc-12345")])
    assert told.shopset == "a-1"
    line = bed.line()
    assert {key: line[key] for key in ("client", "method", "host", "path", "shop", "shopset", "hops", "status")} == {
        "client": "127.0.0.1",
        "method": "GET",
        "host": "hoge.example.com",
        "path": "/products",
        "shop": "hoge",
        "shopset": "a-1",
        "hops": 0,
        "status": 200,
    }
    assert line["requestId"] == "abc-12345"
    assert line["termination"] == "--"
    assert line["milliseconds"]["total"] >= 0
    assert "secret" not in json.dumps(line)


def test_the_documentation_names_each_field(bed: Bed) -> None:
    bed.edge.get("hoge.example.com")
    line = bed.line()
    text = (ROOT / "docs" / "edge-observability.md").read_text().split("## Access log")[1].split("\n## ")[0]
    rows = [row.split("|") for row in text.splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[1])} == line.keys()
    (of_times,) = (row[2] for row in rows if "`milliseconds`" in row[1])
    assert set(re.findall(r"`(\w+)`", of_times)) == line["milliseconds"].keys()


def test_there_is_one_line_however_often_a_request_was_tried(bed: Bed) -> None:
    bed.shopsets["a-1"].behave(hosts={"hoge.example.com": "500"})
    told = bed.edge.get("hoge.example.com", "/twice")
    assert told.told == (200, "b-1")
    (line,) = bed.lines_until("/end")
    assert (line["path"], line["shopset"], line["hops"], line["status"]) == ("/twice", "b-1", 1, 200)
    assert bed.edge.request("POST", "hoge.example.com", "/once", body=b"x" * 1000).told == (500, "a-1")
    (line,) = bed.lines_until("/end")
    assert (line["shopset"], line["hops"], line["status"]) == ("a-1", 0, 500)
    assert line["received"] > 1000


def test_what_nobody_serves_has_no_shopset(bed: Bed) -> None:
    assert bed.edge.get("unknown.example.com").status == 404
    line = bed.line()
    assert (line["shop"], line["shopset"], line["status"]) == ("-", "-", 404)
    for each in bed.shopsets.values():
        each.kill()
    bed.edge.wait("DOWN", "a-1", "b-1")
    assert bed.edge.get("hoge.example.com").status == 503
    line = bed.line()
    assert (line["shop"], line["shopset"], line["status"]) == ("hoge", "-", 503)


def test_every_line_is_json_whatever_comes(bed: Bed) -> None:
    for path in ('/"quoted"', "/back\\slash", "/%22%0a", "/\xe6\x97\xa5", "/a%00b", "/'", "/" + "x" * 4000):
        for request in (
            f"GET {path} HTTP/1.1\r\nHost: hoge.example.com\r\nConnection: close\r\n\r\n",
            f'GET / HTTP/1.1\r\nHost: "{path[:20]}\\\r\nX-Request-ID: "{path[:20]}"\r\nConnection: close\r\n\r\n',
            f"{path[1:10]} / HTTP/1.1\r\nHost: hoge.example.com\r\n\r\n",
        ):
            bed.edge.send(request.encode("latin-1"))
            assert re.fullmatch(r"[1-5]\d\d", str(bed.line()["status"])), request


def test_what_is_no_request_has_a_line_too(bed: Bed) -> None:
    assert bed.edge.send(b"\x16\x03\x01 no request\r\n\r\n").status == 400
    line = bed.line()
    assert (line["host"], line["shop"], line["shopset"], line["hops"], line["status"]) == ("-", "-", "-", 0, 400)


def test_counters_of_shops_are_read_from_this_configuration(bed: Bed) -> None:
    """Requests, those above the limit, and failures: as the agent exports them."""
    metrics = DemandMetrics(Runtime(Path(bed.edge.place.runtime_socket)), top=10)
    bed.shopsets["a-1"].behave(hosts={"foo.example.com": "500"})
    bed.shopsets["b-1"].behave(hosts={"foo.example.com": "500"})
    for _ in range(5):
        assert bed.edge.get("hoge.example.com").status == 200
    for _ in range(3):
        assert bed.edge.request("POST", "foo.example.com").status == 500
    answers = [bed.edge.get("small.example.com").status for _ in range(40)]
    assert set(answers) == {200, 429}
    metrics.read()
    found = {each["name"]: each for each in map(json.loads, b"".join(metrics.lines()).splitlines())}
    assert found["hoge"]["requests"] == 5
    assert (found["foo"]["requests"], found["foo"]["failures"]) == (3, 3)
    assert (found["small"]["requests"], found["small"]["refused"]) == (40, answers.count(429))
    assert found["hoge"]["refused"] == found["hoge"]["failures"] == 0
    assert found.keys() == {"hoge", "foo", "small"}


def test_rules_ask_for_frontends_and_backends_that_are_there(bed: Bed) -> None:
    bed.shopsets["a-1"].behave(hosts={"hoge.example.com": "500"})
    bed.edge.get("hoge.example.com")
    scopes = "scope=global&scope=frontend&scope=backend"
    with urllib.request.urlopen(f"{bed.exporter}?{scopes}", timeout=60) as response:  # noqa: S310  # loopback
        text = response.read().decode()
    proxies = set(re.findall(r'^haproxy_frontend_http_requests_total\{proxy="([^"]+)"\}', text, re.MULTILINE))
    assert proxies == {"edge", "next", "metrics"}
    assert re.search(r'^haproxy_frontend_http_requests_total\{proxy="next"\} 1$', text, re.MULTILINE)
    for name in ("a-1", "b-1"):
        assert re.search(rf'^haproxy_backend_http_requests_total\{{proxy="{name}"\}} 1$', text, re.MULTILINE)
    assert "hoge" not in text
