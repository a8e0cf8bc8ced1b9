"""A Prometheus that does not answer as it should is Unknown, within bounds; credentials are read at each question."""

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from pydantic import ValidationError

from gates.histories import Recorded, history, yesterday
from shopset.api import Gate
from shopset.api.platforms import Monitoring
from shopset.core.release.observed import GateReading
from shopset.gates import Gates, Target
from support.servers import Serve, flood, respond

START = datetime(2026, 11, 25, 4, 43, tzinfo=UTC)
END = START + timedelta(minutes=5)
DAWN = yesterday()
GATE = Gate.model_validate({"name": "g", "query": {"expr": "vector(1)", "threshold": 2.0}})
ALERTS = Gate.model_validate({"name": "g", "alerts": {"matchers": {"alertname": "x"}}})
HASHES = {
    "first word": "$2b$04$gcYs.416/LT9r4dq7aX1redDlfN1/pRn4/qKnQwLUatYpnqQqmJbq",
    "second word": "$2b$04$utTxg8lih5lmVhuNCUipQencZ16/l790d.oLkouAnkMjZhgjOnq1m",
}


def read(url: str, folder: Path | None = None, gate: Gate = GATE, timeout: str = "5s") -> GateReading:
    secret = {} if folder is None else {"secret": "metrics"}
    monitoring = Monitoring.model_validate({"prometheus": {"url": url, **secret}, "timeout": timeout})
    return Gates(monitoring, lambda _: [Target("a-1", "shopset-a-1", "a")], lambda _: folder or Path()).read(
        gate, "prod", START, END
    )


def matrix(*values: object) -> bytes:
    data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
    return json.dumps({"status": "success", "data": data}).encode()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "answers 200, and not with JSON"),
        (502, b"<html>", "answers 502, and not with JSON"),
        (200, b"[" * 100_000, "not with JSON"),
        (200, b"", "not with JSON"),
        (200, b"[]", "not as Prometheus does"),
        (200, b"null", "not as Prometheus does"),
        (200, b'{"status": "success"}', "not as Prometheus does"),
        (200, b'{"status": "success", "data": []}', "not with series"),
        (200, b'{"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}', "with a scalar"),
        (200, b'{"status": "success", "data": {"resultType": "matrix", "result": [1]}}', "not with series"),
        (200, matrix([1, "x"]), "not with series"),
        (200, matrix([1e300, "3"]), "cannot be read"),
        (200, matrix(["NaN", "1"]), "cannot be read"),
        (200, b'{"status": "success", "data": {}, "warnings": ["a store is away"]}', "a store is away"),
        (422, b'{"status": "error", "error": "too many\\nsamples"}', "answers 422 too many samples"),
        (403, b"[]", "answers 403"),
        (500, b"{}", "answers 500"),
    ],
)
def test_an_answer_that_is_none(serve: Serve, status: int, body: bytes, words: str) -> None:
    reading = read(serve(lambda handler: respond(handler, status, body)))
    assert (reading.result, reading.since) == ("Unknown", END)
    assert words in reading.evidence


def test_nobody_listens() -> None:
    assert read("http://127.0.0.1:1").evidence.startswith("Prometheus does not answer: ")


def test_a_host_that_does_not_exist() -> None:
    assert read("http://prometheus.invalid").result == "Unknown"


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    asked = threading.Event()
    elsewhere = serve(lambda _: asked.set())
    url = serve(lambda handler: respond(handler, 307, Location=f"{elsewhere}/"))
    assert read(url).result == "Unknown"
    assert not asked.is_set()


def test_an_answer_that_drips_is_cut_off(serve: Serve) -> None:
    """Each byte comes in time, and the whole would never."""
    over = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not over.wait(0.05):
                handler.wfile.write(b" ")
                handler.wfile.flush()
        except OSError:
            over.set()

    reading = read(serve(drip), timeout="500ms")
    assert reading.evidence == "Prometheus did not answer within 0.5 s"
    assert over.wait(30)


def test_an_answer_without_end_is_cut_off(serve: Serve) -> None:
    assert read(serve(flood), timeout="60s").evidence == "Prometheus answers with more than 33554432 bytes"


