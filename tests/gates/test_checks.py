"""HTTP checks on real servers."""

import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from shopset.api import Gate
from shopset.core.release.observed import GateReading
from shopset.gates import Gates, Target
from support.servers import Serve, flood, respond

START = datetime(2026, 11, 25, 4, 43, tzinfo=UTC)
TARGETS = [Target("a-1", "shopset-a-1", "a"), Target("b-1", "shopset-b-1", "b")]


def read(url: str, timeout: str = "30s", targets: list[Target] = TARGETS) -> GateReading:
    gate = Gate.model_validate({"name": "g", "http": {"url": url, "timeout": timeout}})
    return Gates(None, lambda _: targets, lambda _: Path()).read(gate, "prod", START, START + timedelta(minutes=1))


@pytest.mark.parametrize("status", [200, 204, 299])
def test_every_shopset_is_asked(serve: Serve, status: int) -> None:
    asked: set[str] = set()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.add(handler.path)
        respond(handler, status)

    url = serve(answer)
    reading = read(url + "/{shopset}/{namespace}/{tier}/{cluster}")
    assert reading == GateReading("Pass", f"{url}/a-1/shopset-a-1/prod/a answers, and 1 more")
    assert asked == {"/a-1/shopset-a-1/prod/a", "/b-1/shopset-b-1/prod/b"}


@pytest.mark.parametrize("status", [304, 404, 500, 503])
def test_one_of_them_answers_otherwise(serve: Serve, status: int) -> None:
    url = serve(lambda handler: respond(handler, status if handler.path == "/b-1" else 200))
    reading = read(url + "/{shopset}")
    assert (reading.result, reading.evidence) == ("Fail", f"{url}/b-1 answers {status}")


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    asked = threading.Event()
    elsewhere = serve(lambda _: asked.set())
    url = serve(lambda handler: respond(handler, 302, Location=elsewhere))
    assert read(url).evidence == f"{url} answers 302, and redirects are not followed"
    assert not asked.is_set()


def test_one_that_hangs(serve: Serve) -> None:
    over = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        over.wait(30)

    reading = read(serve(hang) + "/{shopset}", timeout="200ms")
    over.set()
    assert reading.result == "Fail"
    assert "did not answer within 0.2 s" in reading.evidence


def test_one_that_is_not_there() -> None:
    assert "does not answer" in read("http://127.0.0.1:1/{shopset}").evidence


def test_one_failure_is_asked_again(serve: Serve) -> None:
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        respond(handler, 503 if asked.count(handler.path) == 1 else 200)

    assert read(serve(answer) + "/{shopset}").result == "Pass"
    assert sorted(asked) == ["/a-1", "/a-1", "/b-1", "/b-1"]


def test_what_it_answers_with_is_not_read(serve: Serve) -> None:
    assert read(serve(flood)).result == "Pass"


def test_many_at_once_are_bounded(serve: Serve) -> None:
    lock = threading.Lock()
    counts = {"now": 0, "most": 0, "all": 0}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        with lock:
            counts["now"] += 1
            counts["all"] += 1
            counts["most"] = max(counts["most"], counts["now"])
        respond(handler, 200)
        with lock:
            counts["now"] -= 1

    many = [Target(f"x-{number}", "x", "x") for number in range(200)]
    assert read(serve(answer) + "/{shopset}", targets=many).result == "Pass"
    assert counts["all"] == 200
    assert counts["most"] <= 33
