"""shopctl edge as a person meets it: a real folder, real git, and agents that say what a test says."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from shopset.api import KINDS
from shopset.api.platforms import Edge
from shopset.cli import exits
from shopset.cli.scaffolding import EXAMPLE, Copy, Layout, make_repositories, write_fleet
from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeSettings, EdgeShop, EdgeShopSet, RateLimit
from shopset.core.placement.formats import dump_placement
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.edge.hostmap import hosts_in
from shopset.edge.routes import slot_of
from shopset.edge_agent.runtime import Process
from shopset.edge_agent.statuses import Mode, Status
from support.edge_agents import edge as running_edge
from support.edge_agents import end
from support.haproxies import PATIENCE, check, debian, haproxy
from support.origins import free_port
from support.servers import Request, respond, serving
from support.shopctl import Said, run, settle_in
from support.worlds import ENVIRONMENT, git

__all__ = ["haproxy"]
GUIDE = Path(__file__).parents[2] / "docs" / "edge.md"
PROCESS = Process(pid=7, version="2.6.12", uptime=60)

FACTS = EdgeFacts(
    settings=EdgeSettings(clients=RateLimit(20.0, 200)),
    shopsets={
        name: EdgeShopSet(name, "http://127.0.0.1:1", "prod", name[0], concurrency=1000)
        for name in ("a-1", "b-1", "c-1")
    }
    | {"d-1": EdgeShopSet("d-1", "http://127.0.0.1:1", "beta", "d")},
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


@dataclass
class Place:
    """A fleet with a placement, and shopctl on it."""

    folder: Path
    capfd: pytest.CaptureFixture[str]

    def __call__(self, *words: str, code: int = exits.OK) -> Said:
        said = run(self.capfd, *words)
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
    settle_in(monkeypatch, tmp_path / "fleet", tmp_path / "cache")
    for name in ("git", "fleet"):
        shutil.copytree(made / name, tmp_path / name, symlinks=True)
    platform = tmp_path / "fleet" / "platform.yaml"
    platform.write_text(platform.read_text().replace(str(made), str(tmp_path)))
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
        assert (
            "150 requests of the shop within a second or 600 within 10 (50 requests/s and a burst of 100); beyond: 429"
            in said.out
        )
        assert (
            "400 requests of one client address within 10 s (20 requests/s and a burst of 200); beyond: 429" in said.out
        )
        assert (
            "a-1 answers 1,000 requests at once; others beyond 1,000 (/cart/1 begins with the lane /cart)"
            in steps["when full"]
        )
        assert [line.strip() for line in lines if line.startswith("    ") and ". " in line[:8]] == ["1. a-1", "2. b-1"]
        assert steps["answer"] == "a-1 answers"
        assert steps["if it fails"] == "GET is sent to b-1"
        assert "by the placement of commit" in commit

    def test_a_post_is_not_sent_twice(self, placed: Place) -> None:
        assert "POST is not sent twice" in placed("edge", "where", "hoge.example.com", "--method", "post").out

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
        assert "beyond 800 (80 % of it, as / is in no lane) go to the next ShopSet while that is below 70 %" in said
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

    def test_wide_has_the_line_of_the_map(self, placed: Place, tmp_path: Path) -> None:
        placed("edge", "config", "--maps", str(tmp_path / "maps"))
        lines = [" ".join(entry) for entry in hosts_in((tmp_path / "maps" / "hosts.map").read_text().splitlines())]
        said = placed("edge", "where", "x.hoge.example.com", "-o", "wide").out.splitlines()
        (entry,) = [line.split(maxsplit=1)[1] for line in said if line.startswith("  entry ")]
        assert entry in lines
        assert placed.data("edge", "where", "x.hoge.example.com")["entry"] == entry.split(" ")[1]

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


class Agents:
    """Agents whose statuses a test sets; what they tell has the form that real ones tell."""

    def __init__(self, stack: ExitStack, *names: str) -> None:
        self.told: dict[str, Any] = {name: Status().told() for name in names}
        self.urls = {name: stack.enter_context(serving(partial(self._answer, name))) for name in names}

    def set(self, name: str, commit: str, mode: Mode = Mode.FRESH, reason: str = "", **more: Any) -> None:
        status = Status(
            mode,
            reason,
            commit,
            since=datetime.now(UTC) - timedelta(days=3, minutes=1),
            hosts=5,
            overlay=1,
            haproxy=PROCESS,
        )
        self.told[name] = status.told() | more

    def words(self, *names: str) -> list[str]:
        return [word for name in names for word in ("--agent", self.urls[name])]

    def address(self, name: str) -> str:
        return self.urls[name].removeprefix("http://")

    def _answer(self, name: str, request: Request) -> None:
        found = request.path == "/status" and self.told[name]
        respond(request, 200 if found else 404, json.dumps(found).encode())


@pytest.fixture
def agents() -> Iterator[Agents]:
    with ExitStack() as stack:
        yield Agents(stack, "one", "two", "mute")


def rows_of(said: Said) -> dict[str, list[str]]:
    """Edge -> its cells."""
    return {cells[0]: cells for line in said.out.splitlines()[1:] if len(cells := re.split(r"  +", line.strip())) > 3}


class TestStatus:
    def test_each_edge_is_a_row(self, placed: Place, agents: Agents) -> None:
        old = git("rev-parse", "placement", folder=placed.system)
        head = placed.push(FIRST.without_shops(["wide"]))
        agents.set("one", head)
        agents.set(
            "two", old, Mode.STALE, "git does not answer", shopsets={"a-1": {"state": "down"}, "b-1": {"state": "up"}}
        )
        agents.told["mute"] = None
        gone = "http://127.0.0.1:1"
        said = placed("edge", "status", *agents.words("one", "two", "mute"), "--agent", gone, code=exits.FAILURE)
        rows = rows_of(said)
        assert list(rows) == [*(agents.address(name) for name in ("one", "two", "mute")), "127.0.0.1:1"]
        assert rows[agents.address("one")][1:4] == ["Fresh", f"{head[:7]} (in sync)", "3d"]
        assert rows[agents.address("two")][1:3] == ["Stale", f"{old[:7]} (1 commit behind)"]
        assert rows[agents.address("two")][-1] == "a-1"
        assert [rows[name][1] for name in (agents.address("mute"), "127.0.0.1:1")] == ["Unreachable", "Unreachable"]
        assert f"! {agents.address('two')}: git does not answer" in said.out
        assert "! 127.0.0.1:1: the agent does not answer" in said.out

    def test_in_order_is_a_success_in_every_form(self, placed: Place, agents: Agents) -> None:
        agents.set("one", git("rev-parse", "placement", folder=placed.system))
        words = ("edge", "status", *agents.words("one"))
        found = placed.data(*words)
        assert [(each["state"], each["commitsBehind"], each["isWell"]) for each in found["edges"]] == [
            ("Fresh", 0, True)
        ]
        assert placed(*words, "-o", "name").out == f"edge/{agents.address('one')}\n"
        assert agents.urls["one"] in placed(*words, "-o", "wide").out

    def test_certificates_are_told(self, placed: Place, agents: Agents) -> None:
        remark = {"name": "hoge", "reason": "Expired", "message": "it expired on 2026-01-01"}
        expiry = (datetime.now(UTC) + timedelta(days=12, hours=1)).isoformat()
        told = {"served": 1234, "refused": 1, "expiry": expiry, "remarks": [remark]}
        agents.set("one", git("rev-parse", "placement", folder=placed.system), certificates=told)
        said = placed("edge", "status", *agents.words("one"), "-o", "wide")
        assert rows_of(said)[agents.address("one")][-4:-2] == ["1,234", "in 12d"]
        assert f"! {agents.address('one')}: certificate hoge: it expired on 2026-01-01" in said.out

    def test_an_edge_without_haproxy_is_not_in_order(self, placed: Place, agents: Agents) -> None:
        agents.set("one", git("rev-parse", "placement", folder=placed.system), haproxy=Status().told()["haproxy"])
        said = placed("edge", "status", *agents.words("one"), code=exits.FAILURE)
        assert "HAProxy does not answer" in said.out

    def test_the_platform_names_agents(self, placed: Place, agents: Agents) -> None:
        assert "no agents are known" in placed("edge", "status", code=exits.REFUSED).err
        assert "is no URL of an agent" in placed("edge", "status", "--agent", "edge-1", code=exits.REFUSED).err
        platform = placed.folder / "fleet" / "platform.yaml"
        platform.write_text(f"{platform.read_text()}  edge:\n    agents: [{agents.urls['one']}]\n")
        agents.set("one", "0" * 40, Mode.WAITING)
        assert "0000000 (not on the branch)" in placed("edge", "status", code=exits.FAILURE).out


class TestDiff:
    def test_it_says_what_an_edge_lacks(self, placed: Place, agents: Agents) -> None:
        old = git("rev-parse", "placement", folder=placed.system)
        facts = replace(FACTS, shopsets={**FACTS.shopsets, "e-1": EdgeShopSet("e-1", "http://e-1.example.com")})
        head = placed.push(
            FIRST.without_shops(["wide"])
            .with_shops([PlacedShop("neu", "standard#0", ("neu.example.com",))])
            .with_groups([replace(GROUPS[0], replicas=("c-1", "b-1"))])
            .with_edge(facts)
        )
        agents.set("one", head)
        agents.set("two", old)
        said = placed("edge", "diff", *agents.words("one", "two", "mute"), code=exits.SOMETHING_TO_DO)
        assert said.out.splitlines() == [
            f"{agents.address('one')}: nothing differs ({head[:7]} (in sync))",
            f"{agents.address('two')}: {old[:7]} (1 commit behind)",
            "  + host neu.example.com",
            "  - host wide.example.com",
            "  ~ 2 shops of 1 group: a-1, b-1 -> c-1, b-1",
            "  ~ ShopSet e-1: added",
            f"{agents.address('mute')}: unknown: it routes by no placement yet",
        ]
        found = placed.data("edge", "diff", *agents.words("two"), code=exits.SOMETHING_TO_DO)
        assert found["edges"][0]["difference"]["hostsAdded"] == ["neu.example.com"]
        assert placed("edge", "diff", *agents.words("one")).code == exits.OK
        names = placed("edge", "diff", *agents.words("one", "two"), "-o", "name", code=exits.SOMETHING_TO_DO).out
        assert names == f"edge/{agents.address('two')}\n"

    def test_nobody_to_ask_is_no_difference(self, placed: Place) -> None:
        said = placed("edge", "diff", "--agent", "http://127.0.0.1:1", code=exits.UNREACHABLE)
        assert "127.0.0.1:1: unknown: the agent does not answer" in said.out


class TestStates:
    def test_where_takes_the_states_that_agents_see(self, placed: Place, agents: Agents) -> None:
        head = git("rev-parse", "placement", folder=placed.system)
        agents.set("one", head, shopsets={"a-1": {"state": "down"}, "b-1": {"state": "up"}})
        agents.set("two", head, shopsets={"a-1": {"state": "up"}, "b-1": {"state": "up"}})
        words = ("edge", "where", "hoge.example.com")
        said = placed(*words, *agents.words("one", "two"))
        assert f"1. a-1  down  ({agents.address('two')}: up)" in said.out
        assert "b-1 answers (a-1 is down)" in said.out
        agents.set("one", head, shopsets={"a-1": {"state": "down"}, "b-1": {"state": "down"}})
        none_up = placed(*words, *agents.words("one"), code=exits.FAILURE)
        assert "503 with Retry-After: no ShopSet of its list is up" in none_up.out
        agents.set("one", head, shopsets={name: {"state": "down"} for name in FACTS.shopsets})
        assert "a-1 is asked: so much of the fleet is down" in placed(*words, *agents.words("one")).out
        agents.set("one", head, shopsets={"a-1": {"state": "ejected"}, "b-1": {"state": "down"}})
        assert "all that are up are ejected" in placed(*words, *agents.words("one")).out
        away = placed(*words, "--agent", "http://127.0.0.1:1")
        assert "a-1 answers" in away.out
        assert "the agent does not answer" in away.out


@contextmanager
def real_agent(repository: Path) -> Iterator[str]:
    """Run shopset-edge with a HAProxy until the block ends; its URL is given."""
    with running_edge(debian()) as made:
        listen = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "shopset.edge_agent", "run", "--state", made.place.state, "--listen", listen]
        command += [
            "--repository",
            str(repository),
            "--haproxy",
            debian(),
            "--http",
            made.place.http[0],
            "--connections",
            "500",
        ]
        process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        try:
            yield f"http://{listen}"
        finally:
            end(process)


def eventually(ask: Callable[[], Said]) -> Said:
    """Return what is said once nothing fails; an agent needs a while."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _where_down(placed: Place, url: str) -> Said:
    said = placed("edge", "where", "hoge.example.com", "--agent", url)
    assert "1. a-1  down" in said.out
    return said


