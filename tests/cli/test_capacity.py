"""shopctl capacity, simulate and what validate says of budgets: on a real fleet's folder, with real repositories."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from gates.histories import INTERVAL, Recorded, history
from shopset.cli import exits
from shopset.cli.capacity import rounded_down
from shopset.cli.scaffolding import Copy
from support.shopctl import Said, run, settle_in
from support.worlds import ENVIRONMENT, World

API = "shopset.dev/v1alpha1"
COPIES = tuple(Copy(f"{cluster}-{n}", "prod", "production", cluster) for cluster in "abc" for n in (1, 2))
CLASSES: dict[str, dict[str, Any]] = {
    "standard": {"tier": "prod", "configuration": "production", "replicas": 2, "across": ["cluster"]},
    "single": {"tier": "prod", "configuration": "production"},
}


class Shopctl:
    """Runs shopctl on a fleet's folder in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str], world: World) -> None:
        self._capfd = capfd
        self.world = world
        self.fleet = world.folder / "fleet"

    def __call__(self, *words: str) -> Said:
        return run(self._capfd, *words)

    def data(self, *words: str) -> Any:
        """Return what `-o json` says."""
        return json.loads(self(*words, "-o", "json").out)

    def write(self, name: str, *objects: dict[str, Any]) -> None:
        """Write a file of the fleet."""
        (self.fleet / name).write_text(yaml.safe_dump_all(objects))

    def change(self, file: str, **specs: dict[str, Any]) -> None:
        """Change the specs of objects in a file, by name."""
        found = list(yaml.safe_load_all((self.fleet / file).read_text()))
        for each in found:
            each["spec"] = {**(each.get("spec") or {}), **specs.get(each["metadata"]["name"], {})}
        self.write(file, *found)


