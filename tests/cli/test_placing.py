"""shopctl on shops and clusters as a person meets it: a real folder, real git, directory clusters, and the system's clock."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from shopset.cli import exits
from shopset.cli.scaffolding import EXAMPLE, Copy, Layout, make_repositories, write_fleet
from support.shopctl import YAMADA, Said, run, settle_in
from support.worlds import ENVIRONMENT, git

PAUSE = 1
"""Seconds between two waves."""
COPIES = (
    *(Copy(f"{name}-1", "prod", "production", name, requests=100.0) for name in "abc"),
    *(Copy(f"{name}-2", "prod", "production", name, requests=100.0, dedicated=True) for name in "bc"),
)
WHERE = ("tier: prod", "configuration: production")
ROWS = [f"shop-{n:02d},{'standard' if n % 4 else 'single'},shop-{n:02d}.example.com,{20 / n:.2f}" for n in range(1, 25)]
CSV = "\n".join(["name,class,hosts,requestsPerSecond", *ROWS, ""])
HOGE = """\
apiVersion: shopset.dev/v1alpha1
kind: Shop
metadata: {name: hoge}
spec: {class: standard, hosts: [hoge.example.com], demand: {requestsPerSecond: 15.0}}
"""
LAYOUT_REST: Mapping[str, object] = {
    "tiers": {"prod": ("failureGrace: 1s",)},
    "configurations": ("production",),
    "copies": COPIES,
    "topology": {name: {"region": region} for name, region in (("a", "tokyo"), ("b", "tokyo"), ("c", "osaka"))},
    "domains": ("cluster", "region"),
    "classes": {"standard": [*WHERE, "replicas: 2", "across: [cluster]"], "single": WHERE},
    "placing": (
        "placement:",
        f"  waves: {{share: 50, pause: {PAUSE}s}}",
        "shops: {sources: [{kind: Resources}, {kind: Files, path: shops.csv}]}",
    ),
    "more": {"shops.csv": CSV, "hoge.yaml": HOGE},
}


@dataclass
class Place:
    """A fleet whose shops are placed, and shopctl on it."""

    folder: Path
    capfd: pytest.CaptureFixture[str]

    def __call__(self, *words: str, code: int = exits.OK) -> Said:
        said = run(self.capfd, *words, "--as", YAMADA)
        assert said.code == code, said.out + said.err
        return said

    def data(self, *words: str, code: int = exits.OK) -> Any:
        return json.loads(self(*words, "-o", "json", code=code).out)

    @property
    def system(self) -> Path:
        return self.folder / "git" / "shopset-system.git"

    @property
    def refs(self) -> str:
        return git("for-each-ref", folder=self.system)

    def tree(self, branch: str = "placement") -> str:
        return git("rev-parse", f"{branch}^{{tree}}", folder=self.system)

    def where(self, shop: str) -> list[str]:
        return self("shop", "where", shop, "-o", "name").out.replace("shopset/", "").split()

    def everywhere(self) -> dict[str, str]:
        """Shop -> ShopSets."""
        return {row["name"]: row["shopsets"] for row in self.data("shop", "list")}

    def states(self) -> dict[str, str]:
        """Cluster -> state."""
        return {row["name"]: row["state"] for row in self.data("cluster", "list")}

    def file(self, name: str) -> Path:
        return self.folder / "fleet" / name

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-u", "-m", "shopset.cli", *words, "--as", YAMADA]
        return subprocess.Popen(
            command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Where the fleet has to lie, and the fleet as it is once its shops are placed."""
    folder = tmp_path_factory.mktemp("placing")
    live, kept = folder / "live", folder / "kept"
    (live / "git").mkdir(parents=True)
    make_repositories(live / "git", EXAMPLE / "apps", EXAMPLE / "configuration", ENVIRONMENT, "tier-0")
    parents = {"parent": str(live / "git"), "clusters": str(live / "clusters")}
    write_fleet(live / "fleet", Layout(**parents, **LAYOUT_REST))  # type: ignore[arg-type]
    words = ["run", "--until-idle", "--interval", "0.1", "--fleet", str(live / "fleet"), "--cache", str(live / "cache")]
    command = [sys.executable, "-m", "shopset.cli", *words]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "place 25 shops" in done.stdout
    live.rename(kept)
    yield live, kept
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def shopctl(
    pristine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    live, kept = pristine
    shutil.copytree(kept, live, symlinks=True)
    settle_in(monkeypatch, live / "fleet", live / "cache")
    yield Place(live, capfd)
    shutil.rmtree(live)


def reset(shopctl: Place, kept: Path) -> None:
    """Let everything be as it was at first."""
    shutil.rmtree(shopctl.folder)
    shutil.copytree(kept, shopctl.folder, symlinks=True)


def script_of(text: str) -> str:
    """Return the script at the end of what --dry-run prints."""
    return text[text.index("By hand, the first step:\n") :].split("\n", 1)[1]


def by_hand(script: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


class TestLooking:
    def test_shops_are_listed_in_every_form(self, shopctl: Place) -> None:
        table = shopctl("shop", "list").out.splitlines()
        assert table[0].split() == ["NAME", "CLASS", "SHOPSETS", "GROUP"]
        assert len(table) == 26
        found = shopctl.data("shop", "list", "--on", "a", "--class", "single")
        assert found == yaml.safe_load(shopctl("shop", "list", "--on", "a-1", "--class", "single", "-o", "yaml").out)
        names = shopctl("shop", "list", "--on", "a", "--class", "single", "-o", "name").out.split()
        assert names == [f"shop/{row['name']}" for row in found]
        assert "3 of 25" in shopctl("shop", "list", "--limit", "3").out
        assert "it has a-1" in shopctl("shop", "list", "--on", "x", code=exits.REFUSED).err

    def test_clusters_and_shopsets_show_what_they_serve(self, shopctl: Place) -> None:
        listed = shopctl.data("cluster", "list")
        everywhere = shopctl.everywhere()
        on = {name: sum(f"{name}-1" in each for each in everywhere.values()) for name in "abc"}
        assert {row["name"]: row["shops"] for row in listed} == {k: str(v) for k, v in on.items()}
        heads, *rows = [line.split() for line in shopctl("get", "shopsets").out.splitlines()]
        assert heads[6:9] == ["HEALTH", "SHOPS", "LOAD"]
        cells = {row[0]: row[7:9] for row in rows}
        assert {name: cells[f"{name}-1"][0] for name in "abc"} == {name: str(number) for name, number in on.items()}
        assert (cells["b-2"], cells["a-1"][1][-1]) == (["0", "0%"], "%")
        assert shopctl("cluster", "list", "-o", "name").out.split() == ["cluster/a", "cluster/b", "cluster/c"]

    def test_where_by_name_and_by_host(self, shopctl: Place) -> None:
        said = shopctl("shop", "where", "hoge.example.com").out.splitlines()
        assert said[0] == "hoge  class standard  tier prod"
        assert said[1].endswith("serving")
        assert said[2].endswith("standby")
        assert said[4].startswith("since ")
        found = shopctl.data("shop", "where", "hoge")
        assert [each["shopset"] for each in found["replicas"]] == shopctl.where("hoge")
        assert "no shop 'nobody'" in shopctl("shop", "where", "nobody", code=exits.REFUSED).err
        assert "is no time" in shopctl("shop", "where", "hoge", "--at", "noon", code=exits.REFUSED).err
        assert (
            "no shop was placed then" in shopctl("shop", "where", "hoge", "--at", "2001-01-01", code=exits.REFUSED).err
        )

    def test_where_goes_on_from_what_was_seen_last(self, shopctl: Place) -> None:
        before = shopctl("shop", "where", "hoge").out
        shopctl.system.rename(shopctl.folder / "away")
        said = shopctl("shop", "where", "hoge")
        assert (said.out, "note: as seen last: shopset-system cannot be read" in said.err) == (before, True)
        assert "nothing is seen of the system repository" in shopctl("shop", "list", code=exits.UNREACHABLE).err

    def test_explain_says_where_else_it_could_be(self, shopctl: Place) -> None:
        said = shopctl("shop", "explain", "hoge").out
        assert "2 replicas in different clusters" in said
        assert said.count("load ") == 3
        other = ({"a-1", "b-1", "c-1"} - set(shopctl.where("hoge"))).pop()
        assert re.search(rf"^  {other} .* possible$", said, re.MULTILINE)

    def test_simulate_and_capacity_read_the_placement(self, shopctl: Place) -> None:
        alone = [name for name, shopsets in shopctl.everywhere().items() if shopsets == "b-1"]
        assert shopctl.data("simulate", "--lose", "cluster=b")["down"] == len(alone)
        assert "prod" in shopctl("capacity").out


class TestPlanning:
    def test_a_plan_is_a_script_that_does_what_apply_does(self, shopctl: Place, pristine: tuple[Path, Path]) -> None:
        for change in (True, False):
            if not change:
                reset(shopctl, pristine[1])
            shopctl.file("shops.csv").write_text(CSV + "new,standard,new.example.com,5\n")
            if change:
                refs = shopctl.refs
                said = shopctl("plan", code=exits.SOMETHING_TO_DO).out
                assert "place 1 shop" in said or "add new" in said
                made = shopctl.data("plan", code=exits.SOMETHING_TO_DO)
                assert [each["kind"] for each in made["actions"]] == ["Place"]
                assert "placement" in made
                script = shopctl("plan", "--commands", code=exits.SOMETHING_TO_DO).out
                assert shopctl.refs == refs
                by_hand(script, shopctl.folder)
                planned = shopctl.tree()
                assert shopctl("plan").out.endswith("Nothing to do.\n")
            else:
                shopctl("apply", "--yes")
                assert shopctl.tree() == planned
                assert len(shopctl.where("new")) == 2
                shopctl("run", "--once")
                assert shopctl.tree() == planned

    def test_one_bad_line_is_named_and_the_others_are_placed(self, shopctl: Place) -> None:
        rows = ["x1,standard,x1.example.com,1", "x2,standard,not a host!,1", "x3,standard,x3.example.com,1"]
        shopctl.file("shops.csv").write_text(CSV + "\n".join(rows) + "\n")
        said = shopctl("apply", "--yes")
        assert f"shops.csv:{CSV.count(chr(10)) + 2}" in said.out
        assert len(shopctl.where("x1")) == len(shopctl.where("x3")) == 2
        assert "x2" not in shopctl.everywhere()

    def test_a_host_of_somebody_else_is_refused_to_the_later_one(self, shopctl: Place) -> None:
        shopctl.file("shops.csv").write_text(CSV + "thief,standard,hoge.example.com,1\n")
        said = shopctl("plan")
        assert "thief" in said.out
        assert "hoge.example.com" in said.out
        assert shopctl("shop", "where", "hoge.example.com").out.startswith("hoge ")


class TestShops:
    @pytest.mark.parametrize(
        "words",
        [
            ("shop", "move", "hoge", "--to", "{free}", "--to", "{second}", "-m", "nearer"),
            ("shop", "pin", "hoge", "--to", "{free}", "--to", "{first}", "-m", "a test"),
            ("shop", "isolate", "hoge", "-m", "a sale"),
            ("shop", "spread", "hoge", "--replicas", "3", "-m", "rush"),
            ("cluster", "lost", "a", "-m", "power"),
        ],
    )
    def test_a_dry_run_writes_nothing_and_its_script_does_the_first_step(
        self, shopctl: Place, pristine: tuple[Path, Path], words: tuple[str, ...]
    ) -> None:
        first, second = shopctl.where("hoge")
        free = ({"a-1", "b-1", "c-1"} - {first, second}).pop()
        words = tuple(word.format(first=first, second=second, free=free) for word in words)
        refs = shopctl.refs
        script = script_of(shopctl(*words, "--dry-run", code=exits.SOMETHING_TO_DO).out)
        assert shopctl.refs == refs
        by_hand(script, shopctl.folder)
        assert shopctl.refs != refs
        shopctl("run", "--until-idle", "--interval", "0.1")
        planned = shopctl.tree()
        reset(shopctl, pristine[1])
        shopctl(*words)
        assert shopctl.tree() == planned
        assert "Nothing to do" in shopctl(*words).out

    def test_a_pin_is_undone_by_release(self, shopctl: Place) -> None:
        before = shopctl.where("hoge")
        to = sorted({"a-1", "b-1", "c-1"} - {before[0]}, reverse=True)
        shopctl("shop", "pin", "hoge", "--to", to[0], "--to", to[1], "-m", "load test")
        assert shopctl.where("hoge") == to
        assert "pinned" in shopctl("shop", "where", "hoge").out
        assert "A person pinned it" in shopctl("shop", "explain", "hoge").out
        shopctl("shop", "release", "hoge", "-m", "done")
        assert "pinned" not in shopctl("shop", "where", "hoge").out
        assert "its class" in shopctl("shop", "release", "hoge", "-m", "done", code=exits.REFUSED).err

    def test_an_isolated_shop_has_dedicated_shopsets_to_itself(self, shopctl: Place) -> None:
        before = shopctl.where("hoge")
        shopctl("shop", "isolate", "hoge", "-m", "flash sale")
        assert set(shopctl.where("hoge")) == {"b-2", "c-2"}
        assert shopctl("shop", "list", "--on", "b-2", "-o", "name").out == "shop/hoge\n"
        said = shopctl("shop", "isolate", "shop-01", "-m", "me too", code=exits.REFUSED)
        assert "spec.dedicated" in said.err
        shopctl("shop", "release", "hoge", "-m", "over")
        assert set(shopctl.where("hoge")) <= {"a-1", "b-1", "c-1"}
        assert len(before) == len(shopctl.where("hoge"))

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("move", "hoge", "--to", "a-1", "-m", "x"), "2"),
            (("move", "hoge", "--to", "b-1", "--to", "b-1", "-m", "x"), "2 different replicas"),
            (("pin", "hoge", "--to", "b-1", "--to", "z-9", "-m", "x"), "z-9"),
            (("pin", "nobody", "--to", "b-1", "--to", "c-1", "-m", "x"), "nobody"),
            (("spread", "hoge", "--replicas", "4", "-m", "x"), "3"),
            (("remove", "shop-01"), "shops.csv"),
            (("add", "y", "--class", "gold", "--host", "y.example.com"), "standard"),
            (("add", "y", "--class", "standard", "--host", "hoge.example.com"), "hoge"),
            (("add", "hoge", "--class", "standard", "--host", "y.example.com"), "shop where hoge"),
            (("add", "y", "--class", "standard", "--host", "not a host"), "host"),
            (("add", "Y_", "--class", "standard", "--host", "y.example.com"), "name"),
        ],
    )
    def test_refusals_say_what_to_do(self, shopctl: Place, words: tuple[str, ...], told: str) -> None:
        refs = shopctl.refs
        assert told in shopctl("shop", *words, code=exits.REFUSED).err
        assert shopctl.refs == refs

    def test_a_shop_is_added_and_removed_by_its_file(self, shopctl: Place) -> None:
        words = ("shop", "add", "bar", "--class", "standard", "--host", "BAR.example.com", "--rps", "3")
        text = shopctl(*words, "--dry-run", code=exits.SOMETHING_TO_DO).out
        assert yaml.safe_load(text)["spec"]["demand"] == {"requestsPerSecond": 3.0}
        assert not shopctl.file("shops").exists()
        assert "wrote" in shopctl(*words).out
        assert len(shopctl.where("bar.example.com")) == 2
        assert "rm " in shopctl("shop", "remove", "bar", "--dry-run", code=exits.SOMETHING_TO_DO).out
        shopctl("shop", "remove", "bar")
        shopctl("shop", "where", "bar", code=exits.REFUSED)


