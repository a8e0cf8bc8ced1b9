"""A million shops read of CSV, JSON lines and PostgreSQL, each in a process of its own. Limits: 10 s and 1.5 GB.

Beside each stands a peer that only passes over the same shops: Python's csv and json modules, and a copy
by psql into nothing. `python bench/bench_shops.py [SHOPS]`.
"""

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from measuring import peak_memory
from shopset.api import Platform
from shopset.shops import read_shops
from support.postgresql import Server, postgresql

COLUMNS = ("name", "class", "hosts", "requestsPerSecond", "connections", "pins")
SECONDS, MIB = 10.0, 1.5 * 1024


def rows(count: int) -> Iterator[tuple[str, str, list[str], float, int]]:
    """Yield shops in no order; every tenth has two hosts."""
    chance = random.Random(6)  # noqa: S311  # the same shops each time
    numbers = list(range(count))
    chance.shuffle(numbers)
    for number in numbers:
        hosts = [f"shop-{number:07}.example.com"]
        if number % 10 == 0:
            hosts.append(f"www.shop-{number}.example.jp")
        kind = chance.choice(["standard", "premium", "single"])
        yield f"shop-{number:07}", kind, hosts, round(chance.lognormvariate(0, 2) + 0.001, 3), chance.randint(1, 20)


def make_files(folder: Path, count: int) -> None:
    """Write the shops as CSV and as JSON lines."""
    with (folder / "shops.csv").open("w") as table, (folder / "shops.jsonl").open("w") as lines:
        table.write(",".join(COLUMNS) + "\n")
        for name, kind, hosts, requests, connections in rows(count):
            table.write(f"{name},{kind},{' '.join(hosts)},{requests},{connections},\n")
            values = (name, kind, hosts, requests, connections)
            lines.write(json.dumps(dict(zip(COLUMNS, values, strict=False))) + "\n")


def make_table(server: Server, folder: Path) -> None:
    """Load the shops of the CSV file into a table."""
    with server.connect() as connection:
        connection.execute(
            "CREATE TABLE loaded (name text, class text, hosts text, rps float8, connections int, pins text)"
        )
        load = "COPY loaded FROM STDIN (FORMAT csv, HEADER)"
        with (folder / "shops.csv").open("rb") as file, connection.cursor() as cursor, cursor.copy(load) as copy:
            while block := file.read(1 << 20):
                copy.write(block)
        connection.execute(
            "CREATE TABLE shops AS SELECT name, class, string_to_array(hosts, ' ') AS hosts, rps AS requests_per_second,"
            " connections, NULL::text[] AS pins, now() AS created_at FROM loaded"
        )
        connection.execute("DROP TABLE loaded")
        connection.execute("ALTER TABLE shops ADD PRIMARY KEY (name)")


def read(source: Mapping[str, str], folder: Path, secret: Path) -> int:
    """Read one source as a fleet would."""
    repositories = {key: f"/srv/git/shopset-{key}.git" for key in ("system", "apps", "configuration")}
    spec = {
        "repositories": repositories,
        "delivery": {"directory": {"path": "/clusters"}},
        "shops": {"sources": [source]},
    }
    platform = Platform.model_validate({"metadata": {"name": "x"}, "spec": spec})
    found = read_shops(platform, folder, lambda _: secret, [], {}, {"standard", "premium", "single"})
    assert not found.problems, found.problems[:3]
    return len(found.shops)


def csv_peer(folder: Path) -> int:
    """Pass over the rows of the CSV file."""
    with (folder / "shops.csv").open(newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def json_peer(folder: Path) -> int:
    """Pass over the objects of the JSON lines."""
    with (folder / "shops.jsonl").open("rb") as file:
        return sum(1 for line in file if json.loads(line))


def psql_peer(secret: Path) -> int:
    """Copy the table to nothing."""
    command = [
        "psql",
        "-q",
        (secret / "uri").read_text(),
        "-c",
        r"\copy (SELECT * FROM shops ORDER BY name) TO '/dev/null'",
    ]
    subprocess.run(command, check=True)
    return 0


def measured(act: Callable[[], int]) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak MiB of something done in a fresh process."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        wall, cpu = time.perf_counter(), time.process_time()
        act()
        figures = time.perf_counter() - wall, time.process_time() - cpu, peak_memory(os.getpid())
        os.write(sending, json.dumps(figures).encode())
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as pipe:
        found = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    wall, cpu, memory = json.loads(found)
    return wall, cpu, memory


def main() -> None:
    """Print seconds and memory of each source beside its peer."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name, postgresql() as server:
        folder = Path(name)
        make_files(folder, count)
        make_table(server, folder)
        secret = server.folder
        sources: list[tuple[str, Mapping[str, str], str, Callable[[], int]]] = [
            ("CSV", {"kind": "Files", "path": "shops.csv"}, "csv module", lambda: csv_peer(folder)),
            ("JSON lines", {"kind": "Files", "path": "shops.jsonl"}, "json module", lambda: json_peer(folder)),
            ("PostgreSQL", {"kind": "PostgreSQL", "table": "shops", "secret": "db"}, "psql", lambda: psql_peer(secret)),
        ]
        for what, source, peer, pass_over in sources:
            wall, cpu, memory = measured(lambda source=source: read(source, folder, secret))  # type: ignore[misc]
            other, _, _ = measured(pass_over)
            print(
                f"{count:,} shops of {what:10}: {wall:5.1f} s ({cpu:.1f} s of CPU), {memory:5.0f} MiB;"
                f" {peer} alone: {other:.1f} s; of the limits: {wall / SECONDS:.2f} and {memory / MIB:.2f} (at most 1)"
            )


if __name__ == "__main__":
    main()
