"""What the Prometheus operator and Grafana's sidecar are given: the chart and deploy/monitoring give the same, of one source."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.processes import wait_for

from .charts import CHART, by_name, helm, kustomized, template, without_helm
from .conftest import ROOT, ApiServer

MONITORING = ROOT / "deploy" / "monitoring"
OPERATOR = Path(__file__).with_name("prometheus_operator.json")
ON = "--set=edge.enabled=true," + ",".join(
    f"monitoring.{each}.install=true" for each in ("serviceMonitors", "rules", "dashboards")
)
SHOWN = "--show-only=templates/monitoring.yaml"


def rules(name: str) -> list[dict[str, Any]]:
    found = yaml.safe_load((MONITORING / f"{name}.yaml").read_text())["groups"]
    assert isinstance(found, list)
    return found


@pytest.fixture(scope="module")
def with_operator(api_server: ApiServer) -> ApiServer:
    """An API server that knows the operator's kinds, as the operator defines them."""
    api_server.apply(*json.loads(OPERATOR.read_text())["definitions"])
    kinds = ("servicemonitors", "prometheusrules")
    wait_for("the kinds", lambda: all(api_server.kubectl("get", kind).returncode == 0 for kind in kinds))
    return api_server


def test_the_chart_and_deploy_give_the_same_objects() -> None:
    made = [without_helm(each) for each in template(ON, SHOWN)]
    assert by_name(made) == by_name([without_helm(each) for each in kustomized(MONITORING)])


def test_nothing_of_it_is_there_unless_asked_for() -> None:
    objects = template("--set=edge.enabled=true")
    assert not {each["kind"] for each in objects} & {"ServiceMonitor", "PrometheusRule"}
    assert not [each for each in objects if "dashboard" in each["metadata"]["name"]]
    helm("lint", "--strict", str(CHART), ON)


def test_without_an_edge_only_the_controller_is_watched() -> None:
    objects = template(ON, "--set=edge.enabled=false", SHOWN)
    assert sorted((each["kind"], each["metadata"]["name"]) for each in objects) == [
        ("PrometheusRule", "shopset-controller"),
        ("ServiceMonitor", "shopset-controller"),
    ]


def test_rules_and_dashboards_are_those_of_deploy() -> None:
    objects = by_name(template(ON, SHOWN))
    edge, controller = (objects["PrometheusRule", "shopset", f"shopset-{name}"] for name in ("edge", "controller"))
    assert edge["spec"]["groups"] == rules("edge-recording") + rules("edge-alerts")
    assert controller["spec"]["groups"] == rules("controller-alerts")
    found = {
        name: text for each in objects.values() if each["kind"] == "ConfigMap" for name, text in each["data"].items()
    }
    assert found == {path.name: path.read_text() for path in (MONITORING / "dashboards").glob("*.json")}


def test_values_reach_every_object() -> None:
    values = (
        "monitoring.namespace=watching,monitoring.serviceMonitors.interval=45s,monitoring.rules.runbooks=https://x.example/"
        ",monitoring.serviceMonitors.labels.release=a,monitoring.rules.labels.release=a"
        ",monitoring.dashboards.annotations.grafana_folder=shops,labels.team=shop"
    )
    objects = template(ON, SHOWN, f"--set={values}")
    assert {each["metadata"]["namespace"] for each in objects} == {"watching"}
    assert {each["metadata"]["labels"]["team"] for each in objects} == {"shop"}
    for each in objects:
        if each["kind"] == "ConfigMap":
            assert each["metadata"]["annotations"] == {"grafana_folder": "shops"}
        else:
            assert each["metadata"]["labels"]["release"] == "a"
        if each["kind"] == "ServiceMonitor":
            assert {endpoint["interval"] for endpoint in each["spec"]["endpoints"]} == {"45s"}
            assert each["spec"]["namespaceSelector"] == {"matchNames": ["shopset"]}
    links = re.findall(r"'runbook_url': '(.+?)'", str(objects))
    assert links
    assert all((ROOT / each.removeprefix("https://x.example/").partition("#")[0]).is_file() for each in links)
    assert all(each.startswith("https://x.example/docs/") for each in links)


def test_each_monitor_finds_a_service_with_its_port_and_names_the_job_that_rules_ask_for() -> None:
    objects = template(ON)
    services = [each for each in objects if each["kind"] == "Service"]
    jobs = set()
    for monitor in (each["spec"] for each in objects if each["kind"] == "ServiceMonitor"):
        wanted = monitor["selector"]["matchLabels"].items()
        for endpoint in monitor["endpoints"]:
            ports = [
                port
                for each in services
                if wanted <= each["metadata"]["labels"].items()
                for port in each["spec"]["ports"]
                if port["name"] == endpoint["port"]
            ]
            assert len(ports) == 1
            jobs |= {each["replacement"] for each in endpoint["relabelings"] if each["targetLabel"] == "job"}
    asked = set(re.findall(r'job="([\w-]+)"', (MONITORING / "edge-alerts.yaml").read_text()))
    assert asked == {"shopset-edge", "shopset-edge-haproxy"}
    assert jobs == asked | {"shopset-controller"}


def test_the_operators_definitions_take_them(with_operator: ApiServer) -> None:
    more = "--set=monitoring.serviceMonitors.scrapeTimeout=5s,monitoring.serviceMonitors.metricRelabelings[0].action=labeldrop"
    taking = ("create", "--dry-run=server", "--validate=strict", "-n", "default", "-f", "-")
    for made in (template(ON, SHOWN), template(ON, SHOWN, more)):
        text = yaml.safe_dump_all(made).replace("namespace: shopset", "namespace: default")
        assert "prometheusrule" in with_operator.done(*taking, stdin=text)
    wrong = text.replace("scrapeTimeout: 5s", "scrapeTimeOut: 5s")
    assert "unknown field" in with_operator.kubectl(*taking, stdin=wrong).stderr
