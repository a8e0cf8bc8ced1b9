"""A real Prometheus whose past a test writes: samples come from OpenMetrics by promtool, so nothing has to be waited for."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from testbed.processes import Part, Processes, wait_for
from testbed.programs import free_ports, program

INTERVAL = timedelta(seconds=15)


@dataclass(frozen=True)
class Recorded:
    """One value of a series from one time to another, each INTERVAL."""

    metric: str
    labels: Mapping[str, str]
    start: datetime
    end: datetime
    value: float = 1

    def samples(self) -> Iterator[str]:
        """Yield lines of OpenMetrics."""
        labels = ",".join(f"{label}={json.dumps(value)}" for label, value in self.labels.items())
        for index in range((self.end - self.start) // INTERVAL + 1):
            yield f"{self.metric}{{{labels}}} {self.value} {(self.start + index * INTERVAL).timestamp():.3f}"


def alert(
    name: str, where: Mapping[str, str], start: datetime, end: datetime, active: datetime | None = None
) -> tuple[Recorded, Recorded]:
    """Return what Prometheus records of an alert that fires: active since then, or since it fires."""
    labels = {"alertname": name, **where}
    state = Recorded("ALERTS_FOR_STATE", labels, start, end, (active or start).timestamp())
    return Recorded("ALERTS", {**labels, "alertstate": "firing"}, start, end), state


def yesterday() -> datetime:
    """Return a full hour some time ago."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=20)


@contextmanager
def history(
    folder: Path, recorded: Sequence[Recorded], rules: Sequence[str] = (), options: Sequence[str] = ()
) -> Iterator[tuple[str, int]]:
    """Start a Prometheus with this past and alerting rules of these names that never fire. Yields its URL and pid."""
    lines = [line for each in sorted(recorded, key=lambda each: each.metric) for line in each.samples()]
    (folder / "past.txt").write_text("\n".join([*lines, "# EOF", ""]))
    blocks = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "past.txt", "data"]
    subprocess.run(blocks, cwd=folder, check=True, capture_output=True)
    silent = [{"alert": name, "expr": "vector(0) == 1"} for name in rules]
    (folder / "rules.json").write_text(json.dumps({"groups": [{"name": "x", "rules": silent}]}))
    (folder / "prometheus.json").write_text(json.dumps({"rule_files": ["rules.json"]}))
    (port,) = free_ports(1)
    processes = Processes(folder / "logs")
    command = [
        "prometheus",
        "--config.file=prometheus.json",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address=127.0.0.1:{port}",
        *options,
    ]
    url = f"http://127.0.0.1:{port}"
    try:
        processes.start(Part("prometheus", command, folder=folder))
        wait_for("Prometheus", lambda: _is_up(url), lambda: processes.check("prometheus"))
        yield url, processes.pids["prometheus"]
    finally:
        processes.stop()


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as response:  # noqa: S310  # started just now
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 401
    except OSError:
        return False
