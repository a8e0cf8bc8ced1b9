"""TLS with 1, 1,000 and 10,000 certificates: HAProxy's start and memory, CPU per request and per handshake, and the agent's work.

The certificates but one are copies of one with other names in them: nobody looks at their signatures here. wrk asks for one
name, over connections that it keeps, or with a handshake (no session is resumed) for each request.
"""

import os
import re
import socket
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import PEM_cert_to_DER_cert

from edges import (
    EDGE_CORE,
    OTHER_CORE,
    Started,
    facts_of,
    groups_of,
    lay_down,
    need,
    pin,
    place_of,
    quick_origins,
    scratch,
    version,
)
from measuring import cpu_seconds
from shopset.core.placement.edges import EdgeClass
from shopset.core.placement.placements import PlacedShop
from shopset.edge_agent.certificate_sources import Folder
from shopset.edge_agent.certificates import Certificates
from shopset.edge_agent.runtime import Runtime
from support.certificates import certificate
from support.haproxies import debian, newer, start
from support.origins import free_port

COUNTS = (1, 1_000, 10_000)
ROUNDS = 3
SECONDS = 4
RENEWALS = 50
HOST = "localhost"
"""wrk asks for the name of its URL, and has no other way to say one."""
_MARK = "-----BEGIN PRIVATE KEY-----"


def write_sources(folder: Path, count: int) -> None:
    """Write certificates, of which one is for the host that is asked for."""
    folder.mkdir()
    (folder / "asked.pem").write_text(certificate(HOST))
    public, _, key = certificate("s00000.example.com", "www.s00000.example.com").partition(_MARK)
    der = PEM_cert_to_DER_cert(public)
    for number in range(1, count):
        text = b64encode(der.replace(b"s00000", b"s%05d" % number)).decode()
        lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        pem = f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n{_MARK}{key}"
        (folder / f"s{number:05}.pem").write_text(pem)


