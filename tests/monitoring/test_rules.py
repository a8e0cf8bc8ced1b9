"""Alerts of the edge: when each fires and when it does not, as the real promtool has it."""

import re
from pathlib import Path
from typing import Any

import pytest

from support.promtool import EDGE_RULES, Case, Series, alerts, firing, merged, run

ROOT = Path(__file__).resolve().parents[2]
EDGE = 'instance="e:8405",job="shopset-edge"'
HAPROXY = 'instance="e:8404",job="shopset-edge-haproxy"'
A = f'{EDGE},shopset="a-1",cluster="a",tier="prod"'
B = f'{EDGE},shopset="b-1",cluster="b",tier="prod"'
OTHER_EDGE = A.replace("e:8405", "f:8405")
SHOPSETS = {f"shopset_edge_shopset_up{{{A}}}": "1x200", f"shopset_edge_shopset_up{{{B}}}": "1x200"}


def agent(name: str, values: str, **labels: str) -> Series:
    more = "".join(f',{key}="{value}"' for key, value in labels.items())
    return {f"shopset_edge_{name}{{{EDGE}{more}}}": values}


def haproxy(name: str, values: str, **labels: str) -> Series:
    more = "".join(f',{key}="{value}"' for key, value in labels.items())
    return {f"haproxy_{name}{{{HAPROXY}{more}}}": values}


def backend(name: str, a: str, b: str = "0x200", **labels: str) -> Series:
    """Return series of both ShopSets; the name of b-1's backend has a dot, as of those that HAProxy has other plans with."""
    return (
        SHOPSETS
        | haproxy(f"backend_{name}", a, proxy="a-1", **labels)
        | haproxy(f"backend_{name}", b, proxy="b-1.", **labels)
    )


def requests(edge: int, following: int = 0, errors: int = 0) -> Series:
    """Return what the frontends count, in requests within 15 s."""
    return (
        haproxy("frontend_http_requests_total", f"0+{edge}x200", proxy="edge")
        | haproxy("frontend_http_requests_total", f"0+{following}x200", proxy="next")
        | haproxy("frontend_http_requests_total", "0+99999x200", proxy="metrics")
        | haproxy("frontend_http_responses_total", f"0+{errors}x200", proxy="edge", code="5xx")
        | haproxy("frontend_http_responses_total", "0+99999x200", proxy="next", code="5xx")
    )


def sessions(now: int, limit: int = 100) -> Series:
    return backend("backend_current_sessions".removeprefix("backend_"), f"{now}x200", "500x200") | {
        f"shopset_edge_shopset_concurrency{{{A}}}": f"{limit}x200",
        f"shopset_edge_shopset_concurrency{{{B}}}": "0x200",
    }


def shop(failures: int, refused: int) -> Series:
    """Return a shop with 20 requests within 15 s, and another that is fine."""
    return (
        agent("shop_requests_total", "0+20x200", shop="hoge")
        | agent("shop_failures_total", f"0+{failures}x200", shop="hoge")
        | agent("shop_refused_total", f"0+{refused}x200", shop="hoge")
        | agent("shop_requests_total", "0+20x200", shop="foo")
        | agent("shop_failures_total", "0+0x200", shop="foo")
        | agent("shop_refused_total", "0+0x200", shop="foo")
    )


def once(at: int) -> str:
    """Return a counter that rises once."""
    return f"0x{at} 1x{200 - at}"


def averages(a: str, b: str) -> Series:
    found = backend("response_time_average_seconds", a, b)
    for name in ("c-1", "d-1"):
        found |= {f'shopset_edge_shopset_up{{{EDGE},shopset="{name}",cluster="c",tier="prod"}}': "1x200"}
        found |= haproxy("backend_response_time_average_seconds", "0.1x200", proxy=name)
    return found