def test_rules_that_are_none(serve: Serve) -> None:
    """Nothing fires, Prometheus recorded all, and what it says of its rules is garbage."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        recorded = [[END.timestamp() - 60 * index, "1"] for index in range(6)]
        empty = b'{"status": "success", "data": {"resultType": "matrix", "result": []}}'
        bodies = {"/api/v1/query": empty, "/api/v1/query_range": matrix(*recorded)}
        respond(handler, 200, bodies.get(handler.path, b'{"status": "success", "data": {"groups": [{}]}}'))

    reading = read(serve(answer), gate=ALERTS)
    assert (reading.result, reading.evidence) == ("Unknown", "Prometheus answers, and not with rules")


def test_no_monitoring_at_all() -> None:
    gates = Gates(None, lambda _: [Target("a-1", "shopset-a-1", "a")], lambda _: Path())
    assert "no spec.monitoring" in gates.read(GATE, "prod", START, END).evidence


@pytest.mark.parametrize(
    "url", ["https://me:secret@x.example.com", "https://{tier}.example.com", "https://x.example.com/?a"]
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Monitoring.model_validate({"prometheus": {"url": url}})
    assert "secret" not in caught.value.errors()[0]["msg"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A real Prometheus that wants a password; yields its URL and the file that says which."""
    folder = tmp_path_factory.mktemp("guarded")
    users = folder / "web.json"
    set_password(users, "first word")
    past = [Recorded("up", {}, DAWN, DAWN + timedelta(hours=1))]
    with history(folder, past, options=["--web.config.file=web.json"]) as (url, _):
        yield url, users


def set_password(users: Path, password: str) -> None:
    users.write_text(json.dumps({"basic_auth_users": {"shopset": HASHES[password]}}))


def mount(folder: Path, **words: str) -> None:
    """Write a Secret as the kubelet mounts it: files are links into a folder that is replaced at once."""
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, word in words.items():
        (version / name).write_text(word)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    (folder / "..next").symlink_to(version.name)
    os.replace(folder / "..next", folder / "..data")  # noqa: PTH105  # a rename of links, as the kubelet does it


def test_a_password_is_taken_up_when_it_is_rotated(guarded: tuple[str, Path], tmp_path: Path) -> None:
    url, users = guarded
    monitoring = Monitoring.model_validate({"prometheus": {"url": url, "secret": "metrics"}, "timeout": "30s"})
    gates = Gates(monitoring, lambda _: [Target("a-1", "shopset-a-1", "a")], lambda name: tmp_path / name)
    (tmp_path / "metrics").mkdir()

    def result() -> GateReading:
        return gates.read(GATE, "prod", DAWN, DAWN + timedelta(minutes=30))

    assert "the credentials of Prometheus, of Secret metrics, cannot be read" in result().evidence
    mount(tmp_path / "metrics", username="shopset", password="first word\n")
    assert result().result == "Pass"
    set_password(users, "second word")
    refused = result()
    assert refused.result == "Unknown"
    assert "401" in refused.evidence
    assert "first word" not in refused.evidence
    mount(tmp_path / "metrics", username="shopset", password="second word")
    assert result().result == "Pass"


def test_a_token_is_sent(serve: Serve, tmp_path: Path) -> None:
    seen: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        respond(handler, 500)

    url = serve(answer)
    (tmp_path / "token").write_text("abc\n")
    read(url, tmp_path)
    read(url)
    assert seen == ["Bearer abc", None]


@pytest.mark.parametrize("content", ["", "two\nlines", "あ"])
def test_a_token_that_is_none_is_neither_sent_nor_shown(serve: Serve, tmp_path: Path, content: str) -> None:
    asked = threading.Event()
    (tmp_path / "token").write_text(content)
    reading = read(serve(lambda _: asked.set()), tmp_path)
    assert reading.result == "Unknown"
    assert not asked.is_set()
    assert content not in reading.evidence or not content


def test_a_secret_that_can_not_be_resolved() -> None:
    def gone(name: str) -> Path:
        raise LookupError(name)

    monitoring = Monitoring.model_validate({"prometheus": {"url": "http://127.0.0.1:1", "secret": "metrics"}})
    gates = Gates(monitoring, lambda _: [Target("a-1", "shopset-a-1", "a")], gone)
    assert "of Secret metrics, cannot be read" in gates.read(GATE, "prod", START, END).evidence