class TestRealAgent:
    def test_it_is_in_order_and_follows(self, placed: Place) -> None:
        with real_agent(placed.system) as url:
            head = git("rev-parse", "placement", folder=placed.system)
            said = eventually(lambda: placed("edge", "status", "--agent", url, "-o", "json"))
            (found,) = json.loads(said.out)["edges"]
            assert (found["state"], found["status"]["commit"], found["status"]["hosts"]) == ("Fresh", head, 6)
            # Nobody listens where the ShopSets should be, and of all the edge believes no such thing.
            down = eventually(lambda: _where_down(placed, url))
            assert "a-1 is asked: so much of the fleet is down that the edge does not believe its checks" in down.out
            assert (
                rows_of(placed("edge", "status", "--agent", url))[url.removeprefix("http://")][-1]
                == "a-1, b-1, c-1, d-1"
            )
            placed.push(FIRST.without_shops(["wide"]))
            assert "nothing differs" in eventually(lambda: placed("edge", "diff", "--agent", url)).out


class TestGuide:
    def test_it_shows_what_is_said(self, placed: Place, agents: Agents) -> None:
        text = GUIDE.read_text()
        example = text[text.index("$ shopctl edge where wide.example.com") :].partition("\n```")[0]
        command, *shown, last = example.splitlines()
        seen = {name: {"state": "down" if name == "b-1" else "up"} for name in FACTS.shopsets}
        agents.set("one", git("rev-parse", "placement", folder=placed.system), shopsets=seen)
        said = placed(*command.split()[2:], *agents.words("one")).out.splitlines()
        assert said[:-1] == shown
        assert said[-1][: -len("3f0c1d2")] == last[: -len("3f0c1d2")]

    def test_its_objects_are_valid(self) -> None:
        documents = [
            document
            for block in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
            for document in yaml.safe_load_all(block)
        ]
        assert [each["kind"] for each in documents] == ["ShopClass", "ShopSet", "Cluster", "Platform"]
        for each in documents[:3]:
            KINDS[each["kind"]].model_validate(each)
        Edge.model_validate(documents[3]["spec"]["edge"])


class TestConfig:
    def test_haproxy_accepts_it_with_its_maps(self, placed: Place, haproxy: str, tmp_path: Path) -> None:
        state = tmp_path / "state"
        for folder in ("maps", "run"):
            (state / folder).mkdir(parents=True)
        said = placed("edge", "config", "--state", str(state), "--maps", str(state / "maps"), "--http", "127.0.0.1:1")
        (state / "haproxy.cfg").write_text(said.out)
        check(haproxy, state / "haproxy.cfg")
        hosts = dict(hosts_in((state / "maps" / "hosts.map").read_text().splitlines()))
        assert len(hosts) == 6
        assert hosts["big.example.com"].startswith("big:")
        assert (state / "maps" / "moved.map").read_text() == ""

    def test_a_folder_that_haproxy_cannot_name_is_refused(self, placed: Place) -> None:
        said = placed("edge", "config", "--state", "a b", code=exits.REFUSED)
        assert "is no absolute path" in said.err
