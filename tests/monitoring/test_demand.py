"""The demand of shops: what HAProxy's counters mean, with real HAProxy and real Prometheus."""

import http.client
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from shopset.api.platforms import DemandQuery, Monitoring
from shopset.edge.demand import BrokenTableError, Demand, Reader, Reading, busiest, demand
from shopset.edge_agent.demand import DemandMetrics
from shopset.edge_agent.runtime import HaproxyAwayError, Runtime, RuntimeApiError
from shopset.gates.demand import read_demand
from support.haproxies import haproxy, newer, running
from support.servers import Serve, respond
from testbed.monitoring import start_monitoring
from testbed.processes import Processes, answers, wait_for
from testbed.programs import free_ports

__all__ = ["haproxy"]
ROOT = Path(__file__).resolve().parents[2]
OLD = "gpc0_rate(10000)=0 sess_rate(10000)=0 http_req_cnt={} http_req_rate(1000)=1"
CONFIGURATION = """
global
  stats socket {folder}/haproxy.sock mode 600 level admin
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 1s
frontend edge
  bind 127.0.0.1:{port}
  http-request track-sc0 req.hdr(host) table shops
  http-request sc-inc-gpc0(0) if {{ path /much }}
  http-request return status 429 if {{ path /much }}
  default_backend origin
frontend broken
  bind unix@{folder}/broken.sock
  http-request return status 500 if {{ path /broken }}
  http-request return status 200
backend origin
  server p unix@{folder}/broken.sock
backend shops
  stick-table type string len 64 size 10k expire 1h store gpc0,http_req_rate(1s),sess_rate(10s),http_req_cnt,http_fail_cnt
"""


def table(counts: dict[str, int], entry: str = f"0x7fb2200357a8: key={{}} use=0 exp=599613 shard=0 {OLD}") -> bytes:
    lines = [f"# table: shops, type: string, size:1048576, used:{len(counts)}"]
    return "\n".join([*lines, *(entry.format(*each) for each in counts.items()), "", ""]).encode()


def read(counts: dict[str, int]) -> Reading:
    reader = Reader()
    reader.feed(table(counts))
    return reader.reading()


def shown(found: Demand) -> dict[str, int]:
    return {each["name"]: each["requests"] for each in map(json.loads, b"".join(found.lines()).splitlines())}


COUNTS = st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True), st.integers(0, 2**32 - 1), max_size=20)


@given(COUNTS, st.lists(st.integers(1, 400), max_size=10), st.booleans())
def test_an_answer_is_the_same_in_pieces_of_any_size(counts: dict[str, int], sizes: list[int], older: bool) -> None:
    text = table(counts, f"0x563a576d6fe8: key={{}} use=0 exp=599102 {OLD}") if older else table(counts)
    reader = Reader()
    for size in sizes:
        reader.feed(text[:size])
        text = text[size:]
    reader.feed(text)
    found = demand(reader.reading(), "1", 0.0)
    assert shown(found) == counts
    assert found.sums[0] == sum(counts.values())


@given(COUNTS.filter(bool), st.data())
def test_what_was_cut_off_is_no_table(counts: dict[str, int], data: st.DataObject) -> None:
    text = table(counts)
    reader = Reader()
    reader.feed(text[: data.draw(st.integers(0, len(text) - 1))])
    with pytest.raises(BrokenTableError):
        reader.reading()


def test_other_words_of_haproxy_are_told() -> None:
    with pytest.raises(BrokenTableError, match="No such table"):
        Reader().feed(b"No such table\n\n")


@given(st.lists(st.tuples(COUNTS, st.booleans()), min_size=1, max_size=6))
def test_counters_go_on_whatever_haproxy_does(steps: list[tuple[dict[str, int], bool]]) -> None:
    """Against a model: a shop gains what its counter gained, or all of it where the counter began anew."""
    found: Demand | None = None
    process = 0
    last: dict[str, int] = {}
    totals: dict[str, int] = {}
    served = 0
    for at, (counts, reloaded) in enumerate(steps):
        process += reloaded
        gained = {}
        for name, count in counts.items():
            had = 0 if reloaded else last.get(name, 0)
            gained[name] = count - had if count >= had else count
        served += sum(gained.values())
        totals = {name: totals.get(name, 0) + more for name, more in gained.items()}
        last = counts
        found = demand(read(counts), str(process), 60.0 * at, found)
        assert shown(found) == totals
        assert found.sums[0] == served


def test_refused_and_failed_requests_are_counted_where_the_table_has_them() -> None:
    line = "0x1: key={} use=0 exp=1 gpc0={} http_req_cnt={} http_req_rate(1000)=1 http_fail_cnt={}\n"
    reader = Reader()
    reader.feed(("# table: shops\n" + line.format("hoge", 2, 9, 3) + line.format("foo", 0, 1, 1) + "\n").encode())
    found = demand(reader.reading(), "1", 0.0)
    assert found.sums == (10, 2, 4)
    assert busiest(found, 1) == {"hoge": [9, 2, 3]}


def test_a_table_that_does_not_count_requests_is_told() -> None:
    with pytest.raises(BrokenTableError, match="http_req_cnt"):
        Reader().feed(b"# table: shops\n0x1: key=hoge use=0 exp=1 gpc0=1\n\n")


