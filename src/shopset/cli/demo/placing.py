"""The part of the story about shops: placed, a cluster lost and back, another upgraded, and one shop by itself."""

import io
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shopset.cli.demo.fleets import LIMIT, host_of, isolated
from shopset.cli.demo.pictures import Picture, draw
from shopset.cli.demo.stages import OPERATOR, PATIENCE, Stage, StoryError, check
from shopset.cli.demo.visiting import Visiting
from shopset.cli.edge import where as edge_where
from shopset.cli.edge_following import status as edge_status
from shopset.cli.placing import show_placement
from shopset.cli.printing import Output, Printer
from shopset.cli.scaffolding import shopsets
from shopset.cli.shops import where
from shopset.cli.simulating import simulation
from shopset.cli.wiring import utc_now
from shopset.core.placement.plans import PlacementPlan, Seen
from shopset.core.placement.requests import (
    DrainCluster,
    Isolate,
    LoseCluster,
    PlacementRequest,
    ReturnCluster,
    Serve,
)
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Plan
from shopset.engine import Watching
from shopset.engine.placing import place

OLD, NEW = "v1.36.2", "v1.37.0"
_WATCHED = ("hoge", "foo")


@dataclass
class ShopStory:
    """Plays it on a stage whose tiers all run a release, and lets shoppers visit meanwhile."""

    stage: Stage
    visiting: Visiting

    def play(self) -> None:
        """Tell it, and check it."""
        self.place()
        self._open()
        before = self._moment()
        self._lose()
        self._release_without()
        self._come_back()
        self._rush()
        self._upgrade()
        self._isolate()
        self._look(before)

    def place(self) -> None:
        """Tell its beginning: every shop gets its ShopSets. None of it needs an edge."""
        self._chapter("Shops: nobody says which ShopSet serves them, their class does")
        self._say("class standard: two ShopSets on different clusters; class single: one. Few shops have most requests")
        self._command("apply --yes")
        picture = self._settle(lambda seen: len(seen.placement.members) == len(seen.shops))
        self._check(not picture.down, f"{len(picture.down)} shops are served by nobody")
        self._say(f"{len(self._seen.shops)} shops are served", "green")
        self._say("a person may choose, within what the class allows: hoge and foo, which we follow, go to cluster a")
        for shop, to in (("hoge", ("a-2", "b-1")), ("foo", ("a-2",))):
            words = " ".join(f"--to {name}" for name in to)
            self._ask(Serve(shop=shop, replicas=to, reason="a story"), f"shop move {shop} {words} -m 'a story'")
        self._settle()
        self._expect("hoge", ("a-2", "b-1"))
        self._expect("foo", ("a-2",))

    def _open(self) -> None:
        self._chapter("The edge: HAProxy leads each shopper to a ShopSet that serves the shop")
        self._say("each ShopSet is a server on a port of its own, and says so in its endpoint")
        self._serve()
        self.visiting.open()
        self.stage.screen.shoppers = self.visiting.lately
        self._check('"a-2"' in self.visiting.ask(host_of("hoge")), "a shopper of hoge was not led to its primary")
        self._command(f"edge where {host_of('hoge')}")
        self._quote(
            lambda: edge_where(
                self.stage.settings,
                host=host_of("hoge"),
                client=None,
                path="/",
                method="GET",
                at=None,
                agents=[],
                output=Output.TABLE,
            )
        )
        self.visiting.look("the first seconds")

    def _serve(self) -> None:
        """Start the servers of prod's ShopSets that have none: nobody is led to others."""
        fleet = self.stage.workplace.fleet
        for name, shopset in sorted(fleet.shopsets.items()):
            if shopset.spec.tier == "prod" and name not in self.visiting.servers.names:
                cluster = shopset.spec.cluster
                delivered = self.stage.home / "clusters" / cluster / "namespaces" / fleet.namespace(name)
                self.visiting.servers.start(name, cluster, delivered)

    def _moment(self) -> datetime:
        """Return the present second, once it is a later one than that of the last commit: git knows no parts of them."""
        head_at = self._seen.head_at
        while head_at is not None and utc_now().replace(microsecond=0) <= head_at:
            time.sleep(0.05)
        now = utc_now().replace(microsecond=0)
        while utc_now().replace(microsecond=0) <= now:
            time.sleep(0.05)
        return now

    def _lose(self) -> None:
        self._chapter("Cluster a dies under load: redundant shops stay up, the others are down")
        groups = [self._seen.placement.groups[group] for group in self._seen.placement.members.values()]
        replicas = {
            host_of(shop): group.replicas for shop, group in zip(self._seen.placement.members, groups, strict=True)
        }
        touched = {host: found for host, found in replicas.items() if "a-2" in found}
        single = {host for host, found in touched.items() if len(found) == 1}
        before = time.monotonic()
        dead = self.visiting.kill("a")
        self._file("a", "LOST").touch()
        self._say("touch clusters/a/LOST: its Kubernetes answers nobody any more", "bold red")
        self._say("nobody has noticed yet but the edge, which leaves a-2 by its own checks:")
        self.visiting.judge_loss(before, dead, replicas.keys() - single, single)
        picture = self._look_again()
        self._check({host_of(shop) for shop in picture.down} == single, "not the right shops are down")
        self._say(f"{len(touched) - len(single)} shops stay up, hoge among them: their other replica serves", "green")
        self._say(f"{len(single)} shops are down, foo among them: class single has one replica", "red")
        self._ask(LoseCluster(cluster="a", reason="power failure"), "cluster lost a -m 'power failure'")
        picture = self._settle()
        self._check(not picture.down, f"{len(picture.down)} shops are still down")
        self._check(self._on("a-2") == 0, "there are shops on the lost cluster")
        self._check(set(self._replicas("hoge")) == {"b-1", "c-3"}, "hoge is not where its class wants it")
        self._say("all shops are served again, and only those moved that had a replica there", "green")
        self.visiting.look("since the edge knows it", since=self.visiting.follow())

    def _release_without(self) -> None:
        self._chapter("Release 4 goes on without cluster a: a lost cluster holds nobody up")
        with self.visiting.nobody_fails("while release 4 climbed"):
            self.stage.release("4", {})

    def _come_back(self) -> None:
        self._chapter("Cluster a comes back: it catches up first, then its shops go home in waves")
        self._file("a", "LOST").unlink()
        self.visiting.servers.revive("a")
        self._say("rm clusters/a/LOST: it answers, its servers start, and it still has release 3")
        with self.visiting.nobody_fails("while shops went home"):
            self._return("repaired")
        self._check('"a-2"' in self.visiting.ask(host_of("foo")), "a shopper of foo was not led home")

    def _rush(self) -> None:
        self._chapter("A rush at bar, 50 times what class single allows: only its own shoppers feel it")
        self.visiting.rush(host_of("bar"), LIMIT)

    def _return(self, reason: str) -> None:
        self._ask(ReturnCluster(cluster="a", reason=reason), f"cluster return a -m {reason}")
        self._settle(lambda seen: "a" not in seen.clusters)
        self._expect("hoge", ("a-2", "b-1"))
        self._expect("foo", ("a-2",))
        self._say("the shops are where they were; each was served by its old replica until the new one served", "green")

    def _upgrade(self) -> None:
        self._chapter(f"Cluster a is upgraded to {NEW}: its shops go elsewhere first, in waves, and no shopper notices")
        self._say("hoge has its other replica on cluster b, so cluster b is not for it: it goes to c")
        request = DrainCluster(cluster="a", reason=f"upgrade to {NEW}", version=NEW)
        with self.visiting.nobody_fails("while cluster a was emptied, upgraded and filled again"):
            self._ask(request, f"cluster drain a --for-upgrade {NEW}")
            self._settle(lambda seen: "a" in seen.clusters and seen.clusters["a"].state == "Upgrading")
            self._check(set(self._replicas("hoge")) == {"b-1", "c-3"}, "hoge is not where its class wants it")
            self._check(self._on("a-2") == 0, "the cluster is not empty")
            self.visiting.follow()
            self.visiting.kill("a")
            self._file("a", "VERSION").write_text(f"{NEW}\n")
            self._say(f"echo {NEW} > clusters/a/VERSION: people upgrade it, and let its shops come back")
            self.visiting.servers.revive("a")
            self._return("upgraded")

    def _isolate(self) -> None:
        self._chapter("A flash sale at hoge: an environment of its own, so that nobody else feels it")
        fleet = self.stage.workplace.fleet
        configuration = fleet.shop_classes["standard"].spec.configuration
        copies = isolated(configuration, self.visiting.servers.ports.endpoint)
        (self.stage.settings.fleet / "isolated.yaml").write_text(
            f"# ShopSets for one shop under load: they serve only whom a person isolates.\n{shopsets(copies)}"
        )
        self.stage.reopen()
        names = tuple(copy.name for copy in copies)
        self._say(f"two more ShopSets, {' and '.join(names)}, are a few lines of YAML in fleet/isolated.yaml")
        self._serve()
        self.stage.until(_all_healthy(names), f"{' and '.join(names)} run what prod runs")
        with self.visiting.nobody_fails("while hoge moved"):
            self._ask(Isolate(shop="hoge", reason="flash sale at noon"), "shop isolate hoge -m 'flash sale at noon'")
            self._settle()
        began = self.visiting.follow()
        # A ShopSet that is new to the edge gets its share by and by.
        until = time.monotonic() + PATIENCE
        while f'"{self._replicas("hoge")[0]}"' not in self.visiting.ask(host_of("hoge")):
            self._check(time.monotonic() < until, "hoge was not led to its own ShopSet")
            time.sleep(0.5)
        self.visiting.look("hoge by itself, the others without it", since=began)
        hosts = {host for name in names for host in self.visiting.served_by(name, began)}
        self._check(hosts == {host_of("hoge")}, f"hoge's ShopSets served {hosts}")
        self._check(set(self._replicas("hoge")) == set(names), "hoge is not isolated")
        self._check(self._on(names[0]) == 1, "hoge is not by itself")

    def _look(self, before: datetime) -> None:
        settings = self.stage.settings
        self._chapter("What if, and what was")
        self._command("simulate --lose cluster=b")
        self._quote(lambda: simulation(settings, ["cluster=b"], "x1", [], Output.TABLE))
        at = before.isoformat().replace("+00:00", "Z")
        self._command("shop where hoge")
        self._quote(lambda: where(settings, "hoge", None, Output.TABLE))
        self._command(f"shop where hoge --at {at}")
        told = self._quote(lambda: where(settings, "hoge", at, Output.TABLE))
        self._check("a-2" in told[1], "history does not know where hoge was")
        self._command("edge status")
        self._quote(lambda: edge_status(settings, agents=[], output=Output.TABLE))
        self.visiting.total()

    # -- what happens

    def _ask(self, request: PlacementRequest, command: str) -> None:
        """Be an operator: type a command, see what it does, and let its first step be done."""
        workplace = self.stage.workplace
        self._command(command)
        releases, observed = workplace.engine.plan()
        made, _ = workplace.placer.respond(request, OPERATOR, releases, observed)
        self._quote(lambda: _tell(made))
        outcome = workplace.engine.act(made.actions)
        check(outcome)
        self._check(outcome.lost_race is None, "somebody else writes here")
        for action in outcome.done:
            self._say(action.what, "yellow")

    def _settle(self, reached: Callable[[Seen], bool] = lambda _: True) -> Picture:
        """Let the engine go on until something holds, and no shop is between two ShopSets."""
        deadline = time.monotonic() + PATIENCE
        stage = self.stage
        while time.monotonic() < deadline:
            for each in place(stage.workplace.placer, Watching(time.sleep)):
                check(each.outcome)
                for action in each.outcome.done:
                    self._say(action.what)
                made, self._seen = each.plan, each.seen
                picture = self._draw(each.observed)
            if made.wake_at is not None:
                time.sleep(max((made.wake_at - utc_now()).total_seconds(), 0.02))
            elif not (made.actions or made.later) and reached(self._seen):
                stage.screen.frame(picture)
                return picture
            else:
                # It waits for a ShopSet to run what its tier runs: that is for the releases to bring about.
                stage.workplace.reconcile()
                stage.round()
        message = f"after {PATIENCE:g} s the shops are still not at rest: {[each.message for each in made.conditions]}"
        raise StoryError(message)

    def _look_again(self) -> Picture:
        """Return the picture as it is when nobody does anything."""
        self.stage.workplace.reconcile()
        observed = self.stage.workplace.engine.observe()
        self._seen, _ = self.stage.workplace.placer.observe(observed)
        picture = self._draw(observed)
        self.stage.screen.frame(picture)
        return picture

    def _draw(self, observed: Observed) -> Picture:
        picture = draw(self.stage.workplace.fleet, self._seen, observed.deliveries, _WATCHED)
        self.stage.screen.draw(picture)
        return picture

    def _quote(self, tell: Callable[[], object]) -> list[str]:
        """Show what a command of shopctl writes."""
        text = io.StringIO()
        with redirect_stdout(text):
            tell()
        lines = text.getvalue().splitlines()
        self.stage.screen.print([f"  {line}" for line in lines], "dim")
        return lines

    def _chapter(self, title: str) -> None:
        self.stage.screen.chapter(title)

    def _say(self, text: str, style: str = "") -> None:
        self.stage.screen.say(text, style)

    def _command(self, words: str) -> None:
        self.stage.screen.say(f"$ shopctl {words}", "bold")

    def _file(self, cluster: str, name: str) -> Path:
        return self.stage.home / "clusters" / cluster / name

    def _replicas(self, shop: str) -> tuple[str, ...]:
        found = self._seen.placement.shop(shop)
        return found.group.replicas if found else ()

    def _on(self, shopset: str) -> int:
        return self._seen.placement.serving([shopset]).get(shopset, 0)

    def _expect(self, shop: str, replicas: tuple[str, ...]) -> None:
        found = self._replicas(shop)
        self._check(found == replicas, f"{shop} is on {', '.join(found)}, not on {', '.join(replicas)}")

    @staticmethod
    def _check(holds: bool, otherwise: str) -> None:
        if not holds:
            raise StoryError(otherwise)


def _tell(made: PlacementPlan) -> None:
    show_placement(Printer(colour=False), made)


def _all_healthy(names: tuple[str, ...]) -> Callable[[Plan, Observed], bool]:
    def reached(_: Plan, observed: Observed) -> bool:
        found = [observed.applications.get(name) for name in names]
        return all(each is not None and (each.sync, each.health) == ("Synced", "Healthy") for each in found)

    return reached
