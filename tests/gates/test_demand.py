"""The demand of shops, as Prometheus has it; against the real one too."""

import json
import math
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopset.api.platforms import DemandQuery, Monitoring
from shopset.core.placement.shops import Shops
from shopset.gates.answers import UnknownError
from shopset.gates.demand import read_demand
from support.servers import Serve, respond
from testbed.monitoring import start_monitoring
from testbed.processes import Processes, answers, wait_for

QUERY = DemandQuery(query="max_over_time(sum by (shop) (rate(requests_total[5m]))[7d:5m])")


def ask(url: str, query: DemandQuery = QUERY) -> Any:
    monitoring = Monitoring.model_validate({"prometheus": {"url": url}})
    return read_demand(query, datetime.now(UTC), monitoring, lambda _: Path())


def series(value: str, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [1, value]}


def answering(serve: Serve, result: Any, kind: str = "vector") -> str:
    data = {"status": "success", "data": {"resultType": kind, "result": result}}
    return serve(lambda handler: respond(handler, 200, json.dumps(data).encode()))


def test_series_of_one_shop_add_up_and_what_is_no_number_is_none(serve: Serve) -> None:
    found = [
        series("1.5", shop="a", cluster="x"),
        series("2", shop="a", cluster="y"),
        series("NaN", shop="b"),
        series("+Inf", shop="c"),
        series("0", shop="d"),
    ]
    assert ask(answering(serve, found)) == {"a": 3.5, "d": 0}


@pytest.mark.parametrize(
    ("result", "kind", "message"),
    [
        ([series("1", namespace="x")], "vector", "has series without the label shop: write sum by"),
        ([1, "2"], "scalar", "Prometheus answers with a scalar, where a value of each series is wanted"),
        ([{"metric": {}}], "vector", "Prometheus answers, and not with series"),
    ],
)
def test_an_answer_without_shops_is_unknown(serve: Serve, result: Any, kind: str, message: str) -> None:
    with pytest.raises(UnknownError, match=message):
        ask(answering(serve, result, kind))


def test_only_what_nobody_stated_is_measured() -> None:
    demand = np.array([[2.0, math.nan], [math.nan, 3.0], [math.nan, math.nan]])
    shops = Shops(["a", "b", "c"], [("a.b",)] * 3, ("c",), np.zeros(3, np.int32), demand)
    found = shops.with_requests({"a": 9.0, "b": 5.5, "other": 1.0})
    np.testing.assert_equal(found.demand, [[2.0, math.nan], [5.5, 3.0], [math.nan, math.nan]])


def test_a_real_prometheus_knows_the_demand_of_shops(tmp_path: Path, serve: Serve) -> None:
    began = time.monotonic()

    def export(handler: BaseHTTPRequestHandler) -> None:
        passed = time.monotonic() - began
        lines = [f'requests_total{{shop="{name}"}} {rate * passed}' for name, rate in (("hoge", 20), ("foo", 5))]
        respond(handler, 200, "\n".join([*lines, ""]).encode())

    home = tmp_path / "prometheus"
    for name in ("targets", "rules"):
        (home / name).mkdir(parents=True)
    (home / "targets" / "x.json").write_text(json.dumps([{"targets": [serve(export).removeprefix("http://")]}]))
    processes = Processes(tmp_path / "logs")
    try:
        prometheus, _ = start_monitoring(tmp_path, processes)
        wait_for(prometheus, lambda: answers(f"{prometheus}/-/ready"), seconds=60)
        query = DemandQuery(query="max_over_time(sum by (shop) (rate(requests_total[1m]))[1h:1s])")
        wait_for("some scrapes", lambda: ask(prometheus, query).keys() == {"hoge", "foo"}, seconds=60)
        found = ask(prometheus, query)
    finally:
        processes.stop()
    assert found["hoge"] / found["foo"] == pytest.approx(4, rel=0.01)
