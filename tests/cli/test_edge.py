"""shopctl edge as a person meets it: a real folder, real git, and agents that say what a test says."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from shopset.cli import exits, main
from shopset.cli.scaffolding import EXAMPLE, Copy, Layout, make_repositories, write_fleet
from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeSettings, EdgeShop, EdgeShopSet, RateLimit
from shopset.core.placement.formats import dump_placement
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.edge.routes import slot_of
from support.worlds import ENVIRONMENT, git

FACTS = EdgeFacts(
    settings=EdgeSettings(clients=RateLimit(20.0, 200)),
    shopsets={
        name: EdgeShopSet(name, f"http://{name}.example.com:8080", "prod", name[0], concurrency=1000)
        for name in ("a-1", "b-1", "c-1")
    }
    | {"d-1": EdgeShopSet("d-1", "http://d-1.example.com:8080", "beta", "d")},
    classes={
        "standard": EdgeClass("standard", limit=RateLimit(50.0, 100), replicas=2),
        "spread": EdgeClass(
            "spread", weights=(70, 30), overload="Spill", canaries=("d-1",), canary_percent=10, replicas=2
        ),
    },
    shops={"closed": EdgeShop("closed", maintenance=True), "big": EdgeShop("big", limit=RateLimit(500.0, 50))},
)
GROUPS = (
    Group("standard#0", "standard", ("a-1", "b-1")),
    Group("standard#1", "standard", ("b-1", "c-1", "a-1")),
    Group("spread#", "spread", ("b-1", "c-1")),
)
SHOPS = (
    PlacedShop("hoge", "standard#0", ("hoge.example.com", "*.hoge.example.com", "xn--wgv71a.example")),
    PlacedShop("big", "standard#1", ("big.example.com",)),
    PlacedShop("closed", "standard#1", ("closed.example.com",)),
    PlacedShop("wide", "spread#", ("wide.example.com",)),
)
FIRST = Placement.of(GROUPS, SHOPS, FACTS)


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass
class Place:
    """A fleet with a placement, and shopctl on it."""

    folder: Path
    capfd: pytest.CaptureFixture[str]

    def __call__(self, *words: str, code: int = exits.OK) -> Said:
        self.capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*words])
        said = Said(int(ended.value.code or 0), *self.capfd.readouterr())
        assert "Traceback" not in said.out + said.err
        assert said.code == code, said.out + said.err
        return said

    def data(self, *words: str, code: int = exits.OK) -> Any:
        return json.loads(self(*words, "-o", "json", code=code).out)

    def push(self, placement: Placement, subject: str = "move shops") -> str:
        """Make it the head of the branch; the commit is returned."""
        work = self.folder / "work"
        known = git("for-each-ref", "refs/heads/placement", folder=self.folder / "git" / "shopset-system.git")
        git("clone", "--quiet", *(["--branch", "placement"] if known else []), str(self.system), str(work))
        try:
            if known:
                git("rm", "-rq", ".", folder=work)
            else:
                git("checkout", "--quiet", "--orphan", "placement", folder=work)
                git("rm", "-rqf", "--ignore-unmatch", ".", folder=work)
            for path, content in dump_placement(placement).items():
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).write_bytes(content)
            git("add", "--all", folder=work)
            git("commit", "--quiet", "-m", subject, folder=work)
            git("push", "--quiet", "origin", "HEAD:refs/heads/placement", folder=work)
            return git("rev-parse", "HEAD", folder=work)
        finally:
            shutil.rmtree(work)

    @property
    def system(self) -> Path:
        return self.folder / "git" / "shopset-system.git"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edge")
    (folder / "git").mkdir()
    make_repositories(folder / "git", EXAMPLE / "apps", EXAMPLE / "configuration", ENVIRONMENT, "tier-0")
    copies = [Copy(f"{name}-1", "prod", "production", name) for name in "abcd"]
    layout = Layout(
        parent=str(folder / "git"),
        clusters=str(folder / "clusters"),
        tiers={"prod": ()},
        configurations=("production",),
        copies=copies,
        topology={name: {"region": name} for name in "abcd"},
        domains=("region",),
    )
    write_fleet(folder / "fleet", layout)
    return folder


@pytest.fixture
def shopctl(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Place:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("git", "fleet"):
        shutil.copytree(made / name, tmp_path / name, symlinks=True)
    platform = tmp_path / "fleet" / "platform.yaml"
    platform.write_text(platform.read_text().replace(str(made), str(tmp_path)))
    monkeypatch.setenv("SHOPSET_FLEET", str(tmp_path / "fleet"))
    monkeypatch.setenv("SHOPSET_CACHE", str(tmp_path / "cache"))
    return Place(tmp_path, capfd)


@pytest.fixture
def placed(shopctl: Place) -> Place:
    shopctl.push(FIRST)
    return shopctl


def client_in(low: int, high: int) -> str:
    """Return an address whose slot is in a range."""
    return next(address for n in range(1, 255) if low <= slot_of(address := f"192.0.2.{n}") < high)


class TestWhere:
    def test_it_reads_like_this(self, placed: Place) -> None:
        said = placed("edge", "where", "HOGE.example.com:443", "--path", "/cart/1")
        head, *lines, commit = said.out.splitlines()
        assert head == "hoge.example.com"
        steps = {line.split("  ")[1]: line.split("  ", 2)[2].strip() for line in lines if line[:3] != "   "}
        assert steps["shop"] == "hoge (class standard, group standard#0)"
        assert "more than 150 requests of the shop within a second, or 600 within 10: 429" in said.out
        assert "more than 20 requests/s and a burst of 200 of one client address: 429" in said.out
        assert (
            "a-1 answers 1,000 requests at once; with 1,000 (/cart/1 begins with the lane /cart)" in steps["when full"]
        )
        assert [line.strip() for line in lines if line.startswith("    ") and ". " in line[:8]] == ["1. a-1", "2. b-1"]
        assert steps["answer"] == "a-1 answers"
        assert steps["if it fails"] == "GET is sent to b-1"
        assert "by the placement of commit" in commit

    def test_a_post_is_not_sent_twice(self, placed: Place) -> None:
        assert "not sent again" in placed("edge", "where", "hoge.example.com", "--method", "post").out

    @pytest.mark.parametrize(
        ("host", "by"),
        [
            ("hoge.example.com.", "hoge.example.com"),
            ("www.hoge.example.com", "*.hoge.example.com"),
            ("日本.example", "xn--wgv71a.example"),
        ],
    )
    def test_hosts_are_found_as_browsers_write_them(self, placed: Place, host: str, by: str) -> None:
        found = placed.data("edge", "where", host)
        assert (found["shop"], found["by"], found["serving"]) == ("hoge", by, "a-1")

    @pytest.mark.parametrize(
        "host", ["a.b.hoge.example.com", "hogee.example.com", "localhost", "10.0.0.1", "R=standard#0"]
    )
    def test_a_host_of_nobody_is_not_found(self, placed: Place, host: str) -> None:
        said = placed("edge", "where", host, code=exits.REFUSED)
        assert "404" in said.out
        assert f"there is no shop with the host '{host}'" in said.err

    def test_a_slip_of_the_pen_is_told(self, placed: Place) -> None:
        said = placed("edge", "where", "hgoe.example.com", "-o", "json", code=exits.REFUSED)
        assert "did you mean hoge.example.com, of the shop hoge?" in said.err
        assert json.loads(said.out)["nearest"] == ["hoge.example.com", "hoge"]

    def test_a_shop_of_its_own_kind_has_a_route_of_its_own(self, placed: Place) -> None:
        found = placed.data("edge", "where", "big.example.com")
        assert (found["route"], found["limit"]["perSecond"], found["limit"]["perTenSeconds"]) == ("big", 550, 5050)
        assert "its own, because something is special about it" in placed("edge", "where", "big.example.com").out

    def test_maintenance_is_told_and_no_success(self, placed: Place) -> None:
        said = placed("edge", "where", "closed.example.com", code=exits.FAILURE)
        assert "503 and the maintenance page" in said.out
        assert placed.data("edge", "where", "closed.example.com", code=exits.FAILURE)["serving"] is None

    def test_the_address_of_a_client_chooses(self, placed: Place) -> None:
        firsts = {
            client: placed.data("edge", "where", "wide.example.com", "--client", client)["serving"]
            for client in (client_in(0, 10), client_in(10, 73), client_in(73, 100))
        }
        assert list(firsts.values()) == ["d-1", "b-1", "c-1"]
        said = placed("edge", "where", "wide.example.com", "--client", client_in(0, 10)).out
        assert "so d-1 comes first; 10 % d-1 (canary), 63 % b-1, 27 % c-1" in said
        said = placed("edge", "where", "wide.example.com", "--client", client_in(10, 73)).out
        assert "goes to the next ShopSet while that is below 70 %" in said
        anyone = placed("edge", "where", "wide.example.com").out
        assert "by the client's address: 10 % d-1 (canary)" in anyone
        placed("edge", "where", "wide.example.com", "--client", "me", code=exits.REFUSED)

    def test_earlier_commits_and_times(self, placed: Place) -> None:
        before = git("rev-parse", "placement", folder=placed.system)
        placed.push(FIRST.with_groups([replace(GROUPS[0], replicas=("c-1", "b-1"))]))
        assert placed.data("edge", "where", "hoge.example.com")["serving"] == "c-1"
        assert placed.data("edge", "where", "hoge.example.com", "--at", before[:9])["serving"] == "a-1"
        assert "no shop was placed then" in placed("edge", "where", "x.y", "--at", "2020-01-01", code=exits.REFUSED).err
        assert "no commit abcdef0" in placed("edge", "where", "x.y", "--at", "abcdef0", code=exits.REFUSED).err

    def test_the_forms_agree(self, placed: Place) -> None:
        words = ("edge", "where", "hoge.example.com")
        assert yaml.safe_load(placed(*words, "-o", "yaml").out) == placed.data(*words)
        assert placed(*words, "-o", "name").out.split() == ["shopset/a-1", "shopset/b-1"]

    def test_git_away_is_told_and_what_was_seen_last_counts(self, placed: Place) -> None:
        placed("edge", "where", "hoge.example.com")
        placed.system.rename(placed.folder / "away")
        said = placed("edge", "where", "hoge.example.com")
        assert "as seen last" in said.err
        assert "a-1 answers" in said.out

    def test_without_an_edge_it_says_what_to_write(self, shopctl: Place) -> None:
        assert "no shop is placed yet" in shopctl("edge", "where", "hoge.example.com", code=exits.REFUSED).err
        shopctl.push(Placement.of(GROUPS, SHOPS))
        assert "give ShopSets an endpoint" in shopctl("edge", "where", "hoge.example.com", code=exits.REFUSED).err
