"""`scripts/demo --kubernetes`: a short story on the real parts of a bed, and a kubeconfig to look around with.

Every command that it prints is a line of bash that it runs just so, in the folder and with the exports that it names first.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml
from lightkube import Client
from rich.console import Console
from rich.text import Text

from shopset.cli.demo.children import Children
from shopset.cli.demo.edges import Edge, HAProxyMissingError, find_haproxy
from shopset.cli.demo.servers import AGENT, Ports, Servers
from shopset.cli.demo.stages import StoryError as EdgeError
from shopset.cli.demo.visiting import Visiting
from shopset.cli.scaffolding import EXAMPLE, Copy, Layout, write_fleet
from shopset.kube.clients import RESOURCES, KubeError, asking, connect
from testbed import beds
from testbed.gitserver import REPOSITORIES, make_repositories
from testbed.keeping import end
from testbed.processes import StartError
from testbed.programs import ProgramMissingError, program
from testbed.records import USERS, Bed

_ROOT: Final = Path(__file__).parent.parent
_FLEET: Final = "shop"
"""Name of the set of repositories, and of the namespace."""
_PATIENCE: Final = 90.0
"""Seconds that one thing in the story may take."""
_TIERS: Final = {"dev": ("failureGrace: 5s",), "beta": ("bake: 2s",), "prod": ("mode: Manual", "bake: 2s")}
_COPIES: Final = (
    Copy("c-1", "dev", "staging", "c"),
    Copy("b-1", "beta", "production", "b"),
    Copy("a-1", "prod", "production", "a", requests=60.0),
    Copy("b-2", "prod", "production", "b", requests=60.0),
    Copy("c-2", "prod", "production", "c", requests=60.0),
)
_SHOPS: Final = ("hoge", *(f"shop-{number:02}" for number in range(1, 20)))
_LIMIT: Final = 20
"""Requests per second that a shop may have; it is asked for a quarter of them."""
_CLASS: Final = "\n".join(
    (
        "apiVersion: shopset.dev/v1alpha1",
        "kind: ShopClass",
        "metadata: {name: standard}",
        "spec: {tier: prod, configuration: production, replicas: 2, across: [cluster],",
        f"  limits: {{requestsPerSecond: {_LIMIT}.0, burst: {_LIMIT}}}}}",
    )
)
_TROUBLE: Final = r'{range .items[*]}{.metadata.name}: {.status.conditions[?(@.status=="False")].message}{"\n"}{end}'
"""What kubectl is asked where the story fails, as a jsonpath."""
_KINDS: Final = {kind.lower(): resource for kind, resource in RESOURCES.items()}
_DEPLOYMENT: Final = "apps/cart/deployment.yaml"


class StoryError(Exception):
    """Something else happened than the story says."""


class _Story:
    """Everything of the developer and the controller lies in `home`, the bed in a folder below it."""

    def __init__(self, home: Path, *, keep: bool) -> None:
        self._home = home
        self._keep = keep
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._start = time.monotonic()
        self._environment = {
            **os.environ,
            **{f"GIT_{role}_NAME": "anna" for role in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{role}_EMAIL": "anna@example.com" for role in ("AUTHOR", "COMMITTER")},
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        self._bed: Bed | None = None
        self._client: Client | None = None
        self._controller: subprocess.Popen[bytes] | None = None
        self._ports = Ports()
        self._visiting: Visiting | None = None

    def play(self) -> None:
        """Tell the whole story, and check it. Raises StoryError, StartError and ProgramMissingError."""
        bed = self._bed = self._start_bed()
        self._make_repositories(bed)
        self._apply_fleet(bed)
        self._start_controller()
        first = self._first_revision()
        good = self._good_release(first)
        self._bad_release(good)
        self._hold(good, prod=first)
        self._place_shops()
        self._open_edge(bed)
        self._lose(bed)
        self._rush()
        self._drain()
        self._look_back(bed)

    def wait(self) -> None:
        """Let people look around as long as they like: on a terminal, and where everything would end."""
        if not self._keep and sys.stdin.isatty() and self._console.is_terminal:
            with suppress(EOFError):
                self._console.input("\nLook around in another terminal; Enter ends everything. ")

    def close(self) -> None:
        """End and remove everything, or say how a person does. The edge ends in any case: it is this process's own."""
        if self._visiting is not None:
            self._visiting.close(self._home / "edge")
        if self._client is not None:
            self._client.close()
        if self._keep:
            controller = f"kill {self._controller.pid}; " if self._controller else ""
            self._say(f"\nEnd it by: {controller}{self._down()}; rm -r {self._home}")
            return
        if self._controller is not None:
            self._controller.kill()
            self._controller.wait()
        if self._bed is not None:
            end(self._bed)
        shutil.rmtree(self._home, ignore_errors=True)

    # -- scenes

    def _start_bed(self) -> Bed:
        self._chapter("A bed of real parts: four API servers, Argo CD, git over HTTP, Prometheus")
        log, ready = self._home / "bed" / "keeper.log", threading.Event()
        follower = threading.Thread(target=self._follow, args=(log, ready), daemon=True)
        follower.start()
        try:
            return beds.start(self._home / "bed", None if self._keep else os.getpid())
        finally:
            ready.set()
            follower.join()

    def _follow(self, log: Path, ready: threading.Event) -> None:
        told = 0
        while not ready.wait(0.2):
            lines = log.read_text().splitlines() if log.exists() else []
            for line in lines[told:]:
                self._happened(f"starting {line}")
            told = len(lines)

    def _make_repositories(self, bed: Bed) -> None:
        self._chapter("Three repositories over HTTP; a developer pushes the platform as it is")
        make_repositories(bed.home, _FLEET)
        self._environment |= {"KUBECONFIG": str(bed.kubeconfig), "ORIGIN": f"{bed.git_as('anna')}{_FLEET}"}
        for line in (
            f"cd {self._home}",
            *(f"export {name}={self._environment[name]}" for name in ("KUBECONFIG", "ORIGIN")),
        ):
            self._command(line)
        for name, repository in zip(("apps", "configuration"), REPOSITORIES[1:], strict=True):
            self._type(f"cp -r {shlex.quote(str(EXAMPLE / name))} {name}")
            self._type(f"git -C {name} init -q -b tier-0 && git -C {name} add --all")
            self._type(f"git -C {name} commit -q -m 'the platform as it is'")
            self._type(f"git -C {name} push -q $ORIGIN/{repository}.git tier-0")

    def _apply_fleet(self, bed: Bed) -> None:
        self._chapter("The fleet: three tiers, and five ShopSets on the clusters a, b and c")
        self._type(f"kubectl apply --server-side -k {shlex.quote(str(_ROOT / 'deploy' / 'crds'))}")
        # It fails at once where a definition has no conditions yet.
        wait = "kubectl wait --for=condition=Established --timeout=60s customresourcedefinition --all >/dev/null"
        self._type(f"{wait} 2>&1 || (sleep 2; {wait})")
        self._type(f"kubectl create namespace {_FLEET} && kubectl config set-context --current --namespace={_FLEET}")
        topology = {name: {"region": name} for name in ("a", "b", "c")}
        copies = [replace(copy, endpoint=self._ports.endpoint(copy.name)) for copy in _COPIES]
        layout = Layout(f"{bed.git}{_FLEET}", "", _TIERS, ("staging", "production"), copies, topology)
        write_fleet(self._home / "fleet", layout)
        platform = self._home / "fleet" / "platform.yaml"
        content = yaml.safe_load(platform.read_text())
        content["spec"]["delivery"]["argocd"] = {"retry": {"limit": 1, "backoff": {"duration": "1s"}}}
        content["spec"]["placement"] = {"waves": {"share": 25, "pause": "2s"}}
        # A machine that plays a whole story stalls more than a server does: look less often than usual, and wait longer.
        health = {"interval": "250ms", "timeout": "2s", "rise": 2, "slowStart": "1s"}
        content["spec"]["edge"] = {"health": health, "agents": [self._ports.endpoint(AGENT)]}
        platform.write_text(yaml.safe_dump(content, sort_keys=False))
        self._type("cat fleet/platform.yaml fleet/tiers.yaml")
        self._type("kubectl apply -f fleet")

    def _start_controller(self) -> None:
        self._chapter("The controller")
        files = f"printf %s shopset >credentials/username && printf %s {USERS['shopset']} >credentials/password"
        self._type(f"mkdir credentials && {files}")
        line = f"{shlex.quote(sys.executable)} -m shopset.controller run --namespace={_FLEET} --git-credentials=$PWD/credentials"
        line += " --members=$KUBECONFIG --cache=$PWD/cache --poll=1 --log-format=text --health-port=-1 --metrics-port=-1 --webhook-port=-1"
        line += " >controller.log 2>&1"
        self._command(f"{line} &")
        # Without --keep it ends with this process, however that ends.
        bound = [] if self._keep else [program("setpriv"), "--pdeathsig", "KILL", "--"]
        command = [*bound, "bash", "-c", f"exec {line}"]
        self._controller = subprocess.Popen(
            command, cwd=self._home, env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def _first_revision(self) -> str:
        self._chapter("The first revision climbs to beta, and waits for a person at prod")
        self._verified("dev", "")
        first = self._verified("beta", "")
        self._until("prod waits", lambda: self._status("tier", "prod").get("candidate") == first)
        self._type("kubectl get tiers")
        self._explain("prod", "Admitted")
        self._control("Approval", "first", tier="prod", revision=first, reason="the shop opens")
        self._verified("prod", "")
        self._until("all five ShopSets are ready", lambda: all(self._ready(copy.name) for copy in _COPIES))
        self._type("kubectl get shopsets")
        return first

    def _good_release(self, before: str) -> str:
        self._chapter("A developer pushes a release")
        self._push("s/cart:1.0.0/cart:1.1.0/", "cart 1.1.0")
        self._verified("dev", before)
        return self._verified("beta", before)

    def _bad_release(self, good: str) -> None:
        self._chapter("A bad release: kustomize builds it, the API server refuses it")
        self._push("s/cart:1.1.0/cart:1.2.0/; s/containerPort: 8080/containerPort: 80800/", "cart 1.2.0")
        self._until("dev rejects it", lambda: self._is("dev", "Rejected", good))
        self._happened(f"dev rejects {self._status('tier', 'dev')['pinned']}", "bold red")
        self._explain("dev", "Verified")
        self._type("kubectl get tiers")
        if self._status("tier", "beta").get("pinned") != good:
            raise StoryError("the bad release went on to beta")
        self._happened("beta and prod are untouched: they take only what the tier below verified", "green")

    def _hold(self, good: str, *, prod: str) -> None:
        self._chapter("A Hold: the fix is verified on dev, but does not enter beta until the hold is gone")
        bad = self._status("tier", "dev").get("pinned", "")
        self._control("Hold", "sale", tier="beta", reason="a sale is on")
        self._until("the hold is recorded", lambda: self._condition("hold", "sale", "Recorded") == "True")
        self._push("s/containerPort: 80800/containerPort: 8080/", "cart 1.2.0 listens where it did")
        fix = self._verified("dev", bad)
        self._until("beta is held", lambda: self._status("tier", "beta").get("candidate") == fix)
        self._type("kubectl get tiers")
        self._explain("beta", "Admitted")
        if self._status("tier", "beta").get("pinned") != good:
            raise StoryError("the fix entered beta in spite of the hold")
        self._type("kubectl delete hold sale")
        self._verified("beta", good)
        if self._status("tier", "prod").get("pinned") != prod:
            raise StoryError("prod changed without an approval")
        self._until("the fix waits at prod", lambda: self._status("tier", "prod").get("candidate") == fix)

    def _place_shops(self) -> None:
        self._chapter("Shops: nobody says which ShopSet serves them, their class does")
        shops = "\n---\n".join(
            f"apiVersion: shopset.dev/v1alpha1\nkind: Shop\nmetadata: {{name: {name}}}\n"
            f"spec: {{class: standard, hosts: [{name}.example.com]}}"
            for name in _SHOPS
        )
        (self._home / "shops.yaml").write_text(f"{shops}\n")
        self._type(f"kubectl apply -f - <<'EOF'\n{_CLASS}\nEOF")
        self._type("head -5 shops.yaml; kubectl apply -f shops.yaml | tail -1")
        self._until("every shop has two ShopSets", lambda: all(len(each) == 2 for each in self._where().values()))
        self._show_shops(f"{len(_SHOPS)} shops are served, each by two ShopSets on different clusters")

    def _open_edge(self, bed: Bed) -> None:
        self._chapter("The edge: HAProxy leads each shopper to a ShopSet that serves the shop")
        system = f"{bed.repositories / _FLEET / REPOSITORIES[0]}.git"
        children = Children(self._home / "logs", self._environment)
        options = (f"--git-credentials={self._home / 'credentials'}", "--poll=1")
        edge = Edge(
            children, self._ports, find_haproxy(self._environment), f"{bed.git}{_FLEET}/{REPOSITORIES[0]}.git", options
        )
        visiting = self._visiting = Visiting(
            edge,
            Servers(children, self._ports),
            {_host(shop): _LIMIT / 4 for shop in _SHOPS},
            lambda: self._run(f"git -C {system} rev-parse refs/heads/placement").strip(),
            self._happened,
        )
        for copy in _COPIES:
            visiting.servers.start(copy.name, copy.cluster)
        self._command(f"{shlex.join(edge.command)} &")
        visiting.open()
        visiting.ask(_host("hoge"))
        visiting.look("the first seconds")

    def _rush(self) -> None:
        self._chapter("A rush at shop-01, 50 times what its class allows: only its own shoppers feel it")
        self._visitors.rush(_host("shop-01"), _LIMIT)

    def _lose(self, bed: Bed) -> None:
        self._chapter("Cluster a dies under load: every shop there stays up, served by its other replica")
        before, pid = self._where(), bed.pid("a-apiserver")
        git = bed.git_as("anna").rstrip("/")
        who = "git config --file gitconfig user.name anna && git config --file gitconfig user.email anna@example.com"
        self._type(who)
        self._type(
            f"printf '%s\\n' {git} >store && git config --file gitconfig credential.helper 'store --file='$PWD/store"
        )
        self._command("export GIT_CONFIG_GLOBAL=$PWD/gitconfig")
        self._command(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
        path = f"{Path(sys.executable).parent}:{self._environment['PATH']}"
        self._environment |= {"GIT_CONFIG_GLOBAL": str(self._home / "gitconfig"), "PATH": path}
        self._type(f"kill -STOP {pid}   # its API server answers nobody any more")
        try:
            began = time.monotonic()
            self._visitors.judge_loss(began, self._visitors.kill("a"), [_host(shop) for shop in _SHOPS], ())
            self._type(
                "shopctl --kubeconfig=$KUBECONFIG --context=management cluster lost a -m 'power failure' --no-wait"
            )
            self._until("no shop is on a", lambda: self._nobody_is_on("a-1"))
            self._type("kubectl get clusters.shopset.dev")
            self._show_shops("all shops have two ShopSets again, and only those moved that had one on a")
            self._visitors.look("since the edge knows it", since=self._visitors.follow())
        finally:
            self._type(f"kill -CONT {pid}   # it answers again")
        moved = [name for name, now in self._where().items() if now != before[name]]
        if any("a-1" not in before[name] for name in moved):
            raise StoryError(f"shops moved that had nothing on a: {moved}")
        self._visitors.servers.revive("a")
        with self._visitors.nobody_fails("while shops went home"):
            self._bring_back("a", "repaired", before)

    def _drain(self) -> None:
        self._chapter(
            "Cluster b is emptied for new disks: its shops go elsewhere first, in waves, and no shopper notices"
        )
        before = self._where()
        fewest = [2]

        def is_empty() -> bool:
            fewest.append(min(map(len, self._where().values())))
            return self._nobody_is_on("b-2") and self._status("cluster", "b").get("state") == "Upgrading"

        with self._visitors.nobody_fails("while cluster b was emptied, got its disks and was filled again"):
            self._type(
                "shopctl --kubeconfig=$KUBECONFIG --context=management cluster drain b -m 'new disks' --no-wait --during-bake"
            )
            self._until("cluster b is empty", is_empty)
            if min(fewest) < 2:
                raise StoryError("a shop had less than two replicas while b was emptied")
            self._show_shops("cluster b is empty; each shop was served by its old replica until the new one served")
            self._visitors.follow()
            self._visitors.kill("b")
            self._visitors.servers.revive("b")
            self._bring_back("b", "'new disks are in'", before)

    def _bring_back(self, cluster: str, reason: str, home: dict[str, tuple[str, ...]]) -> None:
        self._type(
            f"shopctl --kubeconfig=$KUBECONFIG --context=management cluster return {cluster} -m {reason} --no-wait"
        )
        self._until(f"the shops of {cluster} are home", lambda: self._where() == home)
        self._until(f"{cluster} is back", lambda: self._status("cluster", cluster).get("state") == "Reachable")
        self._show_shops("the shops are where they were")

    def _show_shops(self, text: str) -> None:
        self._happened(text, "green")
        self._type("kubectl get shopsets -o custom-columns=NAME:.metadata.name,SHOPS:.status.shops,LOAD:.status.load")
        self._type("kubectl get shop hoge -o wide")

    def _where(self) -> dict[str, tuple[str, ...]]:
        """Return where the shops are."""
        return {name: tuple(self._status("shop", name).get("replicas", ())) for name in _SHOPS}

    def _nobody_is_on(self, shopset: str) -> bool:
        return all(len(each) == 2 and shopset not in each for each in self._where().values())

    @property
    def _visitors(self) -> Visiting:
        if self._visiting is None:
            raise StoryError("the edge is not open yet")
        return self._visiting

    def _look_back(self, bed: Bed) -> None:
        self._chapter("In the end")
        self._visitors.total()
        self._type("kubectl get tiers,shopsets")
        for branch in ("ledger", "placement"):
            self._type(f"git -C {bed.repositories / _FLEET / REPOSITORIES[0]}.git log --oneline {branch}")
        self._say(
            f"\nDone in {time.monotonic() - self._start:.0f} s. Look around (a terminal of your own needs the export):"
        )
        for line in (
            f"export KUBECONFIG={bed.kubeconfig}   # contexts: {', '.join(bed.servers)}",
            "kubectl describe tier prod   # waits for an Approval",
            "kubectl get applications.argoproj.io -n argocd",
            "kubectl get pods -A --context=a",
            f"tail -f {self._home / 'controller.log'}",
        ):
            self._say(f"  {line}")

    # -- what people do

    def _push(self, change: str, subject: str) -> None:
        self._type(f"sed -i '{change}' {_DEPLOYMENT}")
        self._type(f"git -C apps commit -q -a -m '{subject}'")
        self._type(f"git -C apps push -q $ORIGIN/{REPOSITORIES[1]}.git tier-0")

    def _control(self, kind: str, name: str, **spec: str) -> None:
        lines = ("apiVersion: shopset.dev/v1alpha1", f"kind: {kind}", f"metadata: {{name: {name}}}")
        text = "\n".join((*lines, f"spec: {json.dumps(spec | {'by': 'admin'})}"))
        self._type(f"kubectl apply -f - <<'EOF'\n{text}\nEOF")

    def _explain(self, tier: str, condition: str) -> None:
        path = f'{{.status.conditions[?(@.type=="{condition}")].message}}'
        self._type(f"kubectl get tier {tier} -o jsonpath='{path}'")

    def _type(self, line: str) -> None:
        """Run a line of bash that a person would type, and show what it prints. Raises StoryError."""
        self._command(line)
        if printed := self._run(line).rstrip():
            self._say(printed, "dim")

    def _run(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=self._home, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StoryError(f"{line}\n{done.stderr.strip()}")
        return done.stdout

    # -- what is to be seen

    def _verified(self, tier: str, before: str) -> str:
        """Wait until a tier has verified another revision than before. Returns it."""
        self._until(f"{tier} verifies it", lambda: self._is(tier, "Verified", before))
        revision = str(self._status("tier", tier)["pinned"])
        self._happened(f"{tier} verifies {revision}", "green")
        return revision

    def _is(self, tier: str, phase: str, before: str) -> bool:
        status = self._status("tier", tier)
        return status.get("phase") == phase and status.get("pinned", before) != before

    def _ready(self, shopset: str) -> bool:
        return bool(self._status("shopset", shopset).get("ready"))

    def _condition(self, kind: str, name: str, wanted: str) -> str:
        found = {each["type"]: str(each["status"]) for each in self._status(kind, name).get("conditions", ())}
        return found.get(wanted, "")

    def _status(self, kind: str, name: str) -> dict[str, Any]:
        # It is asked for several times a second: kubectl would take more of a small machine than all that it waits for.
        try:
            if self._client is None:
                self._client = connect(self._environment["KUBECONFIG"], "management")
            with asking(f"{kind} {name}"):
                return dict(self._client.get(_KINDS[kind], name, namespace=_FLEET).get("status") or {})
        except KubeError as error:
            raise StoryError(str(error)) from error

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until something holds. Raises StoryError."""
        deadline = time.monotonic() + _PATIENCE
        with self._console.status(f"waiting until {what}"):
            while not holds():
                ended = self._controller is not None and self._controller.poll() is not None
                if ended or time.monotonic() > deadline:
                    why = "the controller ended" if ended else f"{_PATIENCE:g} s have passed"
                    log = (self._home / "controller.log").read_text().splitlines()[-10:]
                    told = self._run(f"kubectl get tiers,shopsets; kubectl get tiers -o jsonpath='{_TROUBLE}'")
                    raise StoryError("\n".join((f"{why}, and it does not hold that {what}", told, *log)))
                time.sleep(0.3)

    # -- telling

    def _chapter(self, title: str) -> None:
        self._say("")
        self._happened(title, "bold cyan")

    def _happened(self, text: str, style: str = "") -> None:
        self._console.print(Text.assemble((f"[{time.monotonic() - self._start:5.1f}s] ", "dim"), (text, style)))

    def _command(self, line: str) -> None:
        self._say(f"$ {line}", "bold")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style))

    def _down(self) -> str:
        return f"{_ROOT / 'scripts' / 'testbed'} --folder {self._home / 'bed'} down"


def _host(shop: str) -> str:
    return f"{shop}.example.com"


def main() -> int:
    """Play the story; returns the exit code: 1 where something else happened than it says."""
    parser = argparse.ArgumentParser(prog="scripts/demo --kubernetes", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything up, to look around later")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    story = _Story(Path(tempfile.mkdtemp(prefix="shopset-demo-")), keep=keep)
    try:
        story.play()
        story.wait()
    except (StoryError, EdgeError, HAProxyMissingError, StartError, ProgramMissingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        story.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
