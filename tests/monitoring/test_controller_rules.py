"""Alerts of the controller: when each fires and when it does not, as the real promtool has it."""

import re
from pathlib import Path

from prometheus_client import generate_latest

from shopset.controller.metrics import Metrics
from support.promtool import CONTROLLER_RULES, Case, Series, alerts, firing, merged, run

ROOT = Path(__file__).resolve().parents[2]
LEADER, OTHER = 'instance="c:9090"', 'instance="d:9090"'
LEADS = {f"shopset_leader{{{LEADER}}}": "1x400", f"shopset_leader{{{OTHER}}}": "0x400"}


def of(instance: str, name: str, values: str, **labels: str) -> Series:
    more = "".join(f',{key}="{value}"' for key, value in labels.items())
    return {f"shopset_{name}{{{instance}{more}}}": values}


def led(name: str, fires: str, silent: str, **labels: str) -> tuple[Series, Series]:
    """Return what fires where the leader says so; it is silent where that is well, whatever one says that led before."""
    return (
        LEADS | of(LEADER, name, fires, **labels),
        LEADS | of(LEADER, name, silent, **labels) | of(OTHER, name, fires, **labels),
    )


CASES = [
    Case("ShopsetNobodyLeads", of(LEADER, "leader", "0x400"), LEADS, "{}"),
    # As where nothing is scraped.
    Case("ShopsetNobodyLeads", of(LEADER, "shops", "1x400", state="placed"), of(LEADER, "leader", "1x400"), "{}"),
    Case("ShopsetTwoLead", of(LEADER, "leader", "1x400") | of(OTHER, "leader", "1x400"), LEADS, "{}"),
    Case(
        "ShopsetStands",
        of(LEADER, "last_round_timestamp_seconds", "0x400"),
        of(LEADER, "last_round_timestamp_seconds", "0+15x400") | of(OTHER, "last_round_timestamp_seconds", "0x400"),
        "{}",
    ),
    Case(
        "ShopsetFleetInvalid",
        of(LEADER, "rounds_total", "0+1x400", result="refused"),
        of(LEADER, "rounds_total", "0+1x400", result="done") | of(LEADER, "rounds_total", "9x400", result="refused"),
        "{}",
    ),
    Case(
        "ShopsetRoundsFail",
        of(LEADER, "rounds_total", "0+1x400", result="failed"),
        of(LEADER, "rounds_total", "0x100 1x300", result="failed"),
        "{}",
    ),
    Case(
        "ShopsetActionsFail",
        of(LEADER, "actions_total", "0+1x400", kind="Promote", result="failed"),
        of(LEADER, "actions_total", "0+1x400", kind="Promote", result="done"),
        '{kind="Promote"}',
    ),
    Case("ShopsetTierStuck", *led("tier_phase", "1x400", "0x400", tier="prod", phase="Rejected"), '{tier="prod"}'),
    Case("ShopsetConditions", *led("conditions", "2x400", "0x400", severity="Error"), "{}"),
    Case("ShopsetShopsNowhere", *led("shops", "3x400", "0x400", state="nowhere"), '{state="nowhere"}'),
    Case("ShopsetOverloaded", *led("worst_utilisation", "1.2x400", "0.9x400", when="now"), '{when="now"}'),
    Case(
        "ShopsetNotSafe",
        *led("worst_utilisation", "1.2x400", "0.9x400", when="after a loss"),
        '{when="after a loss"}',
        "80m",
    ),
    Case(
        "ShopsetsNotReady",
        LEADS | of(LEADER, "shopsets", "8x400", tier="prod") | of(LEADER, "shopsets_ready", "7x400", tier="prod"),
        LEADS | of(LEADER, "shopsets", "8x400", tier="prod") | of(LEADER, "shopsets_ready", "8x400", tier="prod"),
        '{tier="prod"}',
        "40m",
    ),
]


def test_each_alert_fires_when_it_should_and_is_silent_when_it_should(tmp_path: Path) -> None:
    tests = [firing(case, series, count) for case in CASES for series, count in ((case.fires, 1), (case.silent, 0))]
    done = run(tmp_path, CONTROLLER_RULES, merged(tests))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {case.alert for case in CASES} == {each["alert"] for each in alerts(CONTROLLER_RULES)}


def test_each_metric_is_one_of_the_controller() -> None:
    exported = set(re.findall(r"^# TYPE (\S+)", generate_latest(Metrics().registry).decode(), re.MULTILINE))
    used = {name for each in alerts(CONTROLLER_RULES) for name in re.findall(r"\bshopset_\w+", each["expr"])}
    assert len(used) > 5
    assert used <= exported


def test_each_alert_says_what_to_do() -> None:
    page = (ROOT / "docs" / "operation.md").read_text()
    assert "\n### Alerts\n" in page
    for alert in alerts(CONTROLLER_RULES):
        texts = alert["annotations"]
        assert texts["summary"]
        assert texts["description"]
        assert texts["runbook_url"] == "docs/operation.md#alerts"
        assert f"\n| `{alert['alert']}` | {alert['labels']['severity']} | " in page, alert["alert"]
