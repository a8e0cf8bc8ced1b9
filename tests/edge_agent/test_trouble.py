"""An edge with everything against it at once, in one run under load."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shopset.core.placement.edges import EdgeHealth, EdgeSettings
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.runtime import Master
from support.edge_agents import edge, placement, running_agent
from support.haproxies import newer
from support.origins import origins
from support.shoppers import shopping

GROUPS = {"standard#0": ("a-1", "b-1"), "standard#1": ("b-1", "a-1")}
SHOPS = {f"shop-{number}": f"standard#{number % 2}" for number in range(20)}
HOSTS = tuple(f"{name}.example.com" for name in SHOPS)
CALM = EdgeSettings(health=EdgeHealth(interval=100, timeout=5000, rise=2, slow_start=0))


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """Have a folder be a disk of four mebibytes."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("who is not root may mount nothing")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    """Write a file until the disk is full."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    assert os.statvfs(folder).f_bavail == 0
    return path


def test_a_full_disk_without_git_through_a_reload_and_a_dead_agent() -> None:
    """No safe request fails, what was good last stays and is told, and when all is well again it catches up."""
    with origins("a-1", "b-1") as shopsets, edge(newer()) as here, _small_disk(here.folder.path):
        StateFolder.at(here.folder.path)
        endpoints = {name: f"http://{each.address}" for name, each in shopsets.items()}
        here.repository.push(placement(GROUPS, SHOPS, endpoints, settings=CALM))
        options = ("--repository", str(here.repository.path), "--poll", "0.3")
        with running_agent(here, *options) as agent:
            agent.until(lambda: {each["state"] for each in agent.status().get("shopsets", {}).values()} == {"up"})
            with shopping(here.port, rate=60, hosts=HOSTS, methods=("GET", "HEAD", "OPTIONS"), timeout=20) as shoppers:
                good = here.repository.push(placement(GROUPS, {**SHOPS, "new": "standard#0"}, endpoints, settings=CALM))
                agent.until(lambda: agent.status().get("commit") == good)
                away = here.repository.path.rename(here.repository.path.with_name("away.git"))
                filler = _fill(here.folder.path)
                agent.until(lambda: agent.status()["mode"] == "stale")
                Master(here.folder.run / "master.sock").reload()
                shoppers.wait(20)
                assert here.ask("new.example.com") == 200
                agent.process.send_signal(signal.SIGKILL)
                agent.process.wait()
                with running_agent(here, *options) as successor:
                    successor.until(lambda: successor.status().get("mode") == "stale")
                    told = successor.status()
                    assert (told["commit"], told["hosts"], told["haproxy"]["up"]) == (good, 21, True)
                    # git is back, and what it has can't be written.
                    away.rename(here.repository.path)
                    last = here.repository.push(placement(GROUPS, SHOPS, endpoints, settings=CALM))
                    successor.until(lambda: "No space left" in str(successor.status()))
                    assert here.ask(HOSTS[0]) == 200
                    filler.unlink()
                    successor.until(
                        lambda: successor.status()["commit"] == last and successor.status()["mode"] == "fresh"
                    )
                    assert here.ask("new.example.com") == 404
                shoppers.wait(20)
                outcome = shoppers.finish()
        assert outcome.failed.outcomes() == {}
        assert here.differing_from(last) == ""
