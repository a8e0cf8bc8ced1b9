"""A small real world on the test bed: a fleet in a namespace, three repositories behind HTTP, and controllers as processes."""

import hashlib
import hmac
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pygit2
import yaml
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace

from shopset.cli.scaffolding import EXAMPLE, Copy, Layout, first_commit
from shopset.core.placement.formats import read_placement
from shopset.core.placement.placements import Placement
from shopset.core.release.ledgers import Ledger, read_ledger
from shopset.engine.workplaces import credential_environment
from shopset.kube.clients import APPLICATION, PLURALS, RESOURCES, KubeError, NotFoundError, asking, connect
from shopset.kube.leases import LEASE
from support.worlds import COPIES, ENVIRONMENT, git
from testbed.gitserver import make_repositories
from testbed.kubernetes import kubectl, serves
from testbed.processes import wait_for
from testbed.programs import free_ports, program
from testbed.records import MEMBERS, USERS, Bed

_KINDS: Final = {
    **{kind.lower(): resource for kind, resource in RESOURCES.items()},
    "application": APPLICATION,
    "lease": LEASE,
}
ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 180.0
"""Seconds after which a test no longer waits for what must happen."""
TIERS: Final[Mapping[str, Sequence[str]]] = {"dev": (), "beta": ("bake: 2s",), "prod": ("bake: 2s",)}


@contextmanager
def away(bed: Bed, part: str) -> Iterator[None]:
    """Let a part hang, as one does whose machine is stuck: connections stay open, and nothing answers."""
    pid = bed.pid(part)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def prepare(bed: Bed) -> None:
    """Make a bed's management cluster one that knows shopset's kinds."""
    kubectl(bed.home, "management", "apply", "--server-side", "-k", str(ROOT / "deploy" / "crds"))
    wait_for(
        "shopset's kinds",
        lambda: serves(bed.home, "management", *(f"{plural}.shopset.dev" for plural in PLURALS.values())),
    )


