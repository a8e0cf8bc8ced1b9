"""Alerts as the real promtool has them: when each fires, and when it does not."""

import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from testbed.programs import program

MONITORING: Final = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
EDGE_RULES: Final = [MONITORING / "edge-recording.yaml", MONITORING / "edge-alerts.yaml"]
CONTROLLER_RULES: Final = [MONITORING / "controller-alerts.yaml"]
Series = dict[str, str]
"""A series -> its values, at intervals of 15 s; `NxM` is N for M times, `0+NxM` grows by N."""


@dataclass(frozen=True)
class Case:
    """What fires an alert, and what does not."""

    alert: str
    fires: Series
    silent: Series
    labels: str
    """Some labels of what fires."""
    after: str = "30m"
    """When it is looked at."""


def rules(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rules of files."""
    for file in files:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


def alerts(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Return those of the rules of files that are alerts."""
    return [each for each in rules(files) if "alert" in each]


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run promtool."""
    return subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def run(folder: Path, files: Sequence[Path], tests: list[dict[str, Any]]) -> "subprocess.CompletedProcess[str]":
    """Let promtool run unit tests of rules."""
    content = {"rule_files": list(map(str, files)), "evaluation_interval": "30s", "tests": tests}
    file = folder / "tests.json"
    file.write_text(json.dumps(content))
    return promtool("test", "rules", file)


def firing(case: Case, series: Series, count: int) -> dict[str, Any]:
    """Return a test: how many alerts with the case's labels fire."""
    labels = case.labels.removesuffix("}") + ("," if case.labels != "{}" else "")
    query = f'count(ALERTS{labels}alertname="{case.alert}",alertstate="firing"}}) or vector(0)'
    return {
        "name": f"{case.alert} {'fires' if count else 'is silent'}",
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": query, "eval_time": case.after, "exp_samples": [{"labels": "{}", "value": count}]}
        ],
    }


def merged(tests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put tests into one that have no metric in common, or the same series of it: promtool starts anew for each, which takes time."""
    found: list[tuple[dict[str, Series], dict[str, Any]]] = []
    for test in tests:
        metrics = _by_metric(test)
        for taken, into in found:
            if all(taken.get(name, series) == series for name, series in metrics.items()):
                new = {each for name, series in metrics.items() if name not in taken for each in series}
                into["input_series"] += [each for each in test["input_series"] if each["series"] in new]
                into["promql_expr_test"] += test["promql_expr_test"]
                taken.update(metrics)
                break
        else:
            found.append((metrics, test))
    return [test for _, test in found]


def _by_metric(test: dict[str, Any]) -> dict[str, Series]:
    metrics: dict[str, Series] = {}
    for each in test["input_series"]:
        metrics.setdefault(each["series"].partition("{")[0], {})[each["series"]] = each["values"]
    return metrics
