"""The admission webhook on a real API server: as deploy/admission registers it, but for its address and its namespace."""

import base64
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from shopset.cli.scaffolding import Copy
from shopset.kube.clients import RESOURCES, KubeError, asking
from support.certificates import issue, make_authority
from support.kubernetes import ROOT, Controller, KubernetesWorld
from testbed.kubernetes import kubectl
from testbed.programs import free_ports

UNREADABLE = {"hosts": ["192.0.2.1"], "class": "small"}
"""Of a Shop: the schema takes it, the webhook refuses it in any company."""


@dataclass
class Guarded:
    """A world whose namespace has the webhook."""

    world: KubernetesWorld
    port: int

    @property
    def certificate(self) -> Path:
        return self.world.folder / "certificate"

    def start(self, *options: str) -> Controller:
        """Start a controller that answers, and wait until the API server asks it."""
        options = (f"--admission-port={self.port}", f"--admission-certificate={self.certificate}", *options)
        found = self.world.start("answering", *options)
        self.world.wait("the webhook is in force", self.is_in_force)
        return found

    def is_in_force(self) -> bool:
        return "is an address" in self.refusal(self.object("Shop", "probe", **UNREADABLE))

    def register(self, authority: Path) -> None:
        """Register the webhook for this namespace, by the authority that signed its certificate."""
        (found,) = [each for each in component(self.world.folder) if each["kind"] == "ValidatingWebhookConfiguration"]
        (webhook,) = found["webhooks"]
        bundle = base64.b64encode(authority.read_bytes()).decode()
        path = webhook["clientConfig"]["service"]["path"]
        webhook["clientConfig"] = {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": bundle}
        webhook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": self.world.name}}
        found["metadata"] = {"name": self.world.name}
        self.world.apply(found)

    def object(self, kind: str, name: str, **spec: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.world.name}
        return {"apiVersion": "shopset.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}

    def refusal(self, found: dict[str, Any]) -> str:
        """Return why an object would not be taken; nothing where it would. It is asked for time and again, so without kubectl."""
        tried = RESOURCES[found["kind"]](**found)
        return _refusal(lambda: self.world.client.apply(tried, field_manager="anna", force=True, dry_run=True))

    def refusal_to_delete(self, reference: str) -> str:
        kind, _, name = reference.partition("/")
        return _refusal(
            lambda: self.world.client.delete(RESOURCES[kind], name, namespace=self.world.name, dry_run=True)
        )

    def wait_for(self, words: str, refusal: Callable[[], str]) -> None:
        """Wait until something is refused with some words: what was applied just before is seen a moment later."""
        self.world.wait(f"a refusal: {words}", lambda: words in refusal())


def _refusal(act: Callable[[], object]) -> str:
    try:
        with asking("the API server"):
            act()
    except KubeError as error:
        return str(error)
    return ""


def component(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of deploy/ with its component, by a kustomization as a user writes it."""
    user = folder / "user"
    user.mkdir(exist_ok=True)
    deploy = os.path.relpath(ROOT / "deploy", user.resolve())
    kustomization = {"resources": [deploy], "components": [f"{deploy}/admission"]}
    (user / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return list(yaml.safe_load_all(kubectl(folder, "none", "kustomize", str(user))))


@pytest.fixture
def guarded(world: KubernetesWorld) -> Iterator[Guarded]:
    """A namespace with the webhook, where no controller answers yet and no fleet is."""
    world.tiers = {"dev": (), "prod": ()}
    world.copies = (Copy("c-1", "dev", "staging", "c"), Copy("a-1", "prod", "production", "a"))
    authority = make_authority(world.folder / "authority")
    issue(authority, world.folder / "certificate")
    (port,) = free_ports(1)
    found = Guarded(world, port)
    found.register(authority)
    try:
        yield found
    finally:
        world.kubectl("delete", "validatingwebhookconfiguration", world.name)


def test_what_does_not_fit_is_refused_and_says_why(guarded: Guarded) -> None:
    world = guarded.world
    # A replica that does not lead answers too.
    world.start("leading", "--leader-elect")
    world.wait("a controller leads", lambda: world.get("lease", "shopset-controller"))
    guarded.start("--leader-elect")
    # Objects may come in any order.
    world.apply(*reversed(world.objects()))
    taken = guarded.object("Tier", "qa", level=1)
    words = "spec.level: level 1 is taken by the tier prod. give each tier a level of its own"
    guarded.wait_for(words, partial(guarded.refusal, taken))
    second = next(each for each in world.objects() if each["kind"] == "Platform")
    second["metadata"]["name"] = "zweite"
    guarded.wait_for(f"the fleet has the Platform {world.name} already", partial(guarded.refusal, second))
    assert guarded.refusal(guarded.object("ShopSet", "x", tier="new", configuration="new", cluster="new")) == ""
    assert guarded.refusal(guarded.object("Tier", "qa", level=2)) == ""
    for reference in ("Tier/dev", "Cluster/c"):
        guarded.wait_for("is needed by ShopSet/c-1: delete", partial(guarded.refusal_to_delete, reference))
    platform = partial(guarded.refusal_to_delete, f"Platform/{world.name}")
    guarded.wait_for("is needed by ShopSet/a-1, ShopSet/c-1: delete", platform)
    assert guarded.refusal_to_delete("Cluster/b") == ""
    world.kubectl("label", "tier", "dev", "-n", world.name, "a=b")


def test_a_host_leads_to_one_shop_and_a_class_with_shops_stays(guarded: Guarded) -> None:
    world = guarded.world
    guarded.start()
    world.apply(
        guarded.object("Shop", "one", hosts=["one.example.com"], **{"class": "small"}),
        guarded.object("ShopClass", "small", tier="prod", configuration="production"),
    )
    two = guarded.object("Shop", "two", hosts=["ONE.example.com"], **{"class": "small"})
    guarded.wait_for("spec.hosts.0: the host one.example.com is taken by the shop one", partial(guarded.refusal, two))
    guarded.wait_for("is needed by Shop/one: delete", partial(guarded.refusal_to_delete, "ShopClass/small"))
    world.kubectl("delete", "shop", "one", "-n", world.name)
    world.wait("the host is free", lambda: guarded.refusal(two) == "")
    world.kubectl("delete", "shopclass", "small", "-n", world.name)


def test_a_namespace_goes_with_all_that_is_in_it(guarded: Guarded) -> None:
    world = guarded.world
    # A fleet with an error is not acted on, so no ShopSet has a finalizer.
    lost = guarded.object("ShopSet", "lost", tier="new", configuration="staging", cluster="a")
    world.apply(*world.objects(), lost)
    guarded.start()
    guarded.wait_for("is needed by ShopSet/c-1", partial(guarded.refusal_to_delete, "Tier/dev"))
    world.kubectl("delete", "namespace", world.name, "--timeout=90s")


def test_without_an_answer_changes_are_taken_and_conditions_tell(guarded: Guarded) -> None:
    world = guarded.world
    wrong = guarded.object("Tier", "qa", level=1)
    shops = [
        guarded.object("Shop", name, hosts=["shop.example.com"], **{"class": "small"}) for name in ("older", "younger")
    ]
    world.apply(*world.objects(), wrong, *shops)
    guarded.start()
    world.wait("the Tier tells", lambda: world.condition("tier", "qa", "Accepted").get("status") == "False")
    assert "level 1 is taken by the tier prod" in world.condition("tier", "qa", "Accepted")["message"]
    world.wait("the Shop tells", lambda: world.condition("shop", "younger", "Accepted").get("status") == "False")
    assert "shop.example.com is taken by the shop older" in world.condition("shop", "younger", "Accepted")["message"]
    assert world.status("shop", "older") == {}
    # What is wrong already may be changed, and mended.
    assert guarded.refusal({**wrong, "spec": {"level": 1, "promotion": {"bake": "1s"}}}) == ""
    world.kubectl("delete", "tier", "qa", "-n", world.name)
    world.kubectl("delete", "shop", "older", "-n", world.name)
    world.wait("the Shop has nothing to tell", lambda: not world.status("shop", "younger").get("conditions"))
    world.wait("the fleet is accepted", lambda: world.condition("tier", "prod", "Accepted").get("status") == "True")


def test_another_certificate_needs_no_start(guarded: Guarded) -> None:
    guarded.start()
    other = make_authority(guarded.world.folder / "other")
    guarded.register(other)
    guarded.world.wait("nobody is trusted", lambda: not guarded.is_in_force())
    issue(other, guarded.certificate)
    guarded.world.wait("the other is trusted", guarded.is_in_force)
