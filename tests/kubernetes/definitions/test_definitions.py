"""The CustomResourceDefinitions, on a real API server: what it takes is what the models take."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from api.test_resources import EXAMPLES
from shopset.api import API_VERSION, KINDS, json_schema
from shopset.cli.scaffolding import Copy, Layout
from shopset.kube.clients import PLURALS
from shopset.kube.definitions import UnsayableError, definitions, structural_schema
from shopset.kube.definitions.descriptions import DESCRIPTIONS
from shopset.kube.definitions.rules import FIELD_BOUNDS, FIELD_RULES, MODEL_RULES
from support.thoroughness import THOROUGH

from .conftest import ApiServer

GATE: dict[str, Any] = {"name": "x", "smoke": {}}
REPOSITORIES = EXAMPLES["Platform"]["repositories"]
MORE: list[tuple[str, dict[str, Any]]] = [
    ("Platform", {"delivery": {"directory": {"path": "/srv/clusters"}}}),
    ("Platform", {"prefixes": {"namespace": ""}}),
    ("Platform", {"shops": {"sources": [{"kind": "Files", "path": "shops"}, {"kind": "PostgreSQL", "table": "s"}]}}),
    ("Platform", {"delivery": {"argocd": {"retry": {"backoff": {"duration": "1.5s"}}, "syncOptions": ["A=true"]}}}),
    ("Tier", {"repositories": REPOSITORIES}),
    ("Tier", {"promotion": {"bake": "1h30m", "deadline": "500ms", "gates": [GATE, {**GATE, "name": "y"}]}}),
    (
        "Tier",
        {
            "promotion": {
                "gates": [{"name": "x", "query": {"expr": "up", "threshold": 1, "traffic": "up", "minTraffic": 0.5}}]
            }
        },
    ),
    (
        "Tier",
        {"promotion": {"gates": [{"name": "x", "query": {"expr": 'a == 1 + b{c=~"{cluster}"}', "threshold": 1}}]}},
    ),
    ("Tier", {"promotion": {"gates": [{"name": "x", "http": {"url": "https://{shopset}.example.com/{tier}"}}]}}),
    ("Tier", {"promotion": {"freeze": [{"name": "x", "weekly": {"from": "Fri 18:00", "to": "Mon 08:00"}}]}}),
    (
        "Tier",
        {"promotion": {"freeze": [{"name": "x", "dates": {"from": "2026-12-28T00:00", "to": "2027-01-04T00:00:30"}}]}},
    ),
    ("Cluster", {"destination": {"server": "https://[::1]:6443"}, "wish": "Drained", "version": "1.36"}),
    ("Cluster", {"topology": {"topology.kubernetes.io/region": "tokyo", "provider": ""}}),
    ("FailureDomain", {"topologyKey": "topology.kubernetes.io/zone"}),
    ("ShopSet", {"capacity": {"requestsPerSecond": 0.5, "shops": 10, "connections": 1}, "dedicated": True}),
    ("Shop", {"hosts": ["*.example.com", "店.example.com:8443", "A.example.com."], "pins": ["a"]}),
    ("Approval", {"adopt": True, "bake": "0s", "expedite": True}),
]
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("Platform", {"delivery": {}}),
    ("Platform", {"delivery": {"argocd": {}, "directory": {"path": "x"}}}),
    ("Platform", {"repositories": {"system": "/a/s.git", "apps": "/b/a.git", "configuration": "/a/c.git"}}),
    ("Platform", {"repositories": {"system": "/a/s.git", "apps": "/a/s.git", "configuration": "/a/c.git"}}),
    ("Platform", {"shops": {"sources": [{"kind": "Files"}]}}),
    ("Platform", {"shops": {"sources": [{"kind": "Resources", "table": "x"}]}}),
    ("Platform", {"images": {"policy": "Latest"}}),
    *[
        ("Platform", {"repositories": {**REPOSITORIES, "system": url}})
        for url in (
            "-oProxyCommand=x",
            "https://user:secret@git.example.com/x/system.git",
            "ext::sh -c id",
            "https://git.example.com/x/../system.git",
            "relative/system.git",
            "https://git.example.com/x/system.git?a=b",
            "https://git.example.com/x/system.git\n",
            "",
        )
    ],
    ("Tier", {"level": -1}),
    ("Tier", {"level": "1"}),
    ("Tier", {"level": True}),
    ("Tier", {"level": 100}),
    ("Tier", {"promotion": {"bake": "30 min"}}),
    ("Tier", {"promotion": {"bake": ""}}),
    ("Tier", {"promotion": {"bake": 30}}),
    ("Tier", {"promotion": {"gates": [{"name": "x"}]}}),
    ("Tier", {"promotion": {"gates": [{**GATE, "alerts": {}}]}}),
    ("Tier", {"promotion": {"gates": [GATE, GATE]}}),
    ("Tier", {"promotion": {"gates": [{"name": "x", "query": {"expr": 'up{cluster="{cluster}"}', "threshold": 1}}]}}),
    ("Tier", {"promotion": {"gates": [{"name": "x", "alerts": {"matchers": {"alertstate": "firing"}}}]}}),
    ("Tier", {"promotion": {"gates": [{"name": "x", "alerts": {"matchers": {"no label": "x"}}}]}}),
    ("Tier", {"promotion": {"gates": [{**GATE, "name": f"x{number}"} for number in range(33)]}}),
    ("Tier", {"promotion": {"freeze": [{"name": "x", "weekly": {"from": "Mon 24:00", "to": "Tue 00:00"}}]}}),
    ("Tier", {"promotion": {"freeze": [{"name": "x", "weekly": {"from": "Mon 00:00", "to": "Mon 00:00"}}]}}),
    (
        "Tier",
        {"promotion": {"freeze": [{"name": "x", "dates": {"from": "2026-12-28T00:00", "to": "2026-12-28T00:00:00"}}]}},
    ),
    (
        "Tier",
        {"promotion": {"freeze": [{"name": "x", "dates": {"from": "2026-02-30T00:00", "to": "2026-12-28T00:00"}}]}},
    ),
    ("Configuration", {"path": "../production"}),
    ("Configuration", {"databases": [{"name": "x", "connections": 5, "connectionsPerShopset": 6}]}),
    ("Configuration", {"databases": [{"name": "x", "connections": 5}, {"name": "x", "connections": 6}]}),
    ("Cluster", {"endpoint": "https://{user}.example.com"}),
    ("Cluster", {"destination": {"server": "https://{cluster}.example.com"}}),
    ("Cluster", {"destination": {"server": "https://a.example.com", "name": "a"}}),
    ("Cluster", {"topology": {"no key": "x"}}),
    ("Cluster", {"topology": {"region": "no value"}}),
    ("FailureDomain", {"topologyKey": "-x"}),
    ("ShopSet", {"capacity": {"requestsPerSecond": 0}}),
    ("ShopSet", {"tier": "Prod"}),
    ("ShopClass", {"across": ["region", "region"]}),
    ("ShopClass", {"replicas": 0}),
    ("Shop", {"hosts": []}),
    ("Shop", {"hosts": ["a.example.com", "a.example.com"]}),
    ("Approval", {"revision": "b81"}),
    ("Approval", {"revision": "b81e0a9\n"}),
    ("Hold", {"reason": "two\nlines"}),
    ("Hold", {"reason": "  "}),
    ("Rollback", {"by": ""}),
]
UNSAID: list[tuple[str, dict[str, Any]]] = [
    ("Platform", {"repositories": {**REPOSITORIES, "system": "git@git.example.com:team/%2e%2e"}}),
    ("Tier", {"promotion": {"bake": "0.5ms"}}),
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
    ("Shop", {"hosts": ["A.example.com", "a.example.com."]}),
    ("Shop", {"hosts": ["192.0.2.1"]}),
]
"""What only the models refuse, and the controller tells in a condition."""


def document(kind: str, change: dict[str, Any], name: str = "x") -> dict[str, Any]:
    spec = {**EXAMPLES[kind], **change}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def refused_by_model(found: dict[str, Any]) -> bool:
    try:
        KINDS[found["kind"]].model_validate(found)
    except ValidationError:
        return True
    return False


def refusal(server: ApiServer, found: dict[str, Any]) -> str:
    return server.refusal(f"/apis/{API_VERSION}/namespaces/default/{PLURALS[found['kind']]}", found)


@pytest.mark.parametrize(("kind", "change"), [*((kind, {}) for kind in KINDS), *MORE])
def test_what_the_models_take_the_api_server_takes(api_server: ApiServer, kind: str, change: dict[str, Any]) -> None:
    found = document(kind, change)
    assert not refused_by_model(found)
    assert refusal(api_server, found) == ""


@pytest.mark.parametrize(("kind", "change"), [*((kind, {"colour": "red"}) for kind in KINDS), *WRONG])
def test_what_the_models_refuse_the_api_server_refuses(
    api_server: ApiServer, kind: str, change: dict[str, Any]
) -> None:
    found = document(kind, change)
    assert refused_by_model(found)
    assert refusal(api_server, found) != ""


@pytest.mark.parametrize(("kind", "change"), UNSAID)
def test_what_a_schema_can_not_say_the_models_alone_refuse(
    api_server: ApiServer, kind: str, change: dict[str, Any]
) -> None:
    found = document(kind, change)
    assert refused_by_model(found)
    assert refusal(api_server, found) == ""


@pytest.mark.parametrize("name", ["X", "x" * 64, "a.b", "x-"])
def test_names_are_dns_labels(api_server: ApiServer, name: str) -> None:
    found = document("ShopSet", {}, name)
    assert refused_by_model(found)
    assert refusal(api_server, found) != ""


def test_a_null_is_a_field_that_was_left_out(api_server: ApiServer) -> None:
    for kind, change in (("ShopSet", {"capacity": None}), ("Approval", {"bake": None})):
        found = document(kind, change)
        assert not refused_by_model(found)
        assert refusal(api_server, found) == ""


def test_a_scaffolded_fleet_is_accepted(api_server: ApiServer) -> None:
    layout = Layout(
        parent="https://git.example.com/team",
        clusters="clusters",
        tiers={"dev": [], "prod": ["mode: Manual"]},
        configurations=["staging", "production"],
        copies=[Copy("alpha", "dev", "staging", "a")],
        topology={"a": {"provider": "aws"}},
    )
    for text in layout.files().values():
        for found in yaml.safe_load_all(text):
            assert refusal(api_server, found) == ""


EXAMPLES_ENOUGH = settings(
    max_examples=2000 if THOROUGH else 100,
    derandomize=not THOROUGH,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TEXTS = st.text(alphabet="aZ09-._/:@{}%*+ \n\u3042\u2028", max_size=14)
SEEDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "name": ("ShopSet", "tier", ("prod", "a-b", "x" * 63, "x" * 64)),
    "revision": ("Approval", "revision", ("b81e0a9", "ab" * 20)),
    "line": ("Hold", "reason", ("a sale", "\u3042", "x" * 1024, "x" * 1025, "\u00a0")),
    "path": ("Configuration", "path", ("a/b", "a.b/_c")),
    "endpoint": ("Cluster", "endpoint", ("https://{shopset}.a.example.com/x", "http://[::1]:80", "https://{{x}}/")),
    "key": ("FailureDomain", "topologyKey", ("a.b/c", "region")),
}


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[str, ...]) -> str:
    """A seed with a piece cut out and something put in, so that most are nearly right."""
    seed = draw(st.sampled_from(seeds))
    start = draw(st.integers(0, len(seed)))
    end = draw(st.integers(start, min(len(seed), start + 4)))
    return seed[:start] + draw(TEXTS) + seed[end:]


@pytest.mark.parametrize("what", SEEDS)
def test_texts_have_the_same_verdict_from_both(api_server: ApiServer, what: str) -> None:
    kind, field, seeds = SEEDS[what]

    @EXAMPLES_ENOUGH
    @given(mutated(seeds) | TEXTS)
    def same(text: str) -> None:
        found = document(kind, {field: text})
        assert refused_by_model(found) == (refusal(api_server, found) != "")

    same()


LENIENT: dict[str, tuple[tuple[str, ...], Any]] = {
    "url": (
        ("git@git.example.com:t/s.git", "https://a.b/c/s.git", "/srv/s.git", "ssh://u@h:22/s", "file:///s", "h:s"),
        lambda text: document(
            "Platform",
            {"repositories": {"system": text, "apps": f"{text}a", "configuration": f"{text}b"}},
        ),
    ),
    "duration": (("1h30m", "500ms", "2d", "1.5s", "0s"), lambda text: document("Tier", {"promotion": {"bake": text}})),
    "host": (("shop.example.com", "*.a.b", "a.b:80"), lambda text: document("Shop", {"hosts": [text]})),
    "date": (
        ("2026-12-28T00:00", "2024-02-29T23:59:59"),
        lambda text: document(
            "Tier",
            {"promotion": {"freeze": [{"name": "x", "dates": {"from": text, "to": "9999-12-31T00:00"}}]}},
        ),
    ),
}


@pytest.mark.parametrize("what", LENIENT)
def test_the_api_server_is_never_stricter(api_server: ApiServer, what: str) -> None:
    seeds, make = LENIENT[what]

    @EXAMPLES_ENOUGH
    @given(mutated(seeds))
    def not_stricter(text: str) -> None:
        found = make(text)
        if not refused_by_model(found):
            assert refusal(api_server, found) == ""

    not_stricter()


@pytest.fixture
def namespace(api_server: ApiServer) -> Iterator[str]:
    name = f"test-{uuid4().hex}"
    api_server.done("create", "namespace", name)
    yield name
    api_server.done("delete", "namespace", name, "--wait=false")


def test_defaults_are_filled_in_and_lists_merge_by_name(api_server: ApiServer, namespace: str) -> None:
    for manager, gate in (("a", "errors"), ("b", "latency")):
        tier = document("Tier", {"promotion": {"gates": [{"name": gate, "smoke": {}}]}})
        arguments = ("apply", "-n", namespace, "--server-side", f"--field-manager={manager}", "-f", "-")
        api_server.done(*arguments, stdin=json.dumps(tier))
    found = json.loads(api_server.done("get", "tier", "x", "-n", namespace, "-o", "json"))
    assert [gate["name"] for gate in found["spec"]["promotion"]["gates"]] == ["errors", "latency"]
    assert found["spec"]["promotion"]["deadline"] == "1h"
    assert found["spec"]["promotion"]["approvals"] == {"required": 0}
    stored, given = KINDS["Tier"].model_validate(found), KINDS["Tier"].model_validate(document("Tier", found["spec"]))
    assert stored.spec == given.spec  # type: ignore[attr-defined]


def test_defaults_say_what_the_models_say(api_server: ApiServer, namespace: str) -> None:
    for kind in KINDS:
        written = document(kind, {})
        found = json.loads(
            api_server.done("create", "-n", namespace, "-f", "-", "-o", "json", stdin=json.dumps(written))
        )
        assert KINDS[kind].model_validate(found).spec == KINDS[kind].model_validate(written).spec  # type: ignore[attr-defined]


def test_the_status_is_written_apart(api_server: ApiServer, namespace: str) -> None:
    status = {"revision": "b81e0a9", "sync": "Synced", "health": "Healthy", "ready": True, "shops": 120, "load": "41%"}
    api_server.done("create", "-n", namespace, "-f", "-", stdin=json.dumps(document("ShopSet", {})))
    patch = ("patch", "shopset", "x", "-n", namespace, "--type=merge", "-p", json.dumps({"status": status}))
    assert "status" not in json.loads(api_server.done(*patch, "-o", "json"))
    found = json.loads(api_server.done(*patch, "--subresource=status", "-o", "json"))
    assert (found["status"], found["metadata"]["generation"]) == (status, 1)
    header, row = api_server.done("get", "shopsets", "-n", namespace).splitlines()
    columns = {
        "TIER": "prod",
        "CONFIGURATION": "production",
        "CLUSTER": "a",
        "REVISION": "b81e0a9",
        "SYNC": "Synced",
        "HEALTH": "Healthy",
        "READY": "true",
        "SHOPS": "120",
        "LOAD": "41%",
    }
    assert header.split() == ["NAME", *columns, "AGE"]
    assert row.split()[:-1] == ["x", *columns.values()]
    assert "shopset.shopset.dev/x" in api_server.done("get", "shopset", "-n", namespace, "-o", "name").split()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Tier", {"level": 4}),
        ("Approval", {"adopt": True}),
        ("Hold", {"tier": "dev"}),
        ("Rollback", {"revision": "abcd"}),
    ],
)
def test_what_never_changes(api_server: ApiServer, namespace: str, kind: str, change: dict[str, Any]) -> None:
    api_server.done("create", "-n", namespace, "-f", "-", stdin=json.dumps(document(kind, {})))
    patch = ("patch", kind, "x", "-n", namespace, "--type=merge", "-p", json.dumps({"spec": change}))
    assert "never changes" in api_server.kubectl(*patch).stderr
    annotated = ("annotate", kind, "x", "-n", namespace, "a=b")
    api_server.done(*annotated)


def test_explain_reads_like_documentation(api_server: ApiServer) -> None:
    text = api_server.done("explain", "tier.spec.promotion")
    assert "How long every ShopSet must have been Healthy" in " ".join(text.split())
    assert "no description" not in text


def described(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Yield the fields without a description."""
    for name, inner in schema.get("properties", {}).items():
        if "description" not in inner:
            yield f"{path}.{name}"
        yield from described(inner, f"{path}.{name}")
    if "items" in schema:
        yield from described(schema["items"], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_that_people_write_is_described(kind: str) -> None:
    version = definitions()[kind]["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert list(described(spec, f"{kind}.spec")) == []


def test_every_rule_is_of_a_model_and_field_that_is_there() -> None:
    models = {name: model for kind in KINDS for name, model in json_schema(kind)["$defs"].items()}
    assert sorted(set(MODEL_RULES) - set(models)) == []
    fields = {(name, field) for name, model in models.items() for field in model.get("properties", ())}
    assert sorted({*FIELD_RULES, *FIELD_BOUNDS, *DESCRIPTIONS} - fields) == []


@pytest.mark.parametrize("part", [{"oneOf": []}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}])
def test_what_a_structural_schema_can_not_say_is_told(part: dict[str, Any]) -> None:
    schema = {"$defs": {}, "description": "x", "required": [], "properties": {"spec": part, "status": {}}}
    with pytest.raises(UnsayableError):
        structural_schema(schema)