class TestClusters:
    def test_a_lost_cluster_and_its_return(self, shopctl: Place) -> None:
        before = shopctl.everywhere()
        lost = shopctl.folder / "clusters" / "a" / "LOST"
        lost.touch()
        said = shopctl("cluster", "lost", "a", "-m", "power failure").out
        assert "declares cluster a lost" in said
        after = shopctl.everywhere()
        assert all("a-1" not in shopsets for shopsets in after.values())
        moved = {shop for shop, shopsets in after.items() if shopsets.split(", ") != before[shop].split(", ")}
        assert {shop for shop, shopsets in before.items() if "a-1" in shopsets} <= moved
        assert {shop for shop in before if set(after[shop].split(", ")) - set(before[shop].split(", "))} == {
            shop for shop, shopsets in before.items() if "a-1" in shopsets
        }, "a shop moved that had no replica there"
        assert shopctl.states()["a"] == "Lost"
        assert json.loads(shopctl("get", "cluster", "a", "-o", "json").out)["status"]["state"] == "Lost"
        assert "lost already" in shopctl("cluster", "lost", "a", "-m", "again").out
        waiting = shopctl("cluster", "return", "a", "--no-wait")
        assert shopctl.states()["a"] == "Returning"
        assert waiting.code == exits.OK
        assert all("a-1" not in shopsets for shopsets in shopctl.everywhere().values())
        lost.unlink()
        shopctl("run", "--until-idle", "--interval", "0.1")
        assert shopctl.everywhere() == before
        assert shopctl.states()["a"] == "Active"

    def test_an_interrupted_drain_goes_on_with_the_same_command_and_waits_for_the_version(self, shopctl: Place) -> None:
        before = shopctl.everywhere()
        platform = shopctl.file("platform.yaml")
        quick = platform.read_text()
        # However slow the machine is, it is interrupted between two waves.
        platform.write_text(quick.replace(f"share: 50, pause: {PAUSE}s", "share: 20, pause: 1h"))
        words = ("cluster", "drain", "a", "--for-upgrade", "v1.37.0")
        running = shopctl.start(*words)
        assert running.stdout is not None
        line = next((line for line in running.stdout if "still to go" in line), "")
        assert "Ctrl-C" in line
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
        assert (running.returncode, "the same command goes on" in err) == (exits.INTERRUPTED, True)
        assert shopctl.states()["a"] == "Draining"
        between = shopctl.everywhere()
        assert all(len(between[shop].split(", ")) >= len(before[shop].split(", ")) for shop in before)
        assert any("a-1" in shopsets for shopsets in between.values())
        platform.write_text(quick)
        shopctl(*words)
        assert all("a-1" not in shopsets for shopsets in shopctl.everywhere().values())
        assert shopctl.states()["a"] == "Upgrading"
        version = shopctl.folder / "clusters" / "a" / "VERSION"
        version.write_text("v1.36.2\n")
        assert "v1.37.0" in shopctl("cluster", "return", "a").out
        assert shopctl.states()["a"] == "Returning"
        again = shopctl("cluster", "return", "a").out
        assert again.startswith("Nothing to do: ")
        assert "it runs version v1.36.2, not v1.37.0" in again
        version.write_text("v1.37.0\n")
        shopctl("run", "--until-idle", "--interval", "0.1")
        assert shopctl.everywhere() == before
        assert "v1.37.0" not in shopctl("plan").out

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("cluster", "lost", "z", "-m", "x"), exits.REFUSED, "it has a, b, c"),
            (("cluster", "drain", "a"), exits.REFUSED, "--for-upgrade"),
            (("cluster", "return", "a"), exits.REFUSED, "neither lost nor drained"),
            (("cluster", "lost", "a"), exits.USAGE, "--reason"),
            (("rebalance", "--max-moves", "0"), exits.USAGE, "max-moves"),
        ],
    )
    def test_refusals(self, shopctl: Place, words: tuple[str, ...], code: int, told: str) -> None:
        refs = shopctl.refs
        assert told in shopctl(*words, code=code).err
        assert shopctl.refs == refs

    def test_rebalance_moves_no_more_than_it_may(self, shopctl: Place) -> None:
        before = shopctl.everywhere()
        for shop in ("hoge", "shop-01", "shop-02"):
            shopctl("shop", "move", shop, "--to", "a-1", "--to", "b-1", "-m", "unbalance it")
        between = shopctl.everywhere()
        assert between != before
        shopctl("rebalance", "--max-moves", "2")
        after = shopctl.everywhere()
        assert 1 <= sum(set(after[shop].split(", ")) != set(between[shop].split(", ")) for shop in after) <= 2


