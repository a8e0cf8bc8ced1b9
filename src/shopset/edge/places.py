"""What an edge's own machine decides about its configuration."""

from dataclasses import dataclass
from typing import Final

_UNWRITABLE: Final = frozenset(" \t\r\n\\'\"#,()%$[]{}")


@dataclass(frozen=True)
class Place:
    """One edge."""

    state: str
    """The folder with everything that belongs to it: an absolute path without spaces, commas and brackets."""
    http: tuple[str, ...] = ("*:8080",)
    """Addresses for shoppers, as `bind` takes them. For IPv6 add `:::8080 v6only` rather than one address for both."""
    https: tuple[str, ...] = ()
    """The same with TLS; the certificates are those of `certificate_list`."""
    metrics: str = ""
    """The address of HAProxy's exporter; without one there is none."""
    accept_proxy: bool = False
    """Whether shoppers come through a load balancer that speaks the PROXY protocol."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of HTTP proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    threads: int = 0
    """0 is one for each CPU."""
    connections: int = 20_000
    """Of shoppers, at once."""
    shops: int = 200_000
    """Shops that are counted at once: those with requests within the last minutes."""
    clients: int = 200_000
    """Client addresses that are counted at once."""
    log: str = ""
    """Where access logs go, as in `127.0.0.1:514` or `/run/log.sock`; without it there are none."""
    authorities: str = "@system-ca"
    """A file with the certificates of the authorities that ShopSets with HTTPS are signed by."""
    user: str = ""
    group: str = ""
    spares: int = 16
    """Backends that ShopSets to come may use without a reload."""
    silence: str = "60s"
    """How long a ShopSet or a client may be silent in a request."""

    def __post_init__(self) -> None:
        """Raise ValueError for a folder that HAProxy's configuration has no way to write."""
        if not self.state.startswith("/") or _UNWRITABLE & set(self.state):
            message = f"{self.state!r} is no absolute path without spaces and special characters"
            raise ValueError(message)

    @property
    def configuration(self) -> str:
        """The file that HAProxy is started with."""
        return f"{self.state}/haproxy.cfg"

    @property
    def hosts_map(self) -> str:
        """The large map."""
        return f"{self.state}/maps/hosts.map"

    @property
    def moved_map(self) -> str:
        """The overlay."""
        return f"{self.state}/maps/moved.map"

    @property
    def runtime_socket(self) -> str:
        """The runtime API."""
        return f"{self.state}/run/haproxy.sock"

    @property
    def next_socket(self) -> str:
        """By which HAProxy leads a request to the next ShopSet."""
        return f"{self.state}/run/next.sock"

    @property
    def certificate_list(self) -> str:
        """The crt-list."""
        return f"{self.state}/certificates/list.txt"
