"""No operation is possible only through the controller: a person does it all with the commands that are printed."""

import subprocess
import time

from shopset.cli.scaffolding import Copy
from support.kubernetes import KubernetesWorld
from support.worlds import git


def act(world: KubernetesWorld) -> bool:
    """Do what the plan says by its printed commands, with bash, git and kubectl. Returns whether there was anything."""
    script = world.shopctl("plan", "--commands")
    done = subprocess.run(["bash", "-c", script], env=world.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    if not script:
        # Argo CD is at work: who looks all the time only takes the CPU from it.
        time.sleep(1)
    return bool(script)


def test_a_person_releases_adds_a_shopset_and_rolls_back(small: KubernetesWorld) -> None:
    world = small
    first = world.head("apps")
    world.wait("prod verifies the first", lambda: not act(world) and world.verified("prod", first))
    second = world.release("2")
    world.wait("prod verifies the second", lambda: not act(world) and world.verified("prod", second))
    world.copies = (*world.copies, Copy("b-1", "prod", "production", "b"))
    world.apply()
    world.wait("b-1 runs it", lambda: not act(world) and health(world, "b-1") == "Healthy")
    script = world.shopctl("release", "rollback", "prod", "--reason", "carts are slow", "--dry-run")
    assert "git push" in script
    world.shopctl("release", "rollback", "prod", "--reason", "carts are slow")
    assert world.ledger().pins["prod"][-1].apps == first
    world.wait("there is nothing left to do", lambda: not act(world) and health(world, "a-1") == "Healthy")

    before = git("for-each-ref", folder=world.repository("system"))
    controller = world.start("controller", "--poll=1")
    world.wait("the controller has looked", lambda: controller.log.read_text().count("a round took") >= 5)
    assert git("for-each-ref", folder=world.repository("system")) == before


def health(world: KubernetesWorld, shopset: str) -> str:
    found = world.application(shopset).get("status", {})
    return str(found.get("health", {}).get("status")) if found.get("sync", {}).get("status") == "Synced" else ""
