"""Runbooks: what they ask HAProxy and the access log, asked of a real edge after real requests."""

import contextlib
import http.client
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shopset.core.placement.edges import EdgeHealth, EdgeSettings, RateLimit
from shopset.edge.hostmap import bucket_of
from shopset.edge_agent.app import app
from support.edge_agents import Edge, edge, placement
from support.haproxies import haproxy
from support.origins import origins
from testbed.programs import program

__all__ = ["haproxy"]
ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs" / "runbooks").glob("edge-*.md")), ROOT / "docs" / "edge-observability.md"]
CALM = EdgeSettings(EdgeHealth(interval=250, timeout=5000, rise=2, slow_start=0), RateLimit(requests_per_second=1000.0))
SETS = re.compile("([a-z]+)=")
HOGE, BAR = "hoge.example.com", "bar.example.com"
ASKS = ("shopset-edge ask ", "shopset-edge where ")
READS = ("jq ", "cat ", "wc ", "tr ")
WORDS_OF_ERRORS = ("Unknown command", "No such", "Unknown", "Can't find", "Permission denied", "not found")


def lines() -> Iterator[str]:
    """Yield each line that asks HAProxy or the log, once; without comments, and for the shop hoge."""
    found = {}
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                if line.startswith((*ASKS, *READS)) or SETS.match(line):
                    found[re.sub(r"\s{2,}#.*", "", line).replace('"SHOP"', '"hoge"')] = page
    yield from found


def asked(line: str) -> str:
    """Run a line of which shopset-edge is the first program, and return what is seen in the end."""
    question, *pipe = line.split(" | ")
    answer = CliRunner().invoke(app, shlex.split(question)[1:])
    assert answer.exit_code == 0, f"{line}: {answer.output}"
    assert not answer.stdout.startswith(WORDS_OF_ERRORS), f"{line}: {answer.stdout}"
    return shell(" | ".join(pipe), ROOT, answer.stdout) if pipe else answer.stdout


def shell(line: str, folder: Path, stdin: str = "") -> str:
    command = [program("bash"), "-o", "pipefail", "-c", line]
    done = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), f"{line}: {done.stderr}"
    return done.stdout


def request(it: Edge, method: str, host: str) -> int:
    """Be a shopper who looks or buys, and return the status."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", it.port, timeout=60)) as connection:
        connection.request(method, "/", headers={"Host": host})
        return connection.getresponse().status


@contextlib.contextmanager
def after_requests(haproxy: str, folder: Path) -> Iterator[Edge]:
    """An edge that has answered with 200, 500 and 429, and whose access log lies in the folder."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, origins("a-1", "b-1") as shopsets:
        log.bind(str(folder / "log.sock"))
        log.settimeout(60)
        with edge(haproxy, log=str(folder / "log.sock")) as it:
            endpoints = {name: f"http://{each.address}" for name, each in shopsets.items()}
            groups = {"standard#1": ("a-1",), "standard#2": ("a-1", "b-1")}
            shops = {"hoge": "standard#1", "foo": "standard#1", "bar": "standard#2"}
            limit = RateLimit(requests_per_second=1.0, burst=3)
            it.repository.push(placement(groups, shops, endpoints, limit=limit, settings=CALM))
            it.follow()
            shopsets["a-1"].behave(hosts=dict.fromkeys((HOGE, BAR), "500"))
            # Each is read at once: such a socket keeps ten datagrams, and HAProxy waits for nobody.
            visits = [("GET", BAR), ("POST", HOGE), *[("GET", HOGE)] * 20]
            told = [(request(it, *visit), log.recv(65536)) for visit in visits]
            shopsets["a-1"].behave(delay=1.1)
            told.append((request(it, "GET", "foo.example.com"), log.recv(65536)))
            assert {200, 429, 500} <= {status for status, _ in told}
            (folder / "access.log").write_bytes(b"".join(line.strip() + b"\n" for _, line in told))
            yield it


@pytest.mark.skipif(shutil.which("jq") is None, reason="a machine without jq")
def test_what_runbooks_ask_is_answered(haproxy: str, tmp_path: Path) -> None:
    values: dict[str, str] = {}
    silent = []
    with after_requests(haproxy, tmp_path) as it:
        # A reload begins with empty tables.
        for line in sorted(lines(), key=lambda each: each.endswith(" reload")):
            here = line.replace("$STATE", str(it.folder.path)).replace("shop.example.com", HOGE)
            for name, value in values.items():
                here = here.replace(f"${name}", value)
            if setting := SETS.match(line):
                values[setting[1]] = shell(f'{here}; echo "${setting[1]}"', tmp_path).strip()
            else:
                answer = asked(here) if line.startswith(ASKS) else shell(here, tmp_path)
                silent += [line] * (not answer.strip())
    # What changes something has no answer where all is well; that of HAProxy 2.6 to a reload is none either.
    assert [line for line in silent if not re.search(r" \"add map|'set server| reload$", line)] == []
    assert (bool(values["value"]), values["bucket"]) == (True, bucket_of(HOGE))


def test_what_haproxy_does_not_take_is_noticed(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["ask", "--state", str(tmp_path), "show info"])
    assert answer.exit_code == 1
    assert "does not answer" in answer.stderr
    with pytest.raises(AssertionError):
        shell("jq .shop missing.log", tmp_path)
