"""A release on real Kubernetes, real Argo CD and real git: the story of the talk, told by the APIs' own records."""

import json
from pathlib import Path

from shopset.cli.scaffolding import Copy
from support.kubernetes import KubernetesWorld
from support.worlds import git
from testbed.records import Bed


def test_a_release_climbs_tier_by_tier(world: KubernetesWorld) -> None:
    world.apply()
    world.begin()
    second = world.release("2")
    world.wait("the release is verified on prod", lambda: world.verified("prod", second))
    ledger = world.ledger()
    revision = next(pin.revision for pin in ledger.pins["prod"] if pin.apps == second)
    moments = [
        (pin.at, ledger.verified[tier][revision].at)
        for tier in ("dev", "beta", "prod")
        for pin in ledger.pins[tier]
        if pin.revision == revision
    ]
    assert moments == sorted(moments), "a tier took it before the next lower one had verified it"
    for name in ("c-1", "b-1", "a-1", "b-2"):
        found = world.application(name)
        assert found["status"]["sync"]["status"] == "Synced"
        deployment = json.loads(
            world.kubectl("get", "deployment", "cart", "-n", f"{world.name}-{name}", "-o", "json", cluster=name[0])
        )
        assert deployment["spec"]["template"]["metadata"]["annotations"]["demo.shopset.dev/release"] == "2"
    world.wait("the status of prod says so", lambda: world.status("tier", "prod").get("phase") == "Verified")
    assert world.status("tier", "prod")["pinned"] == revision[:7]
    for name in ("c-1", "b-1", "a-1", "b-2"):
        world.wait(f"{name} is ready", lambda name=name: world.status("shopset", name).get("ready"))  # type: ignore[misc]
        assert world.status("shopset", name)["revision"] == revision[:7]


def test_people_steer_by_kubectl(world: KubernetesWorld) -> None:
    world.tiers = {"dev": (), "prod": ("mode: Manual", "bake: 1s")}
    world.copies = (Copy("c-1", "dev", "staging", "c"), Copy("a-1", "prod", "production", "a"))
    world.apply()
    world.start()
    first = world.head("apps")
    world.wait("dev verifies the first", lambda: world.verified("dev", first))
    world.wait("prod waits for people", lambda: world.condition("tier", "prod", "Admitted").get("status") == "False")
    world.apply(world.control("Approval", "first", tier="prod", revision=world.revision(first)[:10]))
    world.wait("prod verifies the first", lambda: world.verified("prod", first))
    world.wait("it is recorded", lambda: world.condition("approval", "first", "Recorded").get("status") == "True")
    approvals = world.ledger().approvals["prod"][world.revision(first)]
    assert [each.by.split(" ")[0] for each in approvals] == ["anna"]

    world.apply(world.control("Hold", "friday", tier="dev"))
    world.wait("the hold is in the ledger", lambda: world.ledger().active_holds("dev"))
    second = world.release("2")
    world.wait("dev waits", lambda: world.condition("tier", "dev", "Admitted").get("reason") == "NotHeld")
    assert world.ledger().pins["dev"][-1].apps == first
    world.kubectl("delete", "hold", "friday", "-n", world.name)
    world.wait("dev goes on", lambda: world.verified("dev", second))
    assert not world.ledger().active_holds("dev")

    world.apply(world.control("Approval", "second", tier="prod", revision=world.revision(second)[:10]))
    world.wait("prod verifies the second", lambda: world.verified("prod", second))
    world.apply(world.control("Rollback", "back", tier="prod", revision=world.revision(first)[:10]))
    world.wait("prod is back", lambda: world.ledger().pins["prod"][-1].kind == "Rollback")
    world.wait("it is recorded", lambda: world.condition("rollback", "back", "Recorded").get("status") == "True")
    world.wait("prod runs it", lambda: world.status("shopset", "a-1").get("ready"))
    ledger = world.ledger()
    assert ledger.is_rejected("prod", world.revision(second))
    assert len([pin for pin in ledger.pins["prod"] if pin.kind == "Rollback"]) == 1