EDGE_LABELS = '{instance="e:8405"}'
CASES = [
    Case(
        "ShopsetEdgeBehind",
        agent("behind_seconds", "0+15x200"),
        agent("behind_seconds", "0x40 90x9 0x151"),
        EDGE_LABELS,
    ),
    Case(
        "ShopsetEdgeStale", agent("mode", "1x200", mode="stale"), agent("mode", "1x4 0x196", mode="stale"), EDGE_LABELS
    ),
    Case("ShopsetEdgeWaits", agent("mode", "1x200", mode="waiting"), agent("mode", "1x200", mode="stale"), EDGE_LABELS),
    Case(
        "ShopsetEdgeRefuses",
        agent("mode", "1x200", mode="refused"),
        agent("mode", "1x200", mode="fresh") | agent("mode", "0x200", mode="refused"),
        EDGE_LABELS,
    ),
    Case(
        "ShopsetEdgeAgentDown",
        {f"up{{{EDGE}}}": "0x200"},
        {f"up{{{EDGE}}}": "1x118 0x2 1x80", f"up{{{HAPROXY}}}": "0x200"},
        EDGE_LABELS,
    ),
    Case("ShopsetEdgeNoAgent", {f"up{{{HAPROXY}}}": "1x200"}, {f"up{{{EDGE}}}": "0x200"}, '{job="shopset-edge"}'),
    Case(
        "ShopsetEdgeHaproxyDown",
        agent("haproxy_up", "0x200"),
        agent("haproxy_up", "1x200") | {f"up{{{HAPROXY}}}": "1x200"},
        EDGE_LABELS,
    ),
    Case(
        "ShopsetEdgeHaproxyDown",
        agent("haproxy_up", "1x200") | {f"up{{{HAPROXY}}}": "0x200"},
        agent("haproxy_up", "0x1 1x200") | {f"up{{{HAPROXY}}}": "1x200"},
        '{instance="e:8404"}',
    ),
    Case(
        "ShopsetEdgeHaproxyRestarts",
        agent("haproxy_restarts_total", "0x20 1x20 2x20 3x140"),
        agent("haproxy_restarts_total", once(60)),
        EDGE_LABELS,
    ),
    Case(
        "ShopsetEdgeReloadFails",
        agent("reloads_total", once(100), result="failed"),
        agent("reloads_total", once(100), result="done") | agent("reloads_total", once(20), result="failed"),
        EDGE_LABELS,
    ),
    Case(
        "ShopsetEdgeApplyFails",
        agent("applies_total", "0+1x200", result="failed"),
        agent("applies_total", once(105), result="failed") | agent("applies_total", "0+1x200", result="done"),
        EDGE_LABELS,
        "27m",
    ),
    Case("ShopsetEdgeRepairs", agent("repairs_total", once(50)), agent("repairs_total", "3x200"), EDGE_LABELS),
    Case(
        "ShopsetEdgeDiskFails",
        agent("write_errors_total", once(100)),
        agent("write_errors_total", "3x200"),
        EDGE_LABELS,
    ),
    Case(
        "ShopsetEdgeOverlayLarge",
        agent("overlay_entries", "60000x200"),
        agent("overlay_entries", "60000x40 200x160"),
        EDGE_LABELS,
    ),
    Case(
        "ShopsetEdgeClusterDown",
        {f"shopset_edge_shopset_up{{{A}}}": "0x200", f"shopset_edge_shopset_up{{{B}}}": "1x200"},
        {f"shopset_edge_shopset_up{{{A}}}": "0x200", f"shopset_edge_shopset_up{{{OTHER_EDGE}}}": "1x200"},
        '{cluster="a"}',
    ),
    Case(
        "ShopsetEdgeShopSetDown",
        {f"shopset_edge_shopset_up{{{A}}}": "0x200"},
        {f"shopset_edge_shopset_up{{{A}}}": "1x118 0x2 1x80"},
        '{shopset="a-1",cluster="a",tier="prod"}',
    ),
    Case(
        "ShopsetEdgeShopSetUnreachable",
        {f"shopset_edge_shopset_up{{{A}}}": "0x200", f"shopset_edge_shopset_up{{{OTHER_EDGE}}}": "1x200"},
        {f"shopset_edge_shopset_up{{{A}}}": "0x200", f"shopset_edge_shopset_up{{{OTHER_EDGE}}}": "0x200"},
        '{shopset="a-1"}',
    ),
    Case("ShopsetEdgePanic", agent("panic", "1x200"), agent("panic", "0x100 1x3 0x97"), EDGE_LABELS),
    Case(
        "ShopsetEdgePanicked",
        haproxy("backend_http_requests_total", once(100), proxy="panic"),
        haproxy("backend_http_requests_total", once(100), proxy="a-1"),
        '{proxy="panic"}',
    ),
    Case(
        "ShopsetEdgeShopSetEjected",
        {f"shopset_edge_shopset_ejected{{{A}}}": "1x200"},
        {f"shopset_edge_shopset_ejected{{{A}}}": "1x4 0x196"},
        '{shopset="a-1"}',
    ),
    Case("ShopsetEdgeShopSetSlow", averages("2x200", "0.2x200"), averages("0.9x200", "0.2x200"), '{shopset="a-1"}'),
    Case(
        "ShopsetEdgeShopSetErrors",
        backend("http_requests_total", "0+100x200", "0+100x200")
        | backend("http_responses_total", "0+10x200", "0+1x200", code="5xx"),
        backend("http_requests_total", "0+1000x200") | backend("http_responses_total", "0+10x200", code="5xx"),
        '{shopset="a-1",cluster="a"}',
    ),
    Case(
        "ShopsetEdgeShopSetErrors",
        backend("http_requests_total", "0+100x200", "0+100x200")
        | backend("http_responses_total", "0+0x200", "0+10x200", code="5xx"),
        SHOPSETS,
        '{shopset="b-1",cluster="b"}',
    ),
    Case("ShopsetEdgeCircuitOpen", sessions(79), sessions(70), '{shopset="a-1"}'),
    Case("ShopsetEdgeShopSetNearlyFull", sessions(65), sessions(50), '{shopset="a-1",cluster="a",tier="prod"}'),
    Case("ShopsetEdgeSpill", sessions(100) | requests(1000, 30), sessions(50) | requests(1000, 30), "{}"),
    Case("ShopsetEdgeFailovers", requests(1000, 80), requests(1000, 10), "{}"),
    Case("ShopsetEdgeErrors", requests(1000, errors=20), requests(1000, errors=5), "{}"),
    Case("ShopsetEdgeShopFails", shop(5, 0), shop(0, 10), '{shop="hoge"}'),
    Case("ShopsetEdgeShopLimited", shop(0, 10), shop(10, 1), '{shop="hoge"}'),
    Case(
        "ShopsetEdgeCertificateExpires",
        agent("certificate_expiry_timestamp_seconds", f"{13 * 86400}x600"),
        agent("certificate_expiry_timestamp_seconds", f"{15 * 86400}x600"),
        EDGE_LABELS,
        "2h",
    ),
    Case(
        "ShopsetEdgeCertificateExpiresSoon",
        agent("certificate_expiry_timestamp_seconds", f"{2 * 86400}x200"),
        agent("certificate_expiry_timestamp_seconds", f"{4 * 86400}x200"),
        EDGE_LABELS,
    ),
    Case(
        "ShopsetEdgeCertificateRefused",
        agent("certificates", "1x200", state="refused"),
        agent("certificates", "9x200", state="served"),
        EDGE_LABELS,
    ),
    Case(
        "ShopsetEdgeConnections",
        haproxy("process_current_connections", "900x200") | haproxy("process_max_connections", "1000x200"),
        haproxy("process_current_connections", "500x200") | haproxy("process_max_connections", "1000x200"),
        '{instance="e:8404"}',
    ),
    Case(
        "ShopsetEdgeDemandOld",
        agent("demand_age_seconds", "0+15x200"),
        agent("demand_age_seconds", "60x200"),
        EDGE_LABELS,
    ),
]


