"""The HAProxy of an edge: whether it runs, what it holds, and how it is started and brought to read its files anew."""

import os
import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from shopset.core.errors import ShopsetError
from shopset.edge.changes import GENERATION_KEY
from shopset.edge.hostmap import ALONE, bucket_of, unpacked
from shopset.edge.places import Place
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.runtime import HaproxyAwayError, Master, Process, Runtime, RuntimeApiError, Server

ENVIRONMENT: Final = "SHOPSET_EDGE_GENERATION"
"""Set by the configuration, so that HAProxy can be asked which one it has."""
TUNABLES: Final = "glibc.malloc.hugetlb=1"
"""Of glibc: memory in large pages, where the kernel gives them to who asks. Looking up one host in a million then costs far less."""
_CHECK_SECONDS: Final = 60.0
_REST: Final = 2.0
"""Seconds between two starts of an HAProxy that ends."""
_HOSTS_A_QUESTION: Final = 50


class ConfigurationRefusedError(ShopsetError):
    """HAProxy does not take a configuration."""


@dataclass(frozen=True)
class Held:
    """What HAProxy holds, less the overlay."""

    process: Process
    generation: str
    """Of its configuration; empty where it is none of the agent's."""
    hosts_generation: str
    """Of its hosts.map."""
    hosts: int
    """Entries of that."""


