"""Shops of all sources, and the demand that Prometheus knows of those that state none."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopset.engine import shop_reading
from shopset.engine.shop_reading import Sources
from shopset.gates.answers import UnknownError
from support.placing import even_fleet
from support.pure import START, resource

MONITORING = {"prometheus": {"url": "http://prometheus.example.com"}}
QUERY = {"query": "max_over_time(shop:requests:rate5m[7d])", "label": "shop"}


def test_a_line_that_is_wrong_is_a_condition_and_the_others_are_there(tmp_path: Path) -> None:
    (tmp_path / "shops.csv").write_text("name,class,hosts\nhoge,standard,hoge.example.com\nfoo,standard,http://foo\n")
    fleet = even_fleet("ab", 1, shops={"sources": [{"kind": "Files", "path": "shops.csv"}]})
    found = Sources(tmp_path, lambda name: tmp_path / name, list).read(fleet, {})
    assert list(found.shops.names) == ["hoge"]
    assert found.unread == {"foo"}
    assert {(each.resource, each.reason) for each in found.conditions} == {("Shop/foo", "ShopRefused")}
    assert "shops.csv:3" in found.conditions[0].message


def test_a_source_that_is_away_is_a_condition_of_the_platform(tmp_path: Path) -> None:
    fleet = even_fleet("ab", 1, shops={"sources": [{"kind": "Files", "path": "none.csv"}]})
    found = Sources(tmp_path, lambda name: tmp_path / name, list).read(fleet, {})
    assert not found.is_whole
    assert [(each.resource, each.reason) for each in found.conditions] == [("Platform/shop", "SourceUnreadable")]


def test_demand_is_measured_for_those_that_state_none_and_what_was_measured_last_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [UnknownError("no answer"), {"hoge": 40.0, "foo": 7.0}, UnknownError("no answer again")]
    asked: list[Any] = []

    def read(_: Any, at: Any, *__: Any) -> Any:
        asked.append(at)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(shop_reading, "read_demand", read)
    shops = [
        resource("Shop", "foo", **{"class": "standard", "hosts": ["foo.example.com"]}),
        resource(
            "Shop", "hoge", **{"class": "standard", "hosts": ["hoge.example.com"], "demand": {"requestsPerSecond": 5.0}}
        ),
    ]
    fleet = even_fleet("ab", 1, monitoring=MONITORING, placement={"demandQuery": QUERY})
    now, incumbents = START, dict[str, str]()
    sources = Sources(tmp_path, lambda name: tmp_path / name, lambda: shops, lambda: now)  # type: ignore[arg-type, return-value]
    first = sources.read(fleet, incumbents)
    assert np.isnan(first.shops.demand[0, 0])
    assert [each.reason for each in first.conditions] == ["NotMeasured"]
    now += timedelta(minutes=2)
    second = sources.read(fleet, incumbents)
    assert second.shops.demand[:, 0].tolist() == [7.0, 5.0]
    assert second.conditions == ()
    assert sources.read(fleet, incumbents).shops is second.shops, "nothing changed"
    now += timedelta(hours=2)
    third = sources.read(fleet, incumbents)
    assert third.shops is second.shops
    assert [each.reason for each in third.conditions] == ["NotMeasured"]
    assert len(asked) == 3


def test_a_shop_of_a_class_that_the_fleet_does_not_have_is_there_for_the_plan_to_keep(tmp_path: Path) -> None:
    (tmp_path / "shops.csv").write_text("name,class,hosts\nhoge,gone,hoge.example.com\n")
    fleet = even_fleet("ab", 1, shops={"sources": [{"kind": "Files", "path": "shops.csv"}]})
    found = Sources(tmp_path, lambda name: tmp_path / name, list).read(fleet, {})
    assert list(found.shops.names) == ["hoge"]
