"""The HTTP servers of the demo's ShopSets, each on a port of its own that is kept for it."""

import socket
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shopset.cli.demo.children import Children

AGENT: Final = "shopset-edge"
"""Whose port is that of the edge's agent."""
HTTP: Final = "http"
"""Whose port is that for shoppers."""


@dataclass
class Ports:
    """Free ports of this machine, one for each name."""

    _kept: dict[str, socket.socket] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        """Return the port of a name."""
        if name not in self._kept:
            # Bound but not listened on, it is given to nobody else, also while its own server is dead.
            kept = self._kept[name] = socket.socket()
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.bind(("127.0.0.1", 0))
        return int(self._kept[name].getsockname()[1])

    def endpoint(self, name: str) -> str:
        """Return the URL of a name."""
        return f"http://127.0.0.1:{self[name]}"

    def close(self) -> None:
        """Give the ports back."""
        for kept in self._kept.values():
            kept.close()


@dataclass
class Servers:
    """The servers of ShopSets."""

    children: Children
    ports: Ports
    _sites: dict[str, tuple[str, Path | None]] = field(default_factory=dict)
    _up: set[str] = field(default_factory=set)

    def start(self, name: str, cluster: str, folder: Path | None = None) -> None:
        """Start the server of a ShopSet. `folder` is its namespace, where what it runs is delivered, where that is one."""
        self._sites[name] = cluster, folder
        delivered = () if folder is None else (str(folder),)
        command = (sys.executable, "-m", "shopset.cli.demo.origins", name, str(self.ports[name]), *delivered)
        self.children.start(name, command)
        self._up.add(name)

    def kill(self, cluster: str) -> list[str]:
        """Let the servers of a cluster die at once. Returns whose they were."""
        dead = sorted(name for name in self._up if self._sites[name][0] == cluster)
        for name in dead:
            self.children.kill(name)
        self._up.difference_update(dead)
        return dead

    def revive(self, cluster: str) -> None:
        """Start the servers of a cluster again."""
        for name, (site, folder) in sorted(self._sites.items()):
            if site == cluster and name not in self._up:
                self.start(name, cluster, folder)

    @property
    def names(self) -> Collection[str]:
        """The ShopSets that have a server."""
        return self._sites.keys()
