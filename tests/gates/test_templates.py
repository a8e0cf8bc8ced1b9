"""Templates of PromQL: a value stays a value. Go's and Prometheus's own rules are tried on the real one in test_alerts."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.gates import Target
from shopset.gates.templates import expression, fill, fits, selector, values_of

A = Target("a-1", "shopset-a-1", "a")
B = Target("b-1", "shopset-b-1", "b")
STRING = re.compile(r'(?P<label>[a-z]+)(?P<how>=~?)(?P<text>"(?:[^"\\]|\\.)*")')
TEXT = st.text(max_size=20)
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?", fullmatch=True)


def parsed(text: str) -> dict[str, tuple[str, str]]:
    """Read a selector back as PromQL does: one metric, then strings; nothing may be left over."""
    body = text.removeprefix("ALERTS{").removesuffix("}")
    found = {match["label"]: (match["how"], json.loads(match["text"])) for match in STRING.finditer(body)}
    assert STRING.sub("", body).strip(",") == ""
    return found


def test_one_selector_for_all_shopsets() -> None:
    found = selector("ALERTS", {"alertstate": "firing"}, {"namespace": "{namespace}"}, values_of("prod", [B, A]))
    assert found == 'ALERTS{alertstate="firing",namespace=~"shopset-a-1|shopset-b-1"}'


def test_the_text_around_a_field_stays() -> None:
    found = selector("ALERTS", {}, {"job": "x.{shopset}/y", "tier": "t-{tier}"}, values_of("prod", [A, B]))
    assert parsed(found) == {"job": ("=~", r"x\.(?:a-1|b-1)/y"), "tier": ("=", "t-prod")}


@given(TEXT)
def test_a_value_can_not_become_promql(value: str) -> None:
    found = selector("ALERTS", {}, {"alertname": value.replace("{", "(")}, values_of("prod", [A]))
    assert parsed(found) == {"alertname": ("=", value.replace("{", "("))}


@given(TEXT, TEXT)
def test_a_value_with_fields_fits_itself_and_nothing_else(prefix: str, other: str) -> None:
    prefix, other = prefix.replace("{", "("), other.replace("{", "(")
    how, pattern = parsed(selector("ALERTS", {}, {"x": prefix + "{shopset}"}, values_of("prod", [A, B])))["x"]
    assert how == "=~"
    assert {text for text in (f"{prefix}a-1", f"{prefix}b-1") if re.fullmatch(pattern, text)} == {
        f"{prefix}a-1",
        f"{prefix}b-1",
    }
    assert (re.fullmatch(pattern, f"{other}a-1") is not None) == (other == prefix)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_an_expression_names_every_namespace(names: list[str]) -> None:
    targets = [Target(name, name, "x") for name in names]
    found = expression('x{namespace=~"{namespace}",y=~"p-{shopset}"}', values_of("prod", targets))
    alone, within = re.findall(r'"([^"]*)"', found)
    assert all(re.fullmatch(alone, name) and re.fullmatch(within, f"p-{name}") for name in names)


@pytest.mark.parametrize("name", ['a"} or up{x="', "a`", "a'", "a\\", "a|b", "{tier}", "a\n", "a.b"])
def test_an_expression_takes_nothing_but_names(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        expression("up", values_of("prod", [Target(name, "n", "c")]))


def test_fields_in_values_are_not_filled_twice() -> None:
    assert fill("{shopset}", "prod", Target("{tier}", "n", "c")) == "{tier}"


def test_matchers_fit_for_one_and_the_same_shopset() -> None:
    matchers = {"namespace": "{namespace}", "cluster": "{cluster}"}
    assert fits({"namespace": "shopset-a-1", "cluster": "a"}, matchers, "prod", [A, B])
    assert not fits({"namespace": "shopset-a-1", "cluster": "b"}, matchers, "prod", [A, B])
    assert not fits({"namespace": "shopset-a-1"}, matchers, "prod", [A, B])