def test_rates_come_near_what_is_asked_for() -> None:
    found = demand(read({"hoge": 0, "foo": 0}), "1", 0.0)
    for minute in range(1, 31):
        found = demand(read({"hoge": 600 * minute, "foo": 0}), "1", 60.0 * minute, found)
    rates = {each["name"]: each["requestsPerSecond"] for each in map(json.loads, b"".join(found.lines()).splitlines())}
    assert rates["hoge"] == pytest.approx(10, rel=0.01)
    assert rates["foo"] == 0


def test_the_busiest_are_few_and_do_not_change_for_little() -> None:
    before = demand(read(dict.fromkeys(("a", "b", "c"), 0)), "1", 0.0)
    found = demand(read({"a": 100, "b": 110, "c": 50}), "1", 60.0, before)
    assert busiest(found, 0) == {}
    assert busiest(found, 1) == {"b": [110, 0, 0]}
    assert busiest(found, 1, {"a", "gone"}) == {"a": [100, 0, 0]}
    assert busiest(found, 1, {"c"}) == {"b": [110, 0, 0]}
    assert busiest(found, 9) == {"a": [100, 0, 0], "b": [110, 0, 0], "c": [50, 0, 0]}


@dataclass
class Bed:
    """Where one HAProxy listens, and who counts."""

    program: str
    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])

    def runtime(self) -> Runtime:
        return Runtime(self.folder / "haproxy.sock")

    def configuration(self) -> str:
        return CONFIGURATION.format(folder=self.folder, port=self.port)

    def ask(self, shop: str, times: int = 1, path: str = "/", status: int = 200) -> None:
        for _ in range(times):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.request("GET", path, headers={"Host": shop})
            assert connection.getresponse().status == status
            connection.close()


def exported(metrics: DemandMetrics) -> str:
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry).decode()


def test_haproxy_counts_and_a_new_process_goes_on(haproxy: str, tmp_path: Path) -> None:
    bed = Bed(haproxy, tmp_path)
    metrics = DemandMetrics(bed.runtime(), top=2)
    with pytest.raises(HaproxyAwayError):
        metrics.read()
    with running(haproxy, bed.configuration(), ready=bed.runtime().path):
        metrics.read()
        assert "shopset_edge_requests_total 0.0" in exported(metrics)
        for shop, times in (("hoge", 5), ("foo", 3), ("bar", 1)):
            bed.ask(shop, times)
        metrics.read()
        assert exported(metrics).count("shopset_edge_shop_requests_total{") == 2
    with running(haproxy, bed.configuration(), ready=bed.runtime().path):
        bed.ask("hoge", 6)
        bed.ask("hoge", 2, "/much", 429)
        bed.ask("hoge", 1, "/broken", 500)
        metrics.read()
    text = exported(metrics)
    assert 'shopset_edge_shop_requests_total{shop="hoge"} 14.0' in text
    assert 'shopset_edge_shop_refused_total{shop="hoge"} 2.0' in text
    assert 'shopset_edge_shop_failures_total{shop="hoge"} 1.0' in text
    assert "shopset_edge_requests_total 18.0" in text
    (line,) = map(json.loads, b"".join(metrics.lines()).splitlines())
    assert (line["name"], line["requests"], line["refused"], line["failures"]) == ("hoge", 14, 2, 1)
    with pytest.raises(HaproxyAwayError):
        metrics.read()
    assert 'shopset_edge_shop_requests_total{shop="hoge"} 14.0' in exported(metrics)


def test_a_table_that_is_not_there_is_told(haproxy: str, tmp_path: Path) -> None:
    bed = Bed(haproxy, tmp_path)
    other = bed.configuration().replace("table shops", "table others").replace("backend shops", "backend others")
    with running(haproxy, other, ready=bed.runtime().path), pytest.raises(RuntimeApiError, match="No such table"):
        DemandMetrics(bed.runtime(), top=2).read()


def test_the_documented_query_reads_it_from_a_real_prometheus(tmp_path: Path, serve: Serve) -> None:
    bed = Bed(newer(), tmp_path)
    metrics = DemandMetrics(bed.runtime(), top=10)

    def export(handler: BaseHTTPRequestHandler) -> None:
        bed.ask("hoge", 4)
        bed.ask("foo")
        metrics.read()
        respond(handler, 200, exported(metrics).encode())

    documented = re.search(r"demandQuery:\n +query: (.*)\n", (ROOT / "docs/edge-observability.md").read_text())
    assert documented is not None
    # The same expression, for minutes rather than for days.
    text = documented[1].replace("[5m]", "[1m]").replace("[7d:5m]", "[1h:1s]")
    assert text != documented[1]
    home = tmp_path / "prometheus"
    for name in ("targets", "rules"):
        (home / name).mkdir(parents=True)
    (home / "targets" / "x.json").write_text(json.dumps([{"targets": [serve(export).removeprefix("http://")]}]))
    processes = Processes(tmp_path / "logs")
    try:
        with running(bed.program, bed.configuration(), ready=bed.runtime().path):
            prometheus, _ = start_monitoring(tmp_path, processes)
            wait_for(prometheus, lambda: answers(f"{prometheus}/-/ready"), seconds=60)
            monitoring = Monitoring.model_validate({"prometheus": {"url": prometheus}})

            def known() -> dict[str, float]:
                return dict(read_demand(DemandQuery(query=text), datetime.now(UTC), monitoring, lambda _: Path()))

            wait_for("some scrapes", lambda: known().keys() == {"hoge", "foo"}, seconds=60)
            found = known()
    finally:
        processes.stop()
    assert found["hoge"] / found["foo"] == pytest.approx(4, rel=0.05)
