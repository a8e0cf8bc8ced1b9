"""What fails at the worst moment: controllers, API servers, git, and the parts of Argo CD. Nothing is lost, all converges."""

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

import pytest

from shopset.cli.scaffolding import Copy
from shopset.core.release.records import ClusterRecord
from support.histories import check_history
from support.kubernetes import Controller, KubernetesWorld, away
from support.thoroughness import THOROUGH
from support.worlds import git

ELECTION = ("--leader-elect", "--lease-duration=3")
UNTOLD = ("--webhook-port=-1", "--poll=1")
ACTIONS: Final = ("record the tiers", "apply the Application", "tag ", "takes", "verifies", "fast-forward")
"""Words by which a log tells of each kind of action."""
PARTS: Final = (
    "nginx",
    "argocd-repo-server",
    "argocd-application-controller",
    "redis",
    "prometheus",
    "a-apiserver",
    "management-apiserver",
)
SEEDS: Final = range(8 if THOROUGH else 1)


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
    check_history(small)


def test_two_that_act_at_once_by_mistake_do_no_harm(small: KubernetesWorld) -> None:
    # Nobody tells them of pushes: each looks by itself.
    small.start("one", *UNTOLD)
    small.begin(*UNTOLD)
    second = small.release("2")
    small.wait("prod verifies the second", lambda: small.verified("prod", second))
    check_history(small)


def test_a_controller_that_is_killed_after_an_action_is_followed_by_another(small: KubernetesWorld) -> None:
    """Each completes the release at which another was killed, and is killed at the next, after another kind of action."""
    acting, told = small.start("0"), 0
    commit = small.head("apps")
    for number, word in enumerate(ACTIONS, 1):
        if number > 1:
            commit = small.release(str(number))
        if word == "apply the Application":
            small.copies = (*small.copies, Copy("b-1", "dev", "staging", "b"))
            small.apply()
        small.wait(f"it has done: {word}", partial(has_told, acting, word, told))
        acting.kill()
        acting = small.start(str(number))
        small.wait(f"prod verifies release {number}", partial(small.verified, "prod", commit))
        small.wait("a-1 is ready", lambda: small.status("shopset", "a-1").get("ready"))
        check_history(small)
        told = len(acting.log.read_text())


@pytest.mark.takes_a_part_away
@pytest.mark.parametrize("seed", SEEDS)
def test_each_part_is_away_for_a_while_and_people_interfere(small: KubernetesWorld, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # moments, not secrets
    small.platform = {"monitoring": {"prometheus": {"url": small.bed.prometheus}, "timeout": "3s"}}
    gate = "gates: [{name: nothing, query: {expr: vector(0), threshold: 1.0}}]"
    small.tiers = {"dev": (gate,), "prod": ("bake: 1s", gate)}
    small.apply()
    small.start("controller", "--timeout=5", "--poll=1")
    for number, part in enumerate(chance.sample(PARTS, len(PARTS)), 1):
        interfere = chance.choice((retarget, sync_by_hand, push_to_the_tier))
        commit = small.release(str(number))
        time.sleep(chance.uniform(0, 4))
        interfere(small)
        with gone(small, part):
            time.sleep(chance.uniform(0.5, 4))
        what = f"seed {seed}: {interfere.__name__}, {part} away, and prod verifies release {number}"
        small.wait(what, lambda commit=commit: small.verified("prod", commit))  # type: ignore[misc]
    small.wait("nothing of people's is left", lambda: is_as_it_should_be(small))
    check_history(small)


@pytest.mark.takes_a_part_away
def test_a_release_goes_on_without_a_lost_cluster(small: KubernetesWorld) -> None:
    small.copies = (*small.copies, Copy("b-1", "prod", "production", "b"))
    small.apply()
    small.begin()
    with away(small.bed, "b-apiserver"):
        second = small.release("2")
        small.wait("dev verifies the second", lambda: small.verified("dev", second))
        small.wait("a-1 runs it", lambda: small.runs("a-1", second))
        assert not small.verified("prod", second), "it did not wait for b-1"
        small.push({"clusters/b.yaml": lost("b")}, "b is lost", branch="ledger", repository="system")
        small.wait("prod verifies the second", lambda: small.verified("prod", second))
        evidence = small.ledger().verified["prod"][small.ledger().pins["prod"][-1].revision]
        assert [each.name for each in evidence.shopsets] == ["a-1"]
        assert [(each.name, each.reason) for each in evidence.absent] == [("b-1", "cluster b is Lost: a fire")]
        small.wait("it is told", lambda: small.status("cluster", "b").get("state") == "Lost")
        assert not small.runs("b-1", second)
    small.push({"clusters/b.yaml": None}, "b is back", branch="ledger", repository="system")
    small.wait("b-1 runs the second", lambda: small.runs("b-1", second))
    third = small.release("3")
    small.wait("prod verifies the third", lambda: small.verified("prod", third))
    evidence = small.ledger().verified["prod"][small.ledger().pins["prod"][-1].revision]
    assert [each.name for each in evidence.shopsets] == ["a-1", "b-1"]
    check_history(small)


@contextmanager
def gone(world: KubernetesWorld, part: str) -> Iterator[None]:
    """Take a part away: the management API server is killed, and started again by the bed; all others hang."""
    if part == "management-apiserver":
        os.kill(world.bed.pid(part), signal.SIGKILL)
        yield
    else:
        with away(world.bed, part):
            yield


# -- people who interfere


def retarget(world: KubernetesWorld) -> None:
    """Let prod's ShopSet run another branch."""
    patch(world, {"spec": {"source": {"targetRevision": "tier-0"}}})


def sync_by_hand(world: KubernetesWorld) -> None:
    """Start a sync without the Application's options and retries: it fails where the namespace is not there yet."""
    patch(world, {"operation": {"initiatedBy": {"username": "anna"}, "sync": {"prune": True}}})


def patch(world: KubernetesWorld, change: object) -> None:
    """Patch the Application of prod's ShopSet, once it is there."""
    command: Sequence[str] = ("patch", "applications.argoproj.io", f"{world.name}-a-1", "-n", "argocd", "--type=merge")
    insist(world, lambda: world.kubectl(*command, "-p", json.dumps(change)))


def push_to_the_tier(world: KubernetesWorld) -> None:
    """Push a file to prod's branch of shopset-system, onto whatever is there by then."""
    note = {"notes.txt": "a stray file"}
    insist(world, lambda: world.push(note, "a stray commit", branch="tier-1", repository="system"))


def insist(world: KubernetesWorld, act: Callable[[], object]) -> None:
    """Do something as soon as it can be done: what it is about may not be there yet, or another push be faster."""

    def done() -> bool:
        try:
            act()
        except AssertionError:
            return False
        return True

    world.wait("a person has interfered", done)


# -- looking


def has_told(controller: Controller, word: str, since: int) -> bool:
    """Whether a controller has told of an action since its log had a length."""
    return word in controller.log.read_text()[since:]


def is_as_it_should_be(world: KubernetesWorld) -> bool:
    """Whether nothing is left of what people did."""
    files = git("ls-tree", "--name-only", "tier-1", folder=world.repository("system")).splitlines()
    target = world.application("a-1")["spec"]["source"]["targetRevision"]
    return "notes.txt" not in files and target == "tier-1" and bool(world.status("shopset", "a-1").get("ready"))


def lost(cluster: str) -> str:
    """Return the ledger's file by which a person says that a cluster is lost."""
    record = ClusterRecord(cluster=cluster, state="Lost", since=datetime.now(UTC), by="anna", reason="a fire")
    return record.dump().decode()