def ask(url: str, *options: str) -> int:
    """Let wrk ask as fast as answers come; return how many were good."""
    command = [
        "taskset",
        "-c",
        str(OTHER_CORE),
        "wrk",
        "-t1",
        "-c32",
        f"-d{SECONDS}s",
        "--timeout",
        "10s",
        *options,
        url,
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in output, output
    found = re.search(r"(\d+) requests in", output)
    assert found, output
    return int(found[1])


def cost(pid: int, url: str, *options: str) -> float:
    """Return the CPU time of a process for one request, in microseconds."""
    before = cpu_seconds(pid)
    requests = ask(url, *options)
    return (cpu_seconds(pid) - before) / requests * 1e6


def told(figures: list[float], unit: str, digits: int = 0) -> str:
    """Return the median and the spread."""
    return f"{statistics.median(figures):.{digits}f} {unit} ({min(figures):.{digits}f} - {max(figures):.{digits}f})"


def bench(program: str, folder: Path) -> None:
    """Measure one HAProxy with each number of certificates."""
    print(f"{version(program)}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with ExitStack() as stack:
        endpoints = stack.enter_context(quick_origins(program, folder, ["a-0"]))
        facts, groups = facts_of(endpoints, EdgeClass("standard")), groups_of(1, 1)
        running: dict[int, tuple[Started, Certificates, Runtime, int, int]] = {}
        now = datetime.now(UTC) + timedelta(hours=1)
        for count in COUNTS:
            home, http, https = folder / str(count), free_port(), free_port()
            home.mkdir()
            shops = [PlacedShop("shop", "standard#0", (HOST,))]
            file = lay_down(home, facts, groups, shops, http, https=(f"127.0.0.1:{https}",))
            write_sources(home / "source", count)
            certificates = Certificates(home / "certificates", [Folder(home / "source")])
            first = cpu_of(lambda: certificates.look(now))  # noqa: B023  # called at once
            idle = cpu_of(lambda: certificates.look(now))  # noqa: B023
            again = cpu_of(lambda: Certificates(home / "certificates", [Folder(home / "source")]).look(now))  # noqa: B023
            started = stack.enter_context(serving(program, file, https))
            runtime = Runtime(Path(place_of(home, http).runtime_socket))
            running[count] = started, certificates, runtime, http, https
            print(
                f"{count:6} certificates: HAProxy's start {started.seconds:.2f} s ({cpu_seconds(started.pid):.2f} s of CPU),"
                f" {started.memory():.0f} MiB; CPU of the agent: first look {first:.2f} s, after its restart {again:.2f} s,"
                f" an idle one {idle * 1000:.1f} ms"
            )
        print_costs(running)
        for count in COUNTS[1:]:
            print_renewals(count, running[count], folder / str(count) / "source", now)


@contextmanager
def serving(program: str, file: Path, port: int) -> Iterator[Started]:
    """Run HAProxy on its core, however long it takes to start."""
    with ExitStack() as stack:
        begin = time.perf_counter()
        running = start(program, file, file.with_suffix(".log"))
        stack.callback(running.kill)
        pin(running.pid, EDGE_CORE)
        while True:
            assert running.alive(), running.said()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield Started(running, time.perf_counter() - begin)


def cpu_of(what: Callable[[], object]) -> float:
    """Return the CPU time that something takes here."""
    begin = time.process_time()
    what()
    return time.process_time() - begin


def print_costs(running: Mapping[int, tuple[Started, Certificates, Runtime, int, int]]) -> None:
    """Print CPU per request and per handshake, in interleaved rounds."""
    kept: dict[int, list[float]] = {count: [] for count in running}
    made: dict[int, list[float]] = {count: [] for count in running}
    plain: list[float] = []
    plain_made: list[float] = []
    close = ("-H", "Connection: close")
    for _ in range(ROUNDS):
        for count, (started, _, _, http, https) in running.items():
            kept[count].append(cost(started.pid, f"https://{HOST}:{https}/"))
            made[count].append(cost(started.pid, f"https://{HOST}:{https}/", *close))
            if count == min(running):
                plain.append(cost(started.pid, f"http://{HOST}:{http}/"))
                plain_made.append(cost(started.pid, f"http://{HOST}:{http}/", *close))
    one_kept, one_made = (statistics.median(each[min(running)]) for each in (kept, made))
    bare, bare_made = statistics.median(plain), statistics.median(plain_made)
    print(f"without TLS: {told(plain, 'us')} a request; with a connection for each {told(plain_made, 'us')}")
    for count in running:
        request, handshake = statistics.median(kept[count]), statistics.median(made[count])
        print(
            f"{count:6} certificates: {told(kept[count], 'us')} a request, {request / bare:.2f} x without TLS,"
            f" {request / one_kept:.2f} x one certificate; with a handshake {told(made[count], 'us')},"
            f" {handshake / bare_made:.1f} x without TLS, {handshake / one_made:.2f} x one certificate"
        )


def print_renewals(
    count: int, one: tuple[Started, Certificates, Runtime, int, int], source: Path, now: datetime
) -> None:
    """Print how long it takes until a renewed certificate is served."""
    started, certificates, runtime, _, _ = one
    taken, cpu = [], cpu_seconds(started.pid)
    for _ in range(RENEWALS):
        (source / "asked.pem").write_text(certificate(HOST))
        begin = time.perf_counter()
        assert certificates.look(now)
        brought = certificates.bring(runtime, now)
        taken.append((time.perf_counter() - begin) * 1000)
        assert (brought.added, brought.removed) == (1, 1)
    cpu = (cpu_seconds(started.pid) - cpu) / RENEWALS * 1000
    print(f"{count:6} certificates: one renewed in {told(taken, 'ms')}, for which HAProxy works {cpu:.1f} ms")


def main() -> None:
    """Measure both versions, or the one that is named: debian or newer."""
    need("wrk", "taskset")
    programs = {"debian": debian(), "newer": newer()}
    for program in [programs[name] for name in sys.argv[1:]] or programs.values():
        with scratch() as folder:
            bench(program, folder)


if __name__ == "__main__":
    main()
