"""What fails at the worst moment: controllers, the API server, git, and the parts of Argo CD. Nothing is lost, all converges."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shopset.cli.scaffolding import Copy
from support.kubernetes import KubernetesWorld

ELECTION = ("--leader-elect", "--lease-duration=3")
SMALL = (Copy("c-1", "dev", "staging", "c"), Copy("a-1", "prod", "production", "a"))


@pytest.fixture
def small(world: KubernetesWorld) -> KubernetesWorld:
    """Two tiers with a ShopSet each."""
    world.tiers = {"dev": (), "prod": ("bake: 1s",)}
    world.copies = SMALL
    world.apply()
    return world


def test_of_two_replicas_one_acts_and_the_other_takes_over(small: KubernetesWorld) -> None:
    replicas = [small.start("one", *ELECTION), small.start("two", *ELECTION)]
    first = small.head("apps")
    small.wait("prod verifies the first", lambda: small.verified("prod", first))
    acting = [each for each in replicas if " takes " in each.log.read_text()]
    assert len(acting) == 1
    acting[0].kill()
    second = small.release("2")
    small.wait("prod verifies the second", lambda: small.verified("prod", second))
    (other,) = (each for each in replicas if each is not acting[0])
    assert " takes " in other.log.read_text()
    assert other.stop() == 0
    check_ledger(small)


def test_two_that_act_at_once_by_mistake_do_no_harm(small: KubernetesWorld) -> None:
    small.start("one")
    small.start("two")
    first = small.head("apps")
    small.wait("prod verifies the first", lambda: small.verified("prod", first))
    second = small.release("2")
    small.wait("prod verifies the second", lambda: small.verified("prod", second))
    check_ledger(small)


@pytest.mark.parametrize(
    "word", ["record the tiers", "tag ", "takes", "apply the Application", "verifies", "fast-forward"]
)
def test_a_controller_that_is_killed_after_an_action_is_followed_by_another(small: KubernetesWorld, word: str) -> None:
    killed = small.start("killed")
    small.wait(f"it has done: {word}", lambda: word in killed.log.read_text() or killed.process.poll() is not None)
    killed.kill()
    small.start("follower")
    first = small.head("apps")
    small.wait("prod verifies the first", lambda: small.verified("prod", first))
    small.wait("a-1 is ready", lambda: small.status("shopset", "a-1").get("ready"))
    check_ledger(small)


@pytest.mark.takes_a_part_away
@pytest.mark.parametrize(
    "part", ["nginx", "argocd-repo-server", "argocd-application-controller", "redis", "a-apiserver"]
)
def test_a_part_that_hangs_for_a_while(small: KubernetesWorld, part: str) -> None:
    small.start("controller", "--timeout=5")
    first = small.head("apps")
    small.wait("prod verifies the first", lambda: small.verified("prod", first))
    with away(small, part):
        if part == "nginx":
            time.sleep(2)  # it is what a developer pushes to
        else:
            second = small.release("2")
            time.sleep(4)
    if part == "nginx":
        second = small.release("2")
    small.wait("prod verifies the second", lambda: small.verified("prod", second))
    check_ledger(small)


@pytest.mark.takes_a_part_away
def test_the_management_api_server_is_killed(small: KubernetesWorld) -> None:
    small.start()
    first = small.head("apps")
    small.wait("dev verifies the first", lambda: small.verified("dev", first))
    os.kill(small.bed.pid("management-apiserver"), signal.SIGKILL)
    second = small.release("2")
    small.wait("prod verifies the second", lambda: small.verified("prod", second))
    check_ledger(small)


@contextmanager
def away(world: KubernetesWorld, part: str) -> Iterator[None]:
    """Let a part hang, as one does whose machine is stuck: connections stay open, and nothing answers."""
    pid = world.bed.pid(part)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def check_ledger(world: KubernetesWorld) -> None:
    """The invariants of the order: each revision is pinned once a tier, and only after the next lower one verified it."""
    ledger = world.ledger()
    assert not ledger.malformed
    for tier, lower in (("dev", None), ("prod", "dev")):
        pins = ledger.pins[tier]
        assert max(Counter(pin.revision for pin in pins).values()) == 1
        for pin in pins:
            assert lower is None or ledger.verified[lower][pin.revision].at <= pin.at
        for revision, found in ledger.verified.get(tier, {}).items():
            assert revision in {pin.revision for pin in pins}
            assert found.healthy_since <= found.at
