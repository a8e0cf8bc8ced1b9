"""HAProxy's runtime API and its master, of both versions."""

import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.edge_agent.runtime import HaproxyAwayError, Master, Runtime, RuntimeApiError, batches
from support.haproxies import PATIENCE, haproxy, running
from support.origins import free_port

__all__ = ["haproxy"]

CONFIGURATION = """
global
    stats socket {folder}/api.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend shoppers
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain lf-string "%[req.hdr(host),map_str({folder}/moved.map,none)]"
backend spare-0
    server p 127.0.0.1:81 check disabled
"""


def prepare(folder: Path) -> Path:
    (folder / "moved.map").write_text("a.example 1\nb.example 2\n")
    path = folder / "haproxy.cfg"
    path.write_text(CONFIGURATION.format(folder=folder, port=free_port()))
    return path


def test_a_map_is_swapped_as_a_whole(haproxy: str, tmp_path: Path) -> None:
    """Also a large one, with what looks like comments, and back to nothing; a version that failed leaves nothing behind."""
    runtime, name = Runtime(tmp_path / "api.sock"), str(tmp_path / "moved.map")
    entries = {
        f"shop-{number}.example.com": f"shop-{number}:R=standard#{number % 99}:::a|b" for number in range(20_000)
    }
    entries |= {"#c": ":", "R=standard#1": "::: x y"}
    with running(haproxy, prepare(tmp_path), ready=runtime.path):
        assert dict(runtime.entries(name)) == {"a.example": "1", "b.example": "2"}
        runtime.swap(name, entries)
        assert dict(runtime.entries(name)) == entries
        assert runtime.size(name) == len(entries)
        with pytest.raises(RuntimeApiError, match=r"entries got lost|Unknown|Malformed|refused"):
            runtime.swap(name, {"a.example": "1\nb.example 2"})
        assert dict(runtime.entries(name)) == entries
        assert runtime.size(name) == len(entries)
        runtime.swap(name, {})
        assert runtime.size(name) == 0


def test_errors_have_haproxys_words(haproxy: str, tmp_path: Path) -> None:
    runtime = Runtime(tmp_path / "api.sock")
    with running(haproxy, prepare(tmp_path), ready=runtime.path):
        with pytest.raises(RuntimeApiError, match="Unknown map identifier"):
            runtime.swap("/nowhere.map", {"a": "b"})
        with pytest.raises(RuntimeApiError, match="Unknown command"):
            runtime.tell("nonsense")
        with pytest.raises(RuntimeApiError, match="Invalid addr"):
            runtime.set_address("spare-0", "p", "no.such.name.invalid", 80)
        with pytest.raises(RuntimeApiError, match="No such backend"):
            runtime.tell("set server spare-9/p state maint")
    with pytest.raises(HaproxyAwayError, match="Is it running"):
        runtime.process()


def test_a_spare_server_is_used_and_put_back(haproxy: str, tmp_path: Path) -> None:
    runtime = Runtime(tmp_path / "api.sock")
    with running(haproxy, prepare(tmp_path), ready=runtime.path):
        assert [server.is_in_maintenance for server in runtime.servers()] == [True]
        runtime.set_address("spare-0", "p", "127.0.0.2", 8080)
        (server,) = runtime.servers()
        assert (server.backend, server.address, server.port, server.is_in_maintenance) == (
            "spare-0",
            "127.0.0.2",
            8080,
            False,
        )
        runtime.tell("set server spare-0/p state maint")
        assert [server.is_in_maintenance for server in runtime.servers()] == [True]


def first_worker(master: Master) -> int | None:
    """Wait for the master, which may be there after its worker."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(HaproxyAwayError):
            return master.workers().current
        time.sleep(0.05)
    return None


def test_a_reload_brings_another_worker_and_a_bad_configuration_none(haproxy: str, tmp_path: Path) -> None:
    runtime, master = Runtime(tmp_path / "api.sock"), Master(tmp_path / "master.sock")
    path = prepare(tmp_path)
    with running(haproxy, path, ready=runtime.path, master=tmp_path / "master.sock"):
        before = first_worker(master)
        assert before == runtime.process().pid
        after = master.reload()
        assert before != after == master.workers().current
        good = path.read_text()
        path.write_text("nonsense\n")
        with pytest.raises(RuntimeApiError, match="reload"):
            master.reload()
        assert runtime.process().pid == after, "the old worker goes on"
        path.write_text(good)
        assert master.reload() not in {before, after}


@given(st.dictionaries(st.text("aü日", min_size=1), st.text("bß本", max_size=40)), st.integers(1, 200))
def test_no_batch_is_too_large(entries: dict[str, str], most: int) -> None:
    """Bytes count; a line that is too long by itself is alone, and HAProxy refuses it."""
    found = list(batches(entries, most))
    assert [line for batch in found for line in batch] == [f"{key} {value}" for key, value in sorted(entries.items())]
    assert all(len(batch) == 1 or sum(len(line.encode()) + 1 for line in batch) <= most for batch in found)