def test_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    done = run(tmp_path, EDGE_RULES, merged([firing(case, case.fires, 1) for case in CASES]))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_silent_when_it_should(tmp_path: Path) -> None:
    done = run(tmp_path, EDGE_RULES, merged([firing(case, case.silent, 0) for case in CASES]))
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_tells_what_is_not_so(tmp_path: Path) -> None:
    """The two tests above could fail."""
    done = run(tmp_path, EDGE_RULES, [firing(CASES[0], CASES[0].silent, 1)])
    assert done.returncode != 0
    assert "ShopsetEdgeBehind" in done.stdout + done.stderr


def test_no_alert_is_forgotten() -> None:
    assert {case.alert for case in CASES} == {each["alert"] for each in alerts(EDGE_RULES)}


def test_a_fleet_that_is_well_is_silent(tmp_path: Path) -> None:
    series = {
        **SHOPSETS,
        **agent("behind_seconds", "0x200"),
        **agent("mode", "1x200", mode="fresh"),
        **{f"up{{{each}}}": "1x200" for each in (EDGE, HAPROXY)},
        **agent("haproxy_up", "1x200"),
        **sessions(30),
        **requests(1000, 1, 1),
        **shop(0, 0),
        **averages("0.2x200", "0.1x200"),
        # An edge without certificates.
        **agent("certificate_expiry_timestamp_seconds", "0x200"),
        **haproxy("process_current_connections", "9x200"),
        **haproxy("process_max_connections", "1000x200"),
    }
    test = firing(CASES[0], series, 0)
    test["promql_expr_test"][0]["expr"] = "count(ALERTS) or vector(0)"
    done = run(tmp_path, EDGE_RULES, [test])
    assert done.returncode == 0, done.stdout + done.stderr


