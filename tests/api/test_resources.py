"""Every rule that one object can be judged by."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shopset.api import API_VERSION, KINDS, json_schema

SCHEMAS = Path(__file__).parents[2] / "schemas"
EXAMPLES: dict[str, dict[str, Any]] = {
    "Platform": {
        "repositories": {key: f"git@git.example.com:team/{key}.git" for key in ("system", "apps", "configuration")},
        "delivery": {"argocd": {}},
    },
    "Tier": {
        "level": 3,
        "promotion": {"bake": "2h", "gates": [{"name": "errors", "alerts": {"matchers": {"severity": "page"}}}]},
    },
    "Configuration": {"path": "eu/production", "databases": [{"name": "orders", "connections": 500}]},
    "Cluster": {"topology": {"region": "tokyo"}, "endpoint": "https://{shopset}.a.example.com"},
    "FailureDomain": {"topologyKey": "region"},
    "ShopSet": {"tier": "prod", "configuration": "production", "cluster": "a", "capacity": {"requestsPerSecond": 1000}},
    "ShopClass": {"tier": "prod", "configuration": "production", "replicas": 2, "across": ["region"]},
    "Shop": {"hosts": ["hoge.example.com"], "class": "standard"},
    "Approval": {"tier": "prod", "revision": "b81e0a9", "reason": "tested", "by": "yamada"},
    "Hold": {"tier": "prod", "reason": "a sale", "by": "yamada"},
    "Rollback": {"tier": "prod", "revision": "b81e0a9", "reason": "carts fail", "by": "yamada"},
}


def make(kind: str, spec: dict[str, Any], name: str = "x") -> Any:
    return KINDS[kind].model_validate(
        {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_is_accepted_and_survives_a_round_trip(kind: str) -> None:
    found = make(kind, EXAMPLES[kind])
    assert KINDS[kind].model_validate(found.model_dump(mode="json", by_alias=True)) == found


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_accepts_the_example_and_is_the_generated_one(kind: str) -> None:
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    document = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "x"}, "spec": EXAMPLES[kind]}
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "spec": {**EXAMPLES[kind], "colour": "red"}}, schema)
    for frame in ("apiVersion", "kind", "metadata"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in document.items() if key != frame}, schema)
    assert json.loads((SCHEMAS / f"{kind.lower()}.json").read_text()) == schema


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match="colour"):
        make(kind, {**EXAMPLES[kind], "colour": "red"})


@pytest.mark.parametrize("name", ["..", "-x", "x-", "X", "x" * 64, "", "a.b", "a/b", "あ", "a b", "x\n", "../x"])
def test_what_is_no_dns_label_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        make("ShopSet", EXAMPLES["ShopSet"], name)


@pytest.mark.parametrize(
    "url",
    [
        "-oProxyCommand=x",
        "--upload-pack=x",
        "https://user:secret@git.example.com/x/system.git",
        "https://token@git.example.com/x/system.git",
        "ssh://git:secret@git.example.com/x/system.git",
        "ext::sh -c id",
        "fd::17",
        "https://git.example.com/x/../system.git",
        "https://git.example.com/x/%2e%2e/system.git",
        "relative/system.git",
        "https://git.example.com/x/system.git?a=b",
        "https://git.example.com/x/sys tem.git",
        "https://git.example.com/x/system.git\n",
        "git@-oProxyCommand=x:y/system.git",
        "file://host/x/system.git",
        "git:secret@git.example.com:x/system.git",
        "https://user:sec/secret@git.example.com/x/system.git",
        "https://user:a secret@git.example.com/x/system.git",
        "",
    ],
)
def test_urls_that_git_must_not_see_are_refused(url: str) -> None:
    repositories = {**EXAMPLES["Platform"]["repositories"], "system": url}
    with pytest.raises(ValidationError) as refused:
        make("Platform", {**EXAMPLES["Platform"], "repositories": repositories})
    assert "secret" not in "".join(str((error.get("ctx") or {}).get("error")) for error in refused.value.errors())


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Platform", {"delivery": {}}),
        ("Platform", {"delivery": {"argocd": {}, "directory": {"path": "x"}}}),
        ("Platform", {"repositories": {"system": "/a/s.git", "apps": "/b/a.git", "configuration": "/a/c.git"}}),
        ("Platform", {"repositories": {"system": "/a/s.git", "apps": "/a/s.git", "configuration": "/a/c.git"}}),
        ("Tier", {"level": -1}),
        ("Tier", {"level": "1"}),
        ("Tier", {"level": True}),
        ("Tier", {"promotion": {"bake": "30 min"}}),
        ("Tier", {"promotion": {"gates": [{"name": "x"}]}}),
        ("Tier", {"promotion": {"gates": [{"name": "x", "smoke": {}}, {"name": "x", "smoke": {}}]}}),
        (
            "Tier",
            {
                "promotion": {
                    "freeze": [
                        {"name": "x", "timeZone": "Mars/Olympus", "weekly": {"from": "Mon 00:00", "to": "Tue 00:00"}}
                    ]
                }
            },
        ),
        ("Tier", {"promotion": {"freeze": [{"name": "x", "weekly": {"from": "Mon 24:00", "to": "Tue 00:00"}}]}}),
        (
            "Tier",
            {"promotion": {"freeze": [{"name": "x", "dates": {"from": "2026-12-28T00:00", "to": "2026-12-27T00:00"}}]}},
        ),
        ("Configuration", {"path": "../production"}),
        ("Configuration", {"path": "/production"}),
        ("Configuration", {"path": "-production"}),
        ("Cluster", {"endpoint": "https://{user}.example.com"}),
        ("Cluster", {"destination": {"server": "https://{cluster}.example.com"}}),
        ("Cluster", {"destination": {"server": "https://a.example.com", "name": "a"}}),
        ("Platform", {"edge": {"health": {"interval": "0s"}}}),
        ("Platform", {"edge": {"health": {"timeout": "0s"}}}),
        ("Platform", {"edge": {"health": {"slowStart": "2h"}}}),
        ("Platform", {"edge": {"health": {"panic": 0}}}),
        ("Platform", {"edge": {"health": {"panic": 101}}}),
        ("Platform", {"edge": {"health": {"path": "/a b"}}}),
        ("Platform", {"edge": {"lanes": ["cart"]}}),
        ("Platform", {"edge": {"clients": {"burst": 10**9 + 1}}}),
        ("ShopSet", {"endpoint": "https://{host}.example.com"}),
        ("ShopSet", {"capacity": {"concurrency": 0}}),
        ("ShopSet", {"capacity": {"concurrency": 10**9 + 1}}),
        ("ShopClass", {"traffic": {"weights": [100]}}),
        ("ShopClass", {"traffic": {"weights": [50, 40]}}),
        ("ShopClass", {"traffic": {"weights": [100, 0]}}),
        ("ShopClass", {"traffic": {"canary": {"tier": "prod", "percent": 5}}}),
        ("ShopClass", {"traffic": {"canary": {"tier": "beta", "percent": 51}}}),
        ("ShopClass", {"limits": {"burst": 10**9 + 1}}),
        ("Shop", {"limits": {"requestsPerSecond": 0}}),
        ("Shop", {"maintenance": "yes"}),
        ("Shop", {"hosts": []}),
        ("Shop", {"hosts": ["A.example.com", "a.example.com."]}),
        ("Approval", {"revision": "b81"}),
        ("Approval", {"revision": "b81e0a9\n"}),
        ("Hold", {"reason": "two\nlines"}),
    ],
)
def test_what_one_object_can_be_judged_by_is_refused(kind: str, change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(kind, {**EXAMPLES[kind], **change})


def test_manual_promotion_needs_a_person() -> None:
    assert make("Tier", {"level": 0, "promotion": {"mode": "Manual"}}).spec.promotion.approvals_needed == 1


@given(
    st.sampled_from(sorted(KINDS)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
)
def test_no_value_makes_a_model_fail_in_another_way(kind: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        make(kind, {"surprise": value, "level": value, "hosts": value, "repositories": value})