class Haproxy:
    """HAProxy with the files of a state folder. `program` is given where the agent starts it."""

    def __init__(self, folder: StateFolder, place: Place, program: str | None = None) -> None:
        self.runtime = Runtime(Path(place.runtime_socket))
        self.master = Master(folder.run / "master.sock")
        self.program = program
        self._folder = folder
        self._place = place
        self.ended = ""
        """How the last one that the agent started came to its end, other than by a signal; empty while one answers."""
        self._child: subprocess.Popen[bytes] | None = None
        self._started = -_REST

    # -- what it holds

    def process(self) -> Process | None:
        """Return who routes; None where nobody does."""
        try:
            return self.runtime.process()
        except RuntimeApiError:
            return None

    def held(self) -> Held:
        """Return what HAProxy holds. Raises RuntimeApiError, HaproxyAwayError."""
        process = self.runtime.process()
        hosts = self._place.hosts_map
        return Held(
            process,
            self._environment(),
            self.values(hosts, [GENERATION_KEY]).get(GENERATION_KEY, ""),
            self.runtime.size(hosts),
        )

    def overlay(self) -> dict[str, str]:
        """Return all of the overlay that HAProxy holds. Raises RuntimeApiError, HaproxyAwayError."""
        return dict(self.runtime.entries(self._place.moved_map))

    def values(self, name: str, keys: Sequence[str]) -> dict[str, str]:
        """Return what a map finds for some keys, without those that it does not. Raises RuntimeApiError, HaproxyAwayError."""
        found: dict[str, str] = {}
        for part in _parts(keys):
            answer = self.runtime.ask("; ".join(f"get map {name} {key}" for key in part))
            lines = [line for line in answer.splitlines() if line]
            if len(lines) != len(part):
                raise RuntimeApiError(f"get map {name}", lines[0] if lines else "")
            found |= {key: value for key, line in zip(part, lines, strict=True) if (value := _value(line)) is not None}
        return found

    def hosts(self, names: Sequence[str]) -> dict[str, str]:
        """Return what the large map says of some hosts, without those that it does not have. Raises as `values`."""
        shared = {host: bucket_of(host) for host in names if not host.startswith("*")}
        entries = self.values(self._place.hosts_map, list(dict.fromkeys(shared.values())))
        found: dict[str, str] = {}
        for key, value in entries.items():
            for host, said in unpacked(key, value):
                found.setdefault(host, said)
        missing = {f"{ALONE}{host}": host for host in names if host not in found}
        alone = self.values(self._place.hosts_map, list(missing))
        return {host: found[host] for host in names if host in found} | {
            missing[key]: said for key, said in alone.items()
        }

    def servers(self) -> list[Server]:
        """Return all servers. Raises RuntimeApiError, HaproxyAwayError."""
        return self.runtime.servers()

    def _environment(self) -> str:
        answer = self.runtime.ask(f"show env {ENVIRONMENT}").strip()
        name, _, value = answer.partition("=")
        return value if name == ENVIRONMENT else ""

    # -- starting it, and having it read its files

    def check(self, configuration: Path) -> None:
        """Have HAProxy judge a configuration. Raises ConfigurationRefusedError. Without a program, its reload judges."""
        if self.program is None:
            return
        try:
            done = subprocess.run(
                [self.program, "-c", "-f", str(configuration)],
                capture_output=True,
                text=True,
                check=False,
                timeout=_CHECK_SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationRefusedError(f"{self.program} cannot judge {configuration}: {error}") from error
        if done.returncode:
            words = "; ".join(_alerts(done.stdout + done.stderr))
            raise ConfigurationRefusedError(f"{self.program} refuses {configuration}: {words or done.returncode}")

    def reload(self) -> None:
        """Have HAProxy read its files anew, without a lost connection. Raises RuntimeApiError, HaproxyAwayError."""
        self.master.reload()

    def ensure_started(self) -> bool:
        """Start HAProxy where this is the agent's affair, there is something to start it with, and it does not run.

        It has a session of its own, so that it goes on when the agent ends. Returns whether it was started.
        Raises ConfigurationRefusedError where it ended at once; it is started again after a while.
        """
        if self.program is None or not self._folder.configuration.exists() or self.is_alive():
            return False
        if monotonic() < self._started + _REST:
            raise ConfigurationRefusedError(self._end())
        self._started = monotonic()
        log = (self._folder.run / "haproxy.log").open("wb")
        with log:
            self._child = subprocess.Popen(
                [
                    self.program,
                    "-W",
                    "-S",
                    f"{self._folder.run / 'master.sock'},mode,600",
                    "-p",
                    str(self._pid_file),
                    "-f",
                    str(self._folder.configuration),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(),
                start_new_session=True,
            )
        with suppress(OSError):
            self._pid_file.write_text(f"{self._child.pid}\n")
        return True

    def is_alive(self) -> bool:
        """Tell whether a master runs. One that just reads its configuration anew answers at no socket."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return True
            if code > 0:
                self.ended = self._end()
            self._child = None
        with suppress(OSError, ValueError):
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if os.fsencode(self._folder.configuration) in command:
                return True
        try:
            self.master.workers()
        except RuntimeApiError:
            return False
        return True

    def _end(self) -> str:
        words = ""
        with suppress(OSError):
            words = "; ".join(_alerts((self._folder.run / "haproxy.log").read_text(errors="replace"))[-3:])
        return f"HAProxy ended: {words or 'its log says why'}"

    @property
    def _pid_file(self) -> Path:
        return self._folder.run / "haproxy.pid"


def environment() -> dict[str, str]:
    """Return the environment that HAProxy is started with: this process's own, and TUNABLES unless it has others."""
    return {"GLIBC_TUNABLES": TUNABLES, **os.environ}


def sample(entries: Sequence[tuple[str, str]], most: int, source: random.Random) -> dict[str, str]:
    """Return some entries of a map, of each key the first."""
    first: dict[str, str] = {}
    for key, value in entries:
        first.setdefault(key, value)
    keys = source.sample(sorted(first), min(most, len(first)))
    return {key: first[key] for key in keys}


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _HOSTS_A_QUESTION):
        yield keys[start : start + _HOSTS_A_QUESTION]


def _alerts(text: str) -> list[str]:
    """Return what HAProxy says is wrong, each on one line: some go on in lines that begin with blanks."""
    return [" ".join(each.split()) for each in re.findall(r"^.*ALERT.*(?:\n[ \t]+\S.*)*", text, re.MULTILINE)]


def _value(line: str) -> str | None:
    """Return the value in an answer of `get map`; None where nothing was found."""
    if "found=yes" not in line:
        return None
    _, _, rest = line.partition(', value="')
    value, _, _ = rest.rpartition('", type=')
    return value


__all__ = ["ConfigurationRefusedError", "Haproxy", "HaproxyAwayError", "Held", "environment", "sample"]
