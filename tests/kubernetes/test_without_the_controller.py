"""No operation is possible only through the controller: a person does it all with the commands that are printed."""

import subprocess
import sys

from shopset.cli.scaffolding import Copy
from shopset.engine.workplaces import credential_environment
from support.kubernetes import KubernetesWorld
from support.worlds import ENVIRONMENT, git


class Hand:
    """A person with shopctl to look, and bash, git and kubectl to act."""

    def __init__(self, world: KubernetesWorld) -> None:
        self.world = world
        self.environment = {
            **ENVIRONMENT,
            **credential_environment(world.credentials),
            "TMPDIR": str(world.folder),
            "SHOPSET_CACHE": str(world.folder / "by-hand"),
        }

    def shopctl(self, *arguments: str) -> str:
        """Run shopctl on the fleet in the cluster."""
        command = [sys.executable, "-m", "shopset.cli", *arguments, f"--kubeconfig={self.world.bed.kubeconfig}"]
        return self._run([*command, "--context=management", f"--namespace={self.world.name}"])

    def act(self) -> bool:
        """Do what the plan says by its printed commands. Returns whether there was anything."""
        script = self.shopctl("plan", "--commands")
        if not script:
            return False
        self._run(["bash", "-c", script])
        return True

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 2), f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def test_a_person_releases_adds_a_shopset_and_rolls_back(world: KubernetesWorld) -> None:
    world.tiers = {"dev": (), "prod": ("bake: 1s",)}
    world.copies = (Copy("c-1", "dev", "staging", "c"), Copy("a-1", "prod", "production", "a"))
    world.apply()
    hand = Hand(world)
    first = world.head("apps")
    world.wait("prod verifies the first", lambda: not hand.act() and world.verified("prod", first))
    second = world.release("2")
    world.wait("prod verifies the second", lambda: not hand.act() and world.verified("prod", second))
    world.copies = (*world.copies, Copy("b-1", "prod", "production", "b"))
    world.apply()
    world.wait("b-1 runs it", lambda: not hand.act() and health(world, "b-1") == "Healthy")
    script = hand.shopctl("release", "rollback", "prod", "--reason", "carts are slow", "--dry-run")
    assert "git push" in script
    hand.shopctl("release", "rollback", "prod", "--reason", "carts are slow")
    assert world.ledger().pins["prod"][-1].apps == first
    world.wait("there is nothing left to do", lambda: not hand.act() and health(world, "a-1") == "Healthy")

    before = git("for-each-ref", folder=world.repository("system"))
    controller = world.start()
    world.wait("the controller has looked", lambda: controller.log.read_text().count("a round took") >= 5)
    assert git("for-each-ref", folder=world.repository("system")) == before


def health(world: KubernetesWorld, shopset: str) -> str:
    found = world.application(shopset).get("status", {})
    return str(found.get("health", {}).get("status")) if found.get("sync", {}).get("status") == "Synced" else ""