def test_texts_are_filled_in(tmp_path: Path) -> None:
    (alert,) = (each for each in alerts(EDGE_RULES) if each["alert"] == "ShopsetEdgeShopFails")
    texts = {
        **alert["annotations"],
        "summary": alert["annotations"]["summary"]
        .replace("{{ $value | humanizePercentage }}", "25%")
        .replace("{{ $labels.shop }}", "hoge"),
    }
    test = firing(CASES[0], shop(5, 0), 0) | {"promql_expr_test": []}
    expected = {"exp_labels": {"severity": "warning", "shop": "hoge"}, "exp_annotations": texts}
    test["alert_rule_test"] = [{"eval_time": "20m", "alertname": "ShopsetEdgeShopFails", "exp_alerts": [expected]}]
    done = run(tmp_path, EDGE_RULES, [test])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts(EDGE_RULES), ids=lambda alert: str(alert["alert"]))
def test_each_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "warning"}
    texts = alert["annotations"]
    assert texts["summary"]
    assert texts["description"]
    runbook = (ROOT / texts["runbook_url"]).read_text()
    assert f"`{alert['alert']}`" in runbook
    for section in ("## What shoppers notice", "## Look", "## Do"):
        assert section in runbook, f"{texts['runbook_url']} has no section {section}"


def test_each_runbook_belongs_to_an_alert() -> None:
    files = {f"docs/runbooks/{each.name}" for each in (ROOT / "docs/runbooks").glob("edge-*.md")}
    named = {each["annotations"]["runbook_url"] for each in alerts(EDGE_RULES)}
    for file in files - named:
        assert re.search(r"^# Incident: ", (ROOT / file).read_text()), f"no alert leads to {file}"
    assert named <= files


def test_each_alert_is_documented() -> None:
    text = (ROOT / "docs" / "edge-observability.md").read_text()
    for alert in alerts(EDGE_RULES):
        runbook = alert["annotations"]["runbook_url"].removeprefix("docs/")
        row = f"| `{alert['alert']}` | {alert['labels']['severity']} | ["
        assert any(line.startswith(row) and f"]({runbook})" in line for line in text.splitlines()), row
