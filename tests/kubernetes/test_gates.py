"""Gates that a real Prometheus and a real Argo CD answer for: what goes wrong during a bake stops the release."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from shopset.cli import exits
from shopset.cli.scaffolding import EXAMPLE
from shopset.core.release.records import RejectionRecord
from support.histories import check_history
from support.kubernetes import KubernetesWorld, away
from support.worlds import git
from testbed.processes import wait_for
from testbed.records import write

GATES = "gates: [{name: no-alerts, alerts: {matchers: {alertname: CartErrors, namespace: '{namespace}'}}}]"
LOOKING = ("--poll=1",)
"""Of a controller that is to see soon what nobody tells of: alerts, and a Prometheus that does not answer."""


@dataclass(frozen=True)
class Alarm:
    """An alerting rule for the ShopSets of one world, which fires when the test says so."""

    world: KubernetesWorld

    def install(self) -> None:
        bed, name = self.world.bed, self.world.name
        self.world.platform = {
            "monitoring": {
                "prometheus": {"url": bed.prometheus},
                "alertmanager": {"url": bed.alertmanager},
                "timeout": "5s",
            }
        }
        rule = {"alert": "CartErrors", "expr": f'cart_errors{{job="{name}"}} > 0'}
        write(bed.metrics / name, "")
        write(bed.rules / f"{name}.yaml", json.dumps({"groups": [{"name": name, "rules": [rule]}]}))
        bed.watch_metrics(name)
        bed.reload_prometheus()

    def remove(self) -> None:
        bed, name = self.world.bed, self.world.name
        for path in (bed.rules / f"{name}.yaml", bed.home / "prometheus" / "targets" / f"{name}.json"):
            path.unlink()
        bed.reload_prometheus()

    def fire(self, shopset: str) -> None:
        self._set(shopset, 1)
        wait_for("the alert", lambda: bool(self.fired(shopset, "")), seconds=60)

    def end(self, shopset: str) -> None:
        self._set(shopset, 0)
        wait_for("the end of the alert", lambda: not self.fired(shopset, ""), seconds=60)

    def fired(self, shopset: str, span: str = "[10m]") -> list[datetime]:
        """Return when it fired for a ShopSet, as Prometheus has it."""
        query = f'ALERTS{{alertstate="firing",namespace="{self.world.name}-{shopset}"}}{span}'
        found = _get(f"{self.world.bed.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        samples = [each for series in found["data"]["result"] for each in series.get("values", [series.get("value")])]
        return [datetime.fromtimestamp(at, UTC) for at, _ in samples]

    def _set(self, shopset: str, errors: int) -> None:
        line = f'cart_errors{{namespace="{self.world.name}-{shopset}"}} {errors}\n'
        write(self.world.bed.metrics / self.world.name, line)


@pytest.fixture
def alarm(small: KubernetesWorld) -> Iterator[Alarm]:
    made = Alarm(small)
    made.install()
    yield made
    made.remove()


def test_an_alert_stops_a_release_whether_or_not_anybody_looks(small: KubernetesWorld, alarm: Alarm) -> None:
    set_dev(small, "bake: 1s", "onFailure: Rollback", GATES)
    first = small.begin(*LOOKING)

    set_dev(small, "bake: 1h", "onFailure: Rollback", GATES)
    bad = small.release("2")
    small.wait("dev bakes it", lambda: bakes(small, bad))
    alarm.fire("c-1")
    small.wait("dev goes back", lambda: small.ledger().pins["dev"][-1].kind == "Rollback")
    small.wait("c-1 runs the first", lambda: small.runs("c-1", first))
    rejection = rejected(small, bad)
    assert rejection.reason == "GateFailed"
    assert rejection.message.startswith("gate no-alerts: CartErrors{")
    assert f"namespace={small.name}-c-1}} fired from" in rejection.message
    pins = {pin.apps: pin for pin in small.ledger().pins["dev"]}
    assert pins[bad].at <= min(alarm.fired("c-1")).replace(microsecond=0) <= rejection.at <= pins[first].at
    assert ran(small, "c-1") == [first, bad, first]
    assert small.status("tier", "dev")["phase"] == "Verified"

    alarm.end("c-1")
    set_dev(small, "bake: 1s", "onFailure: Continue", GATES)
    small.shopctl("release", "resume", "dev", "--reason", "the carts are mended")
    good = small.release("3")
    small.wait("prod verifies the third", lambda: small.verified("prod", good))

    set_dev(small, "bake: 1h", "onFailure: Continue", GATES)
    unseen = small.release("4")
    small.wait("dev bakes the fourth", lambda: bakes(small, unseen))
    assert small.controllers[0].stop() == 0
    alarm.fire("c-1")
    alarm.end("c-1")
    assert not small.ledger().is_rejected("dev", small.revision(unseen))
    small.start("follower", *LOOKING)
    small.wait("dev rejects the fourth", lambda: small.ledger().is_rejected("dev", small.revision(unseen)))
    assert "CartErrors" in rejected(small, unseen).message
    assert [pin.apps for pin in small.ledger().pins["prod"]] == [first, good]
    assert ran(small, "a-1") == [first, good]
    check_history(small)


@pytest.mark.takes_a_part_away
@pytest.mark.usefixtures("alarm")
def test_nothing_is_verified_while_prometheus_is_away(small: KubernetesWorld) -> None:
    set_dev(small, "bake: 1s", GATES)
    small.begin(*LOOKING)
    (controller,) = small.controllers
    with away(small.bed, "prometheus"):
        second = small.release("2")
        small.wait("the gate is unknown", lambda: "is unknown" in verified_condition(small)["message"])
        assert "Prometheus did not answer within 5 s" in verified_condition(small)["message"]
        rounds = controller.log.read_text().count("a round took")
        small.wait("two more rounds", lambda: controller.log.read_text().count("a round took") >= rounds + 2)
        assert not small.verified("dev", second)
        assert verified_condition(small)["status"] == "Unknown"
    small.wait("prod verifies the second", lambda: small.verified("prod", second))
    assert small.ledger().verified["dev"][small.revision(second)].gates[0].result == "Pass"
    check_history(small)


def test_what_does_not_get_healthy_or_fails_its_smoke_test_stops_at_the_lowest_tier(small: KubernetesWorld) -> None:
    small.platform = {"delivery": {"argocd": {"retry": {"limit": 1, "backoff": {"duration": "1s"}}}}}
    set_dev(small, "failureGrace: 1s")
    first = small.begin()

    sick = small.push({"cart/deployment.yaml": deployment(nowhere=True)}, "carts that fit nowhere")
    assert watched(small, exits.FAILURE)[-1].startswith("dev   Rejected: Degraded: c-1 is Degraded")
    assert rejected(small, sick).reason == "Degraded"
    small.wait("it is told", lambda: verified_condition(small)["reason"] == "Rejected")

    set_dev(small, "failureGrace: 1s", "gates: [{name: buy, smoke: {job: buy}}]")
    component = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [job.yaml]\n"
    mended = {"cart/deployment.yaml": deployment(), "smoke/kustomization.yaml": component}
    broken = small.push(mended | {"smoke/job.yaml": smoke_test(nowhere=True)}, "a smoke test that fails")
    small.wait("dev rejects it too", lambda: small.ledger().is_rejected("dev", small.revision(broken)))
    assert "PostSync buy: Job was active longer than specified deadline" in rejected(small, broken).message

    # It changes a hook alone, for which Argo CD starts no sync by itself: shopset does, after one that failed.
    good = small.push({"smoke/job.yaml": smoke_test()}, "a smoke test that succeeds")
    lines = watched(small, exits.OK)
    assert [line for line in lines if line.endswith("Verified")] == ["dev   Verified", "prod  Verified"]
    ledger = small.ledger()
    assert ledger.verified["dev"][small.revision(good)].gates[0].result == "Pass"
    assert [pin.apps for pin in ledger.pins["dev"]] == [first, sick, broken, good]
    assert [pin.apps for pin in ledger.pins["prod"]] == [first, good]
    assert ran(small, "c-1")[-1] == good
    assert not {sick, broken} & set(ran(small, "a-1"))
    check_history(small)


# -- the fleet


def set_dev(world: KubernetesWorld, *promotion: str) -> None:
    """Apply the fleet with other rules for dev."""
    world.tiers = {**world.tiers, "dev": promotion}
    world.apply()


def deployment(*, nowhere: bool = False) -> str:
    """Return the cart's Deployment, maybe with Pods that no node takes."""
    found = yaml.safe_load((EXAMPLE / "apps" / "cart" / "deployment.yaml").read_text())
    if nowhere:
        found["spec"]["progressDeadlineSeconds"] = 1
        found["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "nowhere"}
    return yaml.safe_dump(found)


def smoke_test(*, nowhere: bool = False) -> str:
    """Return a PostSync hook that succeeds; or one that fails, as its Pod never starts."""
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [{"name": "buy", "image": "registry.example.com/shop/buy:1.0.0"}],
    }
    if nowhere:
        pod["nodeSelector"] = {"kubernetes.io/hostname": "nowhere"}
    return yaml.safe_dump(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "buy", "annotations": {"argocd.argoproj.io/hook": "PostSync"}},
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 1 if nowhere else 60, "template": {"spec": pod}},
        }
    )


# -- looking


def watched(world: KubernetesWorld, code: int) -> list[str]:
    """Watch the newest release to its end; return what `shopctl release watch` told, without the times."""
    told = world.shopctl("release", "watch", codes=[code])
    return [line.partition("  ")[2] for line in told.splitlines()]


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310  # the bed's own parts
        return json.load(response)


def rejected(world: KubernetesWorld, commit: str) -> RejectionRecord:
    return world.ledger().rejected["dev"][world.revision(commit)]


def bakes(world: KubernetesWorld, commit: str) -> bool:
    """Whether dev bakes what has this apps commit."""
    status = world.status("tier", "dev")
    return status.get("phase") == "Baking" and status.get("pinned") == world.revision(commit)[:7]


def verified_condition(world: KubernetesWorld) -> dict[str, Any]:
    return world.condition("tier", "dev", "Verified")


def ran(world: KubernetesWorld, shopset: str) -> list[str]:
    """Return the apps commits that a ShopSet ran, one after the other, by Argo CD's own history."""
    commits = [each["revision"] for each in world.application(shopset)["status"]["history"]]
    return [git("rev-parse", f"{commit}:base", folder=world.repository("system")) for commit in commits]
