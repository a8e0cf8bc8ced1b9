"""Limits, full ShopSets, lanes, slow starts and slow clients, on real HAProxy. Requests are counted, and nothing is timed."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from shopset.core.placement.edges import EdgeClass, EdgeShop, RateLimit
from support.edges import PATIENT, Answer, Edge, edge, facts_of, read_answer, shop
from support.haproxies import debian, haproxy
from support.origins import Origin, origins

__all__ = ["haproxy"]
LISTS = {"standard#": ("a-1", "b-1"), "spilling#": ("a-1", "b-1")}
CLASSES = (EdgeClass("standard", replicas=2), EdgeClass("spilling", replicas=2, overload="Spill"))


def _rush(it: Edge, host: str, count: int, source: str = "127.0.0.1") -> list[Answer]:
    """Send requests over one connection as fast as they are answered."""
    answers = []
    with socket.create_connection(("127.0.0.1", it.port), 30, (source, 0)) as connection:
        for _ in range(count):
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answers.append(read_answer(connection))
    return answers


def _statuses(answers: Sequence[Answer]) -> Counter[int]:
    return Counter(each.status for each in answers)


def test_limits(haproxy: str) -> None:
    limited = EdgeClass("limited", RateLimit(20, 10))
    with origins("a-1") as shopsets:
        facts = facts_of(
            shopsets,
            limited,
            settings=replace(PATIENT, clients=RateLimit(60, 0)),
            shops=[EdgeShop("small", RateLimit(2, 1)), EdgeShop("large", RateLimit(10_000, 0))],
        )
        shops = [shop(name, "limited#") for name in ("hoge", "small", "large", "other")]
        with edge(haproxy, facts, {"limited#": ("a-1",)}, shops) as it:
            # Below the rate and the burst nothing is refused.
            assert _statuses(_rush(it, "hoge.example.com", 29)) == {200: 29}
            small = _rush(it, "small.example.com", 200, "127.0.0.2")
            assert small[0].status == 200
            assert _statuses(small).keys() == {200, 429}
            assert _statuses(small)[200] < 100
            refused = next(each for each in small if each.status == 429)
            assert refused.headers["retry-after"] == "1"
            assert _statuses(_rush(it, "other.example.com", 25, "127.0.0.3")) == {200: 25}
            # A client has its own limit, over all shops.
            assert _statuses(_rush(it, "large.example.com", 590, "127.0.0.4")) == {200: 590}
            assert _statuses(_rush(it, "large.example.com", 1000, "127.0.0.4"))[429] > 100
            assert _statuses(_rush(it, "large.example.com", 100, "127.0.0.5")) == {200: 100}
            # What was refused never came to the ShopSet, and counts as demand and as refused.
            counted = it.api("show table shops key small")
            assert f"http_req_cnt={len(small)} " in counted
            assert f"gpc0={_statuses(small)[429]} " in counted


@contextmanager
def _open_requests(it: Edge, host: str, count: int, seconds: float = 30) -> Iterator[list[socket.socket]]:
    """Have requests under way until the block ends."""
    connections = []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", it.port), 30)
            connection.sendall(f"GET /?delay={seconds} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            connections.append(connection)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def _wait_for(what: Callable[[], bool], patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def _open(origin: Origin) -> int:
    return origin.totals()["open"]


def test_a_full_shopset(haproxy: str) -> None:
    """Ten at once: two of them are for lanes; what is beyond is refused, or spilled while the next one is not rather full itself."""
    shops = [shop("plain", "standard#"), shop("spilled", "spilling#"), shop("own", "back#")]
    lists = {**LISTS, "back#": ("b-1",)}
    with origins("a-1", "b-1") as shopsets:
        facts = facts_of(shopsets, *CLASSES, EdgeClass("back"), concurrency=10)
        with edge(haproxy, facts, lists, shops) as it, _open_requests(it, "plain.example.com", 8):
            _wait_for(lambda: _open(shopsets["a-1"]) == 8)
            refused = it.get("plain.example.com")
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert it.get("plain.example.com", "/cart/1").told == (200, "a-1")
            assert it.request("POST", "plain.example.com", "/checkout").told == (200, "a-1")
            assert it.get("spilled.example.com").told == (200, "b-1")
            with _open_requests(it, "spilled.example.com", 7):
                _wait_for(lambda: _open(shopsets["b-1"]) == 7)
                # The next one keeps the rest for its own.
                assert it.get("spilled.example.com").status == 503
                assert it.get("own.example.com").told == (200, "b-1")


def test_lanes_end_where_the_shopset_is_full(haproxy: str) -> None:
    with origins("a-1") as shopsets:
        facts = facts_of(shopsets, EdgeClass("standard"), concurrency=5)
        with edge(haproxy, facts, {"standard#": ("a-1",)}, [shop("hoge", "standard#")]) as it:
            connections = []
            for number in range(5):
                connection = socket.create_connection(("127.0.0.1", it.port), 30)
                connection.sendall(b"GET /cart?delay=4 HTTP/1.1\r\nHost: hoge.example.com\r\n\r\n")
                connections.append(connection)
                _wait_for(lambda wanted=number + 1: _open(shopsets["a-1"]) == wanted)  # type: ignore[misc]
            assert it.get("hoge.example.com", "/cart").status == 503
            _wait_for(lambda: it.get("hoge.example.com", "/cart").status == 200)
            for connection in connections:
                connection.close()


def test_slow_start(haproxy: str) -> None:
    """One that comes back gets a part of its requests first, the next replica the others, and one without a next replica all."""
    settings = replace(PATIENT, health=replace(PATIENT.health, slow_start=600_000))
    shops = [shop("hoge", "standard#"), shop("single", "single#")]
    with origins("a-1", "b-1") as shopsets:
        facts = facts_of(shopsets, *CLASSES, EdgeClass("single"), settings=settings)
        with edge(haproxy, facts, {**LISTS, "single#": ("a-1",)}, shops) as it:
            assert Counter(it.get("hoge.example.com").told for _ in range(40)) == {(200, "a-1"): 40}
            shopsets["a-1"].kill()
            it.wait("DOWN", "a-1")
            shopsets["a-1"].restart()
            it.wait("UP", "a-1")
            told = Counter(it.get("hoge.example.com").told for _ in range(150))
            assert told.keys() == {(200, "a-1"), (200, "b-1")}
            assert told[200, "a-1"] < 75
            assert Counter(it.get("single.example.com").told for _ in range(40)) == {(200, "a-1"): 40}


def test_a_slow_client_is_sent_away() -> None:
    """While others are served."""
    with origins("a-1") as shopsets:
        facts = facts_of(shopsets, EdgeClass("standard"))
        shops = [shop("hoge", "standard#")]
        with (
            edge(debian(), facts, {"standard#": ("a-1",)}, shops) as it,
            socket.create_connection(("127.0.0.1", it.port), 60) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: hoge.example.com\r\n")
            ended = threading.Event()

            def drip() -> None:
                while not ended.wait(0.5):
                    try:
                        connection.sendall(b"X: y\r\n")
                    except OSError:
                        return

            dripping = threading.Thread(target=drip)
            dripping.start()
            try:
                assert it.get("hoge.example.com").status == 200
                assert read_answer(connection).status in (0, 408)
            finally:
                ended.set()
                dripping.join()
