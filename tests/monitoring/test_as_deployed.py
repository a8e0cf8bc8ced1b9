"""The edge as deploy/edge runs it: the commands of both containers, side by side on one folder, without Kubernetes."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.edge_agents import Repository, end, placement
from support.haproxies import debian
from support.origins import Origin, free_port, origins
from testbed.processes import wait_for

ROOT = Path(__file__).resolve().parents[2]
PORTS = {"http": 8080, "https": 8443, "metrics": 8404, "agent": 8405}
STATE = "/var/lib/shopset-edge"


def containers() -> dict[str, dict[str, Any]]:
    for found in yaml.safe_load_all((ROOT / "deploy" / "edge" / "edge.yaml").read_text()):
        if found["kind"] == "StatefulSet":
            return {each["name"]: each for each in found["spec"]["template"]["spec"]["containers"]}
    raise AssertionError("there is no StatefulSet")


@dataclass
class Pod:
    """Both containers' processes."""

    folder: Path
    repository: Repository
    shopsets: dict[str, Origin]
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str) -> None:
        container = containers()[name]
        if name == "haproxy":
            command = container["command"]
        else:
            command = [sys.executable, "-m", "shopset.edge_agent", *container["command"][1:], *container["args"]]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [self.here(each) for each in command],
                env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def here(self, text: str) -> str:
        """Return a text of the manifest with the paths and ports of this test."""
        values = {"SYSTEM": str(self.repository.path), "CONNECTIONS": "500", "TOP": "10"}
        text = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], text)
        text = text.replace(STATE, str(self.folder / "state")).replace("/etc/shopset", str(self.folder / "etc"))
        for name, port in PORTS.items():
            text = re.sub(rf"(\*|0\.0\.0\.0):{port}\b", f"127.0.0.1:{self.ports[name]}", text)
        return text

    def ask(self, host: str = "hoge.example.com") -> int:
        """Return the status of an answer; 0 is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=10)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/", headers={"Host": host, "Connection": "close"})
            with connection.getresponse() as response:
                return response.status
        return 0

    def read(self, name: str, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=60) as found:  # loopback
            text: str = found.read().decode()
        return text

    def kill(self, name: str) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.running[name].pid, signal.SIGKILL)
        end(self.running[name])

    def place(self, shops: dict[str, str]) -> None:
        endpoints = {name: f"http://{each.address}" for name, each in self.shopsets.items()}
        self.repository.push(placement({"standard#0": ("a-1", "b-1")}, shops, endpoints))

    def said(self) -> str:
        return "".join((self.folder / f"{name}.log").read_text(errors="replace") for name in self.running)


@pytest.fixture
def deployed() -> Iterator[Pod]:
    folder = Path(tempfile.mkdtemp(prefix="pod-"))
    for name in ("state", "bin", "etc/git", "etc/webhook", "etc/certificates"):
        (folder / name).mkdir(parents=True)
    (folder / "bin" / "haproxy").symlink_to(debian())
    try:
        with origins("a-1", "b-1") as shopsets:
            pod = Pod(folder, Repository(folder / "system.git"), shopsets)
            try:
                yield pod
            finally:
                for name in pod.running:
                    pod.kill(name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_both_containers_serve_and_survive_each_other(deployed: Pod) -> None:
    pod = deployed
    # HAProxy's container comes first, and waits.
    pod.start("haproxy")
    pod.place({"hoge": "standard#0"})
    pod.start("agent")
    wait_for("the first answer", lambda: pod.ask() == 200, seconds=90)

    # A change gets there, and the sockets are nobody else's.
    pod.place({"hoge": "standard#0", "foo": "standard#0"})
    wait_for("the new shop", lambda: pod.ask("foo.example.com") == 200, seconds=90)
    sockets = list((pod.folder / "state" / "run").glob("*.sock"))
    assert {each.name for each in sockets} >= {"haproxy.sock", "master.sock", "next.sock"}
    assert {oct(each.stat().st_mode & 0o777) for each in sockets} == {"0o600"}

    # What Prometheus reads of both.
    wait_for("both ShopSets", lambda: pod.read("agent", "/metrics").count("shopset_edge_shopset_up{") == 2, seconds=60)
    text = pod.read("agent", "/metrics")
    assert re.search(r'^shopset_edge_shopset_up\{cluster="",shopset="a-1",tier=""\} 1\.0$', text, re.MULTILINE)
    wait_for("the mode", lambda: 'shopset_edge_mode{mode="fresh"} 1.0' in pod.read("agent", "/metrics"), seconds=60)
    assert "haproxy_frontend_http_requests_total" in pod.read("metrics", "/metrics?scope=frontend")

    # An edge without its agent serves; one without HAProxy says nothing of ShopSets.
    pod.kill("agent")
    assert pod.ask() == 200
    pod.start("agent")
    wait_for("the agent", lambda: pod_is_up(pod), seconds=90)
    assert pod.ask() == 200
    pod.kill("haproxy")
    wait_for("that HAProxy is away", lambda: "shopset_edge_haproxy_up 0.0" in pod.read("agent", "/metrics"), seconds=90)
    wait_for("no ShopSets", lambda: "shopset_edge_shopset_up{" not in pod.read("agent", "/metrics"), seconds=90)

    # HAProxy alone comes back with what is on the disk, without git.
    pod.kill("agent")
    shutil.rmtree(pod.repository.path)
    pod.start("haproxy")
    wait_for("the last good maps", lambda: pod.ask("foo.example.com") == 200, seconds=90)

    # The signal of preStop lets it end by itself.
    assert "kill -USR1 1" in containers()["haproxy"]["lifecycle"]["preStop"]["exec"]["command"][-1]
    pod.running["haproxy"].send_signal(signal.SIGUSR1)
    assert pod.running["haproxy"].wait(timeout=90) == 0, pod.said()


def pod_is_up(pod: Pod) -> bool:
    with suppress(OSError):
        return "shopset_edge_haproxy_up 1.0" in pod.read("agent", "/metrics")
    return False