def test_the_fleet_may_change_while_it_runs(world: KubernetesWorld) -> None:
    world.tiers = {"dev": ()}
    world.copies = (Copy("c-1", "dev", "staging", "c"),)
    world.apply()
    world.start()
    world.wait("c-1 is ready", lambda: world.status("shopset", "c-1").get("ready"))
    world.copies = (*world.copies, Copy("a-1", "dev", "staging", "a"))
    world.apply()
    world.wait("a-1 is ready", lambda: world.status("shopset", "a-1").get("ready"))
    world.kubectl("delete", "shopset", "a-1", "-n", world.name, "--timeout=60s")
    assert not world.application("a-1")
    assert "a-1" not in git("ls-tree", "--name-only", "tier-0:overlays", folder=world.repository("system"))
    world.wait(
        "its objects are gone",
        lambda: not world.kubectl("get", "deployments", "-n", f"{world.name}-a-1", "-o", "name", cluster="a"),
    )


def test_two_fleets_share_an_argo_cd(bed: Bed, tmp_path: Path) -> None:
    worlds = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        copies = (Copy("c-1", "dev", "staging", "c"),)
        worlds.append(KubernetesWorld(bed, tmp_path / name, tiers={"dev": ()}, copies=copies))
    one, other = worlds
    try:
        for world in worlds:
            world.apply()
            world.start()
        for world in worlds:
            world.wait("c-1 is ready", lambda world=world: world.status("shopset", "c-1").get("ready"))  # type: ignore[misc]
        one.kubectl("delete", "shopset", "c-1", "-n", one.name, "--timeout=60s")
        assert not one.application("c-1")
        second = other.release("2")
        other.wait("the other goes on", lambda: other.verified("dev", second))
        assert other.controllers[0].log.read_text().count("apply the Application of c-1") == 1
    finally:
        for world in worlds:
            world.close(show=False)


def test_what_is_wrong_stops_nothing_that_runs_and_is_told(world: KubernetesWorld) -> None:
    world.tiers = {"dev": ()}
    world.copies = (Copy("c-1", "dev", "staging", "c"),)
    world.apply()
    world.start()
    world.wait("c-1 is ready", lambda: world.status("shopset", "c-1").get("ready"))
    wrong = next(each for each in world.objects() if each["kind"] == "ShopSet")
    world.apply(
        {**wrong, "metadata": {"name": "lost", "namespace": world.name}, "spec": wrong["spec"] | {"tier": "qa"}}
    )
    world.wait("it is told", lambda: world.condition("shopset", "lost", "Accepted").get("status") == "False")
    assert "there is no Tier named qa" in world.condition("shopset", "lost", "Accepted")["message"]
    world.wait("the Platform says it", lambda: world.condition("platform", world.name, "Accepted")["status"] == "False")
    assert world.application("c-1")
    world.kubectl("delete", "shopset", "lost", "-n", world.name)
    world.wait("all is well again", lambda: world.condition("platform", world.name, "Accepted")["status"] == "True")
    second = world.release("2")
    world.wait("releases go on", lambda: world.verified("dev", second))


def test_nothing_is_written_while_nothing_happens(world: KubernetesWorld) -> None:
    world.tiers = {"dev": ()}
    world.copies = (Copy("c-1", "dev", "staging", "c"),)
    world.apply()
    controller = world.start("controller", "--poll=1")
    world.wait("c-1 is ready", lambda: world.status("shopset", "c-1").get("ready"))
    world.wait("dev is verified", lambda: world.status("tier", "dev").get("phase") == "Verified")
    before = versions(world)
    heads = git("for-each-ref", folder=world.repository("system"))
    rounds = controller.log.read_text().count("a round")
    world.wait("ten rounds", lambda: controller.log.read_text().count("a round") >= rounds + 10)
    assert versions(world) == before
    assert git("for-each-ref", folder=world.repository("system")) == heads


def versions(world: KubernetesWorld) -> dict[str, str]:
    """The resourceVersion of every object of the fleet."""
    found = json.loads(world.kubectl("get", "shopset", "-n", world.name, "-o", "json"))["items"]
    found += json.loads(world.kubectl("get", "tiers,clusters,platforms", "-n", world.name, "-o", "json"))["items"]
    return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in found}
