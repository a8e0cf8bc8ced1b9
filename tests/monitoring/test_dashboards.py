"""Dashboards and rules: Grafana can read them, Prometheus understands each expression, and each metric is one that is exported."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from shopset.edge_agent.demand import DemandMetrics
from shopset.edge_agent.metrics import Metrics
from shopset.edge_agent.runtime import Runtime
from support.haproxies import haproxy, running
from support.promtool import CONTROLLER_RULES, EDGE_RULES, MONITORING, promtool, rules
from testbed.programs import free_ports

__all__ = ["haproxy"]
ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
EXPORTER = """
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 1s
frontend edge
  bind 127.0.0.1:{port}
  http-request use-service prometheus-exporter if {{ path /metrics }}
  default_backend a-1
backend a-1
  server p 127.0.0.1:{port}
"""
SCOPES = "scope=global&scope=frontend&scope=backend"
"""As the documentation has it scraped."""


def dashboards() -> Iterator[dict[str, Any]]:
    for path in DASHBOARDS:
        yield json.loads(path.read_text())


def expressions() -> Iterator[str]:
    """Yield each expression of dashboards and rules, with the variables of Grafana filled in."""
    for found in dashboards():
        for text in [*(t["expr"] for p in found["panels"] for t in p["targets"])]:
            yield text.replace("$shopset", "a-1").replace("$shop", "hoge")
        yield from (each["expr"] for each in found["annotations"]["list"])
        for variable in found["templating"]["list"]:
            if variable["type"] == "query":
                yield re.sub(r"label_values\((.*), \w+\)", r"\1", variable["definition"])
    for rule in rules(EDGE_RULES):
        yield rule["expr"]


def metrics(expression: str) -> set[str]:
    """Return the names of the metrics that an expression reads."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}', "", expression)
    return set(re.findall(r"\b(?:(?:shopset_edge|haproxy)_\w+|(?:edge|shopset|shop|cluster):[\w:]+)", bare))


def exported(text: str) -> set[str]:
    """Return the names of metrics of an export, whether they have series now or not."""
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    return names | {f"{name}_bucket" for name in names}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: str(path.stem))
def test_a_dashboard_has_what_grafana_needs(path: Path) -> None:
    found = json.loads(path.read_text())
    assert found["uid"] == f"shopset-{path.stem}"
    assert found["title"]
    assert found["schemaVersion"] >= 36
    assert found["panels"]
    variables = {each["name"] for each in found["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        assert panel["title"]
        assert panel["type"] in {"timeseries", "stat"}
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))


def test_uids_are_unique() -> None:
    assert len({each["uid"] for each in dashboards()}) == len(DASHBOARDS) >= 3


def test_the_rules_have_no_lint() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *EDGE_RULES, *CONTROLLER_RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_understands_each_expression(tmp_path: Path) -> None:
    entries = [{"record": f"x:{index}", "expr": text} for index, text in enumerate(expressions())]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "x", "rules": entries}]}))
    done = promtool("check", "rules", "--lint=none", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(entries)} rules found" in done.stdout


def test_each_metric_is_exported_by_the_agent_by_haproxy_or_by_a_rule(haproxy: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running(haproxy, EXPORTER.format(port=port), ready=port):
        url = f"http://127.0.0.1:{port}/metrics?{SCOPES}"
        with urllib.request.urlopen(url, timeout=60) as response:  # loopback
            of_haproxy = exported(response.read().decode())
    both = CollectorRegistry()
    both.register(DemandMetrics(Runtime(tmp_path / "nobody.sock"), top=1))
    of_agent = exported(generate_latest(Metrics().registry).decode() + generate_latest(both).decode())
    known = of_haproxy | of_agent | {each["record"] for each in rules(EDGE_RULES) if "record" in each}
    used = {name for text in expressions() for name in metrics(text)}
    assert len(used) > 30
    assert used - known == set()


def test_the_documented_scrape_is_the_one_that_was_tried() -> None:
    text = (ROOT / "docs" / "edge-observability.md").read_text()
    (block,) = (each for each in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "scrape_configs" in each)
    jobs = {job["job_name"]: job for job in yaml.safe_load(block)["scrape_configs"]}
    assert jobs.keys() == {"shopset-edge", "shopset-edge-haproxy"}
    asked = "&".join(f"scope={each}" for each in jobs["shopset-edge-haproxy"]["params"]["scope"])
    assert asked == SCOPES
