"""Gates while things happen: a real exporter, real rules, and the silences of a real Alertmanager."""

import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from shopset.api import Gate
from shopset.api.platforms import Monitoring
from shopset.core.release.observed import GateReading
from shopset.gates import Gates, Target
from support.servers import Serve, respond
from testbed.monitoring import start_monitoring
from testbed.processes import Processes, answers, wait_for

TARGETS = [Target("a-1", "shopset-a-1", "a"), Target("b-1", "shopset-b-1", "b")]


@dataclass
class Bed:
    """A Prometheus that looks each second, and what it sees: namespace -> whether it errs."""

    prometheus: str
    alertmanager: str
    errs: dict[str, int] = field(default_factory=dict)

    def gates(self) -> Gates:
        apis = {"prometheus": {"url": self.prometheus}, "alertmanager": {"url": self.alertmanager}}
        return Gates(
            Monitoring.model_validate({**apis, "timeout": "30s", "maxGap": "1m"}), lambda _: TARGETS, lambda _: Path()
        )

    def read(self, start: datetime, existing: bool = False) -> GateReading:
        alerts = {"matchers": {"alertname": "CartErrors", "namespace": "{namespace}"}, "includeExisting": existing}
        gate = Gate.model_validate({"name": "carts", "alerts": alerts})
        return self.gates().read(gate, "prod", start, datetime.now(UTC))

    def err(self, namespace: str, errs: bool) -> None:
        """Let a namespace err, or not, and wait until Prometheus has it so."""
        self.errs[namespace] = int(errs)
        wait_for("the alert", lambda: self.is_firing(namespace) == errs, seconds=60)

    def is_firing(self, namespace: str) -> bool:
        found = get(f"{self.prometheus}/api/v1/query?query=ALERTS%7Bnamespace%3D%22{namespace}%22%7D")
        return bool(found["data"]["result"])

    def silence(self, namespace: str) -> None:
        now = datetime.now(UTC)
        matcher = {"name": "namespace", "value": f"{namespace[:-1]}.", "isRegex": True, "isEqual": True}
        post(
            f"{self.alertmanager}/api/v2/silences",
            {
                "matchers": [matcher],
                "startsAt": now.isoformat(),
                "endsAt": (now + timedelta(hours=1)).isoformat(),
                "createdBy": "yamada",
                "comment": "known",
            },
        )


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310  # the bed's own parts
        return json.load(response)


def post(url: str, body: Mapping[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        assert response.status == 200


@pytest.fixture
def bed(tmp_path: Path, serve: Serve) -> Iterator[Bed]:
    errs: dict[str, int] = {}

    def export(handler: BaseHTTPRequestHandler) -> None:
        lines = [f'errors{{namespace="{namespace}"}} {value}' for namespace, value in sorted(errs.items())]
        respond(handler, 200, "\n".join([*lines, ""]).encode())

    home = tmp_path / "prometheus"
    for name in ("targets", "rules"):
        (home / name).mkdir(parents=True)
    exporter = serve(export).removeprefix("http://")
    (home / "targets" / "x.json").write_text(json.dumps([{"targets": [exporter]}]))
    rules = [{"alert": "CartErrors", "expr": "errors > 0"}]
    (home / "rules" / "x.yaml").write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    processes = Processes(tmp_path / "logs")
    try:
        prometheus, alertmanager = start_monitoring(tmp_path, processes)
        for url in (prometheus, alertmanager):
            wait_for(url, lambda url=url: answers(f"{url}/-/ready"), seconds=60)  # type: ignore[misc]
        wait_for("the exporter", lambda: get(f"{prometheus}/api/v1/query?query=up")["data"]["result"] != [], seconds=60)
        yield Bed(prometheus, alertmanager, errs)
    finally:
        processes.stop()


def test_an_alert_that_comes_and_goes(bed: Bed) -> None:
    """It fires and ends unseen; then it is an old one, until it fires again."""
    start = datetime.now(UTC)
    bed.err("shopset-a-1", False)
    bed.err("shopset-a-1", True)
    assert bed.read(start).result == "Fail"
    late = datetime.now(UTC)
    assert bed.read(late).result == "Pass"
    assert bed.read(late, existing=True).result == "Fail"
    bed.err("shopset-a-1", False)
    assert bed.read(start).result == "Fail"
    assert bed.read(late).result == "Pass"
    bed.err("shopset-a-1", True)
    assert bed.read(late).result == "Fail"


def test_a_silence_holds_from_when_it_was_made(bed: Bed) -> None:
    start = datetime.now(UTC)
    bed.silence("shopset-a-1")
    bed.err("shopset-a-1", True)
    bed.err("shopset-c-1", True)
    silent = bed.read(start)
    assert silent.result == "Pass"
    assert silent.evidence.endswith(", 1 silenced")
    bed.err("shopset-b-1", True)
    loud = bed.read(start)
    assert loud.result == "Fail"
    assert "namespace=shopset-b-1" in loud.evidence
    bed.silence("shopset-b-1")
    assert bed.read(start).result == "Fail"