class Controller:
    """A controller as a process of its own. It is told of pushes, and looks by itself as rarely as an installed one."""

    def __init__(self, world: "KubernetesWorld", name: str, *options: str) -> None:
        self.log = world.folder / f"{name}.log"
        (port,) = free_ports(1)
        self._hook = f"http://127.0.0.1:{port}/webhooks/git"
        # It ends with the test's process, however that ends.
        command = [program("setpriv"), "--pdeathsig", "KILL", "--"]
        command += [sys.executable, "-m", "shopset.controller", "run", "--log-format=text", "--log-level=debug"]
        command += [f"--kubeconfig={world.bed.kubeconfig}", "--context=management", f"--namespace={world.name}"]
        command += [f"--cache={world.folder / name}", f"--git-credentials={world.credentials}", "--host=127.0.0.1"]
        command += ["--health-port=-1", "--metrics-port=-1", *options]
        command += [f"--webhook-port={port}", f"--webhook-secret={world.webhook_secret}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)

    def tell(self, body: bytes, signature: str) -> None:
        """Tell it of a push, as a git server does; one that does not listen yet has not looked yet."""
        asked = urllib.request.Request(self._hook, body, {"X-Shopset-Signature-256": signature})  # noqa: S310  # its own
        with suppress(OSError), urllib.request.urlopen(asked, timeout=10):  # noqa: S310
            pass

    def kill(self) -> None:
        """End it as a node does that loses its power."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it as Kubernetes does. Returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@dataclass
class KubernetesWorld:
    """Everything local lies below `folder`; the rest is on the bed, under a name that nothing else has."""

    bed: Bed
    folder: Path
    tiers: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(TIERS))
    copies: Sequence[Copy] = COPIES
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:6]}")
    controllers: list[Controller] = field(default_factory=list)
    topology: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {name: {"region": name} for name in MEMBERS}
    )
    """Cluster -> its labels."""
    platform: Mapping[str, Any] = field(default_factory=dict)
    """What the Platform's spec has besides its repositories."""

    def __post_init__(self) -> None:
        make_repositories(self.bed.home, self.name)
        for name in ("apps", "configuration"):
            first_commit(self.repository(name), EXAMPLE / name, ENVIRONMENT, "tier-0")
        self.credentials = self.folder / "credentials"
        self.credentials.mkdir()
        (self.credentials / "username").write_text("shopset")
        (self.credentials / "password").write_text(USERS["shopset"])
        self.webhook_secret = self.folder / "webhook-secret"
        self.webhook_secret.write_text(secrets.token_hex(16))
        self.client = connect(str(self.bed.kubeconfig), "management")
        self.client.create(Namespace(metadata=ObjectMeta(name=self.name)))
        self._ledger: tuple[str, Ledger] = ("", Ledger())

    # -- the fleet

    def objects(self) -> list[dict[str, Any]]:
        """The fleet's objects as they are now."""
        layout = Layout(
            parent=f"{self.bed.git}{self.name}",
            clusters="",
            tiers=self.tiers,
            configurations=("staging", "production"),
            copies=self.copies,
            topology=self.topology,
        )
        found = [each for text in layout.files().values() for each in yaml.safe_load_all(text)]
        for each in found:
            each["metadata"]["namespace"] = self.name
            if each["kind"] == "Platform":
                each["metadata"]["name"] = self.name
                each["spec"]["prefixes"] = {"namespace": f"{self.name}-"}
                # By default Argo CD reads the schema of all kinds at each sync, which takes it longer than all else.
                each["spec"]["delivery"] = {"argocd": {"syncOptions": ["Validate=false"]}}
                each["spec"] |= self.platform
        return found

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects as a platform engineer does: the whole fleet where none are given."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects) or self.objects()}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def control(self, kind: str, name: str, **spec: str) -> dict[str, Any]:
        """Return an Approval, a Hold or a Rollback of anna's."""
        return {
            "apiVersion": "shopset.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"reason": "a test", "by": "anna", **spec},
        }

    def start(self, name: str = "controller", *options: str) -> Controller:
        """Start a controller."""
        self.controllers.append(Controller(self, name, *options))
        return self.controllers[-1]

    def begin(self, *options: str) -> str:
        """Start a controller, and wait until the highest tier verifies what the repositories have. Returns the apps commit."""
        self.start("controller", *options)
        first = self.head("apps")
        highest = list(self.tiers)[-1]
        self.wait(f"{highest} verifies the first", lambda: self.verified(highest, first))
        return first

    # -- looking

    def kubectl(self, *arguments: str, stdin: str = "", cluster: str = "management") -> str:
        """Run kubectl."""
        try:
            return kubectl(self.bed.home, cluster, *arguments, stdin=stdin)
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {error.stderr}") from error

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Return an object of the management cluster; {} where there is none, or nobody to ask."""
        # It is asked for all the time, for which kubectl would take longer than what is waited for.
        try:
            with asking(f"{kind} {name}"):
                return dict(self.client.get(_KINDS[kind], name, namespace=namespace or self.name))
        except KubeError:
            return {}

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Return the status of an object of the fleet."""
        return dict(self.get(kind, name).get("status") or {})

    def condition(self, kind: str, name: str, wanted: str) -> dict[str, Any]:
        """Return one condition of an object of the fleet."""
        found = [each for each in self.status(kind, name).get("conditions", ()) if each["type"] == wanted]
        return dict(found[0]) if found else {}

    def application(self, shopset: str) -> dict[str, Any]:
        """Return the Application of a ShopSet."""
        return self.get("application", f"{self.name}-{shopset}", "argocd")

    def ledger(self) -> Ledger:
        """Return the ledger as it is in git."""
        head, files = self._read("ledger", self._ledger[0])
        if head != self._ledger[0]:
            self._ledger = head, read_ledger(files)
        return self._ledger[1]

    def placement(self) -> Placement:
        """Return the placement as it is in git, which must be whole."""
        reading = read_placement(self._read("placement")[1])
        assert reading.is_whole, reading.problems
        return reading.placement

    def _read(self, branch: str, known: str = "") -> tuple[str, dict[str, bytes]]:
        """Return the head of a branch of shopset-system and, unless it is `known`, its files; nothing where there is no branch."""
        repository = pygit2.Repository(str(self.repository("system")))
        if branch not in repository.branches.local:
            return "", {}
        head = repository.revparse_single(f"refs/heads/{branch}")
        assert isinstance(head, pygit2.Commit)
        if str(head.id) == known:
            return known, {}
        index = pygit2.Index()
        index.read_tree(head.tree)
        return str(head.id), {entry.path: repository[entry.id].read_raw() for entry in index}

    def repository(self, name: str) -> Path:
        """Return a bare repository: system, apps or configuration."""
        return self.bed.repositories / self.name / f"shopset-{name}.git"

    def wait(self, what: str, ready: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not ready():
            for each in self.controllers:
                assert each.process.poll() in (None, 0, -signal.SIGKILL), each.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s\n{self.told()}"
            time.sleep(0.2)

    def told(self) -> str:
        """Return what a person would look at."""
        shown = [self.kubectl("get", "tiers,shopsets", "-n", self.name, "-o", "wide")]
        shown.append(self.kubectl("get", "applications.argoproj.io", "-n", "argocd"))
        shown += [each.log.read_text()[-4000:] for each in self.controllers]
        return "\n".join(shown)

    def verified(self, tier: str, commit: str) -> bool:
        """Whether a tier verified a revision with this apps commit."""
        ledger = self.ledger()
        pins = [pin for pin in ledger.pins.get(tier, ()) if pin.apps == commit]
        return any(ledger.is_verified(tier, pin.revision) for pin in pins)

    def revision(self, commit: str) -> str:
        """Return the revision with an apps commit that the lowest tier took; empty as long as there is none."""
        pins = self.ledger().pins.get(next(iter(self.tiers)), ())
        return next((pin.revision for pin in pins if pin.apps == commit), "")

    def runs(self, shopset: str, commit: str) -> bool:
        """Whether a ShopSet is ready with an apps commit."""
        status = self.status("shopset", shopset)
        return bool(status.get("ready")) and status["revision"] == self.revision(commit)[:7]

    def head(self, name: str, branch: str = "tier-0") -> str:
        """Return the head of a branch."""
        return git("rev-parse", branch, folder=self.repository(name))

    # -- people

    @property
    def environment(self) -> dict[str, str]:
        """What a person's commands run with."""
        credentials = credential_environment(self.credentials)
        folders = {"TMPDIR": str(self.folder), "SHOPSET_CACHE": str(self.folder / "by-hand")}
        return {**ENVIRONMENT, **credentials, **folders}

    def shopctl(self, *arguments: str, codes: Sequence[int] = (0, 2)) -> str:
        """Run shopctl on the fleet in the cluster. Returns what it printed."""
        place = (f"--kubeconfig={self.bed.kubeconfig}", "--context=management", f"--namespace={self.name}")
        done = subprocess.run(
            [sys.executable, "-m", "shopset.cli", *arguments, *place],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode in codes, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def push(
        self,
        files: Mapping[str, str | None],
        subject: str = "a change",
        branch: str = "tier-0",
        repository: str = "apps",
    ) -> str:
        """Commit files, and push them over HTTP as a person does. Returns the commit."""
        work = self.folder / f"work-{uuid.uuid4().hex[:6]}"
        url = f"{self.bed.git_as('anna')}{self.name}/shopset-{repository}.git"
        git("clone", "--quiet", "--branch", branch, url, str(work))
        for path, content in files.items():
            if content is None:
                (work / path).unlink()
            else:
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).write_text(content)
        git("add", "--all", folder=work)
        git("commit", "--quiet", "--allow-empty", "-m", subject, folder=work)
        git("push", "--quiet", "origin", f"HEAD:{branch}", folder=work)
        commit = git("rev-parse", "HEAD", folder=work)
        shutil.rmtree(work)
        self._tell(repository)
        return commit

    def _tell(self, repository: str) -> None:
        """Tell the controllers of a push to a repository."""
        body = json.dumps({"repository": f"{self.bed.git}{self.name}/shopset-{repository}.git"}).encode()
        signature = hmac.new(self.webhook_secret.read_bytes(), body, hashlib.sha256).hexdigest()
        for each in self.controllers:
            each.tell(body, f"sha256={signature}")

    def release(self, number: str) -> str:
        """Push a release that changes the cart's Pods."""
        text = (EXAMPLE / "apps" / "cart" / "deployment.yaml").read_text()
        return self.push({"cart/deployment.yaml": annotated(text, number)}, f"release {number}")

    def close(self, *, show: bool) -> None:
        """End the controllers, and remove what this world has on the bed."""
        for each in self.controllers:
            if each.process.poll() is None:
                each.kill()
            if show:
                sys.stderr.write(each.log.read_text()[-6000:])
        for copy in self.copies:
            with suppress(NotFoundError), asking(f"the Application of {copy.name}"):
                self.client.delete(APPLICATION, f"{self.name}-{copy.name}", namespace="argocd")
        self.client.close()


def annotated(deployment: str, number: str) -> str:
    """Return a Deployment whose Pods have another annotation."""
    document = yaml.safe_load(deployment)
    document["spec"]["template"]["metadata"].setdefault("annotations", {})["demo.shopset.dev/release"] = number
    return yaml.safe_dump(document)