def named(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Six ShopSets on three clusters, and 40 shops."""
    world = World(tmp_path_factory.mktemp("world"), {"prod": ()}, COPIES)
    shops = [
        named(
            "Shop",
            f"s-{n:02}",
            hosts=[f"s-{n}.example.com"],
            demand={"requestsPerSecond": 10.0 + n},
            **{"class": "single" if n % 10 == 0 else "standard"},
        )
        for n in range(40)
    ]
    fleet = world.folder / "fleet"
    (fleet / "shops.yaml").write_text(yaml.safe_dump_all(shops))
    classes = [named("ShopClass", name, **spec) for name, spec in CLASSES.items()]
    (fleet / "classes.yaml").write_text(yaml.safe_dump_all(classes))
    return world


@pytest.fixture
def shopctl(made: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shopctl:
    found = Shopctl(capfd, made)
    found.fleet = tmp_path / "fleet"
    settle_in(monkeypatch, found.fleet, made.folder / "cache")
    shutil.copytree(made.folder / "fleet", found.fleet)
    capacity = {"capacity": {"requestsPerSecond": 800.0}}
    found.change("shopsets.yaml", **{copy.name: capacity for copy in COPIES})
    return found


class TestSimulating:
    def test_a_lost_cluster_reads_like_this(self, shopctl: Shopctl) -> None:
        said = shopctl("simulate", "--lose", "cluster=a")
        assert said.code == exits.OK
        first, *lines = said.out.splitlines()
        assert first.startswith("Losing cluster a (ShopSets a-1 and a-2): ")
        assert first.endswith(" of 40 shops have a replica there.")
        assert [line.split("  ")[1] for line in lines] == [
            "stay up",
            "down",
            "re-placed",
            "worst load",
            "N-1",
        ]
        assert "moves in one plan, the lower bound" in lines[2]
        assert "of 800 requests/s" in lines[3]
        assert "nothing is placed yet" in said.err

    def test_the_forms_agree(self, shopctl: Shopctl) -> None:
        words = ("simulate", "--lose", "cluster=a")
        found = shopctl.data(*words)
        assert yaml.safe_load(shopctl(*words, "-o", "yaml").out) == found
        assert (found["lose"], found["lost"], found["shops"]) == (["cluster=a"], ["a-1", "a-2"], 40)
        down = shopctl(*words, "-o", "name").out.split()
        assert len(down) == found["down"] == sum(each["down"] for each in found["classes"])
        assert all(name.startswith("shops/s-") and name.endswith("0") for name in down)
        assert f"{found['down']:,}" in shopctl(*words).out
        table = shopctl(*words, "-o", "wide").out
        rows = {line.split()[0]: line.split() for line in table.splitlines() if line[:2] in ("a-", "b-", "c-")}
        assert rows["a-1"][2:4] == ["lost", "lost"]
        after = {each["shopset"]: each["rePlaced"] for each in found["shopsets"]}
        assert rows["b-1"][3] == f"{after['b-1']:,.0f}"
        assert sum(after.values()) == pytest.approx(sum(10.0 + n for n in range(40)))

    def test_too_much_demand_is_told_with_what_to_add(self, shopctl: Shopctl) -> None:
        found = shopctl.data("simulate", "--demand", "x4")
        (short,) = found["shortages"]
        assert found["rePlaced"]["isSafe"] is not True
        assert short["tier"] == "prod"
        assert "would overload by" in short["message"]
        assert short["advice"].startswith("add ")
        said = shopctl("simulate", "--demand", "x4")
        assert said.out.startswith("Demand x4: 40 shops are placed.")
        assert f"short         tier prod: {short['message']}" in said.out
        assert short["advice"] in said.out
        one = shopctl.data("simulate", "--demand", "x4", "--class", "single")
        assert sum(each["atOnce"] for each in one["shopsets"]) < sum(each["atOnce"] for each in found["shopsets"])

    def test_a_missing_capacity_is_a_dash_and_a_note(self, shopctl: Shopctl) -> None:
        shopctl.change("shopsets.yaml", **{copy.name: {"capacity": {"shops": 500}} for copy in COPIES[:1]})
        said = shopctl("simulate", "--lose", "cluster=b", "-o", "wide")
        row = next(line.split() for line in said.out.splitlines() if line.startswith("a-1"))
        assert row[4:] == ["-", "-"]
        assert "note: Tier/prod: a-1 has no capacity: its load is not checked" in said.err
        assert "inf" not in said.out

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--lose", "cluster=z"), "there is no cluster 'z'; there are a, b and c"),
            (("--lose", "a"), "'a' names nothing to lose"),
            (("--demand", "much"), "'much' is no factor of demand"),
            (("--class", "gold"), "there is no ShopClass 'gold'"),
        ],
    )
    def test_what_is_not_there(self, shopctl: Shopctl, words: tuple[str, ...], message: str) -> None:
        said = shopctl("simulate", *words)
        assert (said.code, said.out) == (exits.FAILURE, "")
        assert message in said.err


class TestCapacity:
    def test_what_tiers_clusters_and_databases_take(self, shopctl: Shopctl) -> None:
        database = {"name": "orders", "connections": 300, "connectionsPerShopset": 40}
        shopctl.change("configurations.yaml", production={"databases": [database]})
        shopctl.change("clusters.yaml", a={"capacity": {"shopsets": 4}})
        found = shopctl.data("capacity")
        (pool,) = found["tiers"]
        total = sum(10.0 + n for n in range(40))
        assert (pool["tier"], pool["shops"], pool["limitedBy"]) == ("prod", 40, "requests")
        assert pool["resources"]["requests"]["used"] == pytest.approx(total)
        assert pool["resources"]["requests"]["capacity"] == 4800
        assert pool["resources"]["requests"]["left"] == pytest.approx(4800 - total)
        # Without any one cluster there are 3,200; shops with one replica are down with theirs.
        assert 3200 - total <= pool["resources"]["requests"]["leftAfterLoss"] <= 3200 - total + 130
        assert pool["resources"]["connections"]["capacity"] is None
        assert [each["roomFor"] for each in found["clusters"]] == [2, None, None]
        (orders,) = found["databases"]
        assert (orders["opened"], orders["left"], orders["roomFor"]) == (240, 60, 1)
        said = shopctl("capacity")
        assert said.code == exits.OK
        assert "production     orders    6         240          300     60    1 ShopSet" in said.out
        assert f"{pool['takes']} shops" in said.out

    def test_one_tier(self, shopctl: Shopctl) -> None:
        assert shopctl("capacity", "prod", "-o", "name").out == "tiers/prod\n"
        assert "CLUSTER" not in shopctl("capacity", "prod").out
        said = shopctl("capacity", "beta")
        assert (said.code, "there is no tier 'beta'; there are prod" in said.err) == (exits.FAILURE, True)

    def test_a_canary_share_has_a_row_of_its_own(self, shopctl: Shopctl) -> None:
        assert "CANARY" not in shopctl("capacity").out
        copy = {"tier": "beta", "configuration": "production", "cluster": "a"}
        beta = named("ShopSet", "beta-a", **copy, capacity={"requestsPerSecond": 100.0})
        shopctl.write("beta.yaml", named("Tier", "beta", level=1), beta)
        shopctl.change("classes.yaml", standard={"traffic": {"canary": {"tier": "beta", "percent": 5}}})
        said = shopctl("capacity", "beta")
        # 36 shops of 10 + n requests a second, those without whose n ends in 0.
        requests = 0.05 * sum(10 + n for n in range(40) if n % 10)
        lines = said.out.splitlines()
        head = next(number for number, line in enumerate(lines) if line.startswith("CANARY TIER"))
        assert lines[head + 1].split() == [
            *("beta", "production", "standard", "1"),
            *(f"{number:,.0f}" for number in (requests, 0, 100, 100 - requests)),
        ]
        (found,) = shopctl.data("capacity")["canaries"]
        assert (found["shopsets"], found["requests"]) == (["beta-a"], pytest.approx(requests))
        shopctl.change("classes.yaml", standard={"traffic": {"canary": {"tier": "beta", "percent": 50}}})
        assert "note: Tier/beta: the canary share of standard, " in shopctl("capacity").err

    def test_before_anything_is_placed_it_is_of_the_planned_placement_and_says_so(self, shopctl: Shopctl) -> None:
        from shopset.cli.capacity import look  # noqa: PLC0415  # beside its one use
        from shopset.cli.settings import Settings  # noqa: PLC0415

        settings = Settings(fleet=shopctl.fleet, cache=shopctl.world.folder / "cache", environment=ENVIRONMENT)
        before = look(settings)
        assert [each.resource for each in before.notes] == ["Placement"]
        assert len(before.placement.members) == 40


class TestBudgets:
    def test_validate_refuses_what_would_exceed_a_budget_with_the_arithmetic(self, shopctl: Shopctl) -> None:
        database = {"name": "orders", "connections": 200, "connectionsPerShopset": 40}
        shopctl.change("configurations.yaml", production={"databases": [database]})
        said = shopctl("validate")
        assert said.code == exits.INVALID_FLEET
        assert "spec.configuration: 6 ShopSets x 40 connections = 240 exceed the budget of 200" in said.err
        assert "c-2" in (shopctl.fleet / "shopsets.yaml").read_text().split("---")[-1]
        assert said.err.startswith("shopsets.yaml:")
        # It stops nothing else: the fleet can still be looked at and planned.
        assert shopctl("capacity").code == exits.OK
        assert "Configuration/production: 6 ShopSets x 40 connections = 240 exceed" in shopctl("capacity").err
        assert "BudgetExceeded" in json.dumps(json.loads(shopctl("plan", "-o", "json").out)["conditions"])

    def test_a_cluster_that_is_full(self, shopctl: Shopctl) -> None:
        shopctl.change("clusters.yaml", b={"capacity": {"shopsets": 1}})
        said = shopctl("validate")
        assert said.code == exits.INVALID_FLEET
        assert "spec.cluster: 2 ShopSets exceed the 1 that cluster b holds" in said.err


# -- estimating

BEARS = {"a-1": 1400.0, "b-1": 350.0}


def recorded(until: datetime) -> Iterator[Recorded]:
    for index in range(600):
        at = until - (599 - index) * INTERVAL
        share = 0.2 + 0.5 * ((index * 37) % 100) / 100
        for name, bears in BEARS.items():
            labels = {"namespace": f"shopset-{name}"}
            noise = 0.01 * (((index * 7919) % 101) / 50 - 1)
            yield Recorded("requests", labels, at, at, share * bears)
            yield Recorded("full", labels, at, at, 0.1 + 0.7 * share + noise)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    until = datetime.now(UTC) - timedelta(minutes=1)
    with history(tmp_path_factory.mktemp("prometheus"), list(recorded(until))) as (url, _):
        yield url


class TestEstimating:
    @pytest.fixture
    def watched(self, shopctl: Shopctl, prometheus: str) -> Shopctl:
        here = '{namespace=~"{namespace}"}'
        saturation = {"requests": f"requests{here}", "saturation": f"full{here}"}
        name = next(yaml.safe_load_all((shopctl.fleet / "platform.yaml").read_text()))["metadata"]["name"]
        spec = {"monitoring": {"prometheus": {"url": prometheus}}, "placement": {"saturation": saturation}}
        shopctl.change("platform.yaml", **{name: spec})
        return shopctl

    def test_what_shopsets_bear_stands_beside_what_is_stated(self, watched: Shopctl) -> None:
        found = {each["shopset"]: each for each in watched.data("capacity", "prod", "--estimate", "--since", "2h")}
        assert sorted(found) == sorted(copy.name for copy in COPIES)
        for name, bears in BEARS.items():
            each = found[name]
            assert each["stated"] == 800
            assert each["low"] < bears < each["high"]
            assert abs(each["estimate"] - bears) < 0.02 * bears
        assert found["c-1"]["estimate"] is None
        assert found["c-1"]["reason"] == "0 samples: at least 12 are needed"
        said = watched("capacity", "prod", "--estimate", "--since", "2h")
        rows = {line.split()[0]: line for line in said.out.splitlines() if line[:2] in ("a-", "b-", "c-")}
        assert "stated is less than it bears" in rows["a-1"]
        assert "stated is more than it bears" in rows["b-1"]
        assert rows["c-1"].split()[3] == "-"
        pasted = yaml.safe_load(said.out.split("# a-1\n")[1].split("#")[0])
        assert 0.97 * 1400 < pasted["capacity"]["requestsPerSecond"] <= 1400

    @pytest.mark.parametrize(
        ("value", "shown"), [(1397.4, 1390.0), (349.99, 349.0), (12.345, 12.3), (0.456, 0.45), (0.004, 0.0), (0.0, 0.0)]
    )
    def test_what_is_to_be_written_is_never_more_than_was_found(self, value: float, shown: float) -> None:
        assert rounded_down(value) == shown

    def test_where_nothing_is_to_be_seen_it_says_what_to_write(self, shopctl: Shopctl) -> None:
        said = shopctl("capacity", "--estimate")
        assert said.code == exits.FAILURE
        assert "has no spec.placement.saturation" in said.err

    def test_a_prometheus_that_is_away_is_told(self, watched: Shopctl) -> None:
        platform = watched.fleet / "platform.yaml"
        found = yaml.safe_load(platform.read_text())
        found["spec"]["monitoring"] = {"prometheus": {"url": "http://127.0.0.1:9"}}
        platform.write_text(yaml.safe_dump(found))
        said = watched("capacity", "--estimate")
        assert said.code == exits.FAILURE
        assert "Prometheus does not answer" in said.err