class TestHistory:
    def test_a_revert_brings_shops_back_and_the_planner_agrees(self, shopctl: Place) -> None:
        before, tree = shopctl.everywhere(), shopctl.tree()
        first, second = shopctl.where("hoge")
        free = ({"a-1", "b-1", "c-1"} - {first, second}).pop()
        head = git("rev-parse", "placement", folder=shopctl.system)
        later(shopctl)
        shopctl("shop", "move", "hoge", "--to", free, "--to", second, "-m", "a mistake")
        assert shopctl.everywhere() != before
        shown = shopctl("shop", "where", "hoge").out
        assert f"(moved from {first}: Yamada moves shop hoge to {free}, {second}: a mistake)" in shown
        then = git("show", "-s", "--format=%cI", head, folder=shopctl.system)
        old = shopctl.data("shop", "where", "hoge", "--at", then)
        assert [each["shopset"] for each in old["replicas"]] == [first, second]
        work = shopctl.folder / "work"
        git("clone", "--quiet", "--branch", "placement", str(shopctl.system), str(work))
        git("revert", "--no-edit", f"{head}..HEAD", folder=work)
        git("push", "--quiet", "origin", "HEAD:placement", folder=work)
        assert shopctl.tree() == tree
        assert shopctl("plan").out.endswith("Nothing to do.\n")
        assert shopctl.everywhere() == before


def later(shopctl: Place) -> None:
    """Wait until git's clock shows a later second than that of the last placement."""
    last = int(git("show", "-s", "--format=%ct", "placement", folder=shopctl.system))
    until(lambda: time.time() >= last + 1)


def until(reached: Callable[[], bool]) -> None:
    while not reached():
        time.sleep(0.02)
