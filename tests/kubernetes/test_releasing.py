"""A release on real Kubernetes, real Argo CD and real git: the story of the talk, told by the APIs' own records."""

import json

from support.kubernetes import KubernetesWorld


def test_a_release_climbs_tier_by_tier(world: KubernetesWorld) -> None:
    world.apply()
    world.start()
    first = world.head("apps")
    world.wait("the first revision is verified on dev", lambda: world.verified("dev", first))
    world.wait("the first revision is verified on prod", lambda: world.verified("prod", first))
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
