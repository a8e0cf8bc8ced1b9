from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from shopset.api import Gate
from shopset.directory.alerts import AlertsFile

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
END = START + timedelta(minutes=5)


def read(tmp_path: Path, alert: dict[str, object], **gate: object) -> str:
    file = tmp_path / "alerts.yaml"
    file.write_text(yaml.safe_dump([{"alert": "Slow", **alert}]))
    found = Gate.model_validate({"name": "alerts", "alerts": gate})
    reader = AlertsFile(file, lambda tier: [f"shopset-{tier}-1", f"shopset-{tier}-2"])
    return reader.read(found, "prod", START, END).result


@pytest.mark.parametrize(
    ("since", "until", "includes", "result"),
    [
        (1, None, False, "Fail"),
        (1, 2, False, "Fail"),
        (-1, None, False, "Pass"),
        (-1, None, True, "Fail"),
        (-3, -1, True, "Pass"),
        (6, None, True, "Pass"),
    ],
    ids=["fires", "fired and went away", "fired before", "before, which counts here", "over before", "after the span"],
)
def test_what_counts(tmp_path: Path, since: int, until: int | None, *, includes: bool, result: str) -> None:
    alert: dict[str, object] = {"from": START + timedelta(minutes=since)}
    if until is not None:
        alert["to"] = START + timedelta(minutes=until)
    assert read(tmp_path, alert, includeExisting=includes) == result


@pytest.mark.parametrize(
    ("labels", "result"),
    [
        ({"namespace": "shopset-prod-2", "tier": "prod"}, "Fail"),
        ({"namespace": "shopset-dev-1", "tier": "prod"}, "Pass"),
        ({"namespace": "shopset-prod-1", "tier": "dev"}, "Pass"),
        ({"namespace": "shopset-prod-1"}, "Pass"),
    ],
)
def test_whose_alert_it_is(tmp_path: Path, labels: dict[str, str], result: str) -> None:
    alert = {"from": START + timedelta(minutes=1), "labels": labels}
    assert read(tmp_path, alert, matchers={"namespace": "{namespace}", "tier": "{tier}"}) == result


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    assert read(tmp_path, {"from": "yesterday"}) == "Unknown"
    gate = Gate.model_validate({"name": "x", "http": {"url": "https://shop.example.com"}})
    assert AlertsFile(tmp_path / "none", lambda _: ()).read(gate, "prod", START, END).result == "Unknown"
