"""The same world with real kustomize and directory clusters: a release climbs, a bad one stops, a good one is rolled back."""

import os
from pathlib import Path

import pytest

from model.bases import Behaviour
from model.fleets import CLUSTERS, Design, Promotion
from model.repositories import NAMES, location
from model.wishes import Member
from model.worlds import PEOPLE, World
from shopset.core.release.actions import SHOPSET
from shopset.core.release.observed import Repository
from shopset.core.release.plans import Phase, Plan
from shopset.core.release.requests import RollBack
from shopset.directory.clusters import DirectoryClusters
from shopset.engine.building import CachingBuilder
from shopset.gitops import Remotes
from shopset.manifests import Kustomize, find_kustomize

DESIGN = Design(
    levels={"dev": 0, "beta": 1, "prod": 2},
    promotions={"dev": Promotion(), "beta": Promotion(), "prod": Promotion(approvals=1)},
    shopsets={
        "c-2": Member("dev", "staging", "c"),
        "c-1": Member("beta", "staging", "c"),
        "a-2": Member("prod", "production", "a"),
    },
)
ENVIRONMENT = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "SHOPSET_KUSTOMIZE"}}


def make_real(world: World) -> None:
    kustomize = Kustomize(find_kustomize(ENVIRONMENT.get("SHOPSET_KUSTOMIZE")), ENVIRONMENT)
    clusters = DirectoryClusters(world.folder / "clusters", CLUSTERS, kustomize.build, world.clock, ENVIRONMENT)
    urls = {Repository(name): location(world.folder, name).as_uri() for name in NAMES}
    for number, process in enumerate(world.processes):
        cache = world.folder / f"real-{number}"
        remotes = Remotes(urls, cache, committer=SHOPSET, environment=ENVIRONMENT)
        process.engine.builder = CachingBuilder(remotes, kustomize, cache / "builds")
        process.wire.git, process.wire.delivery = remotes, clusters
    world.delivery = clusters
    world.oracle.witness = None


def go_on(world: World, rounds: int, *, attended: bool = False, crash_after: int | None = None) -> Plan:
    for number in range(rounds):
        world.go_round(world.processes[number % 2], attended=attended, crash_after=crash_after)
    return world.processes[0].engine.plan()[0]


@pytest.mark.parametrize("crash_after", [None, 1, 2])
def test_a_release_climbs_and_a_bad_one_stops(tmp_path: Path, crash_after: int | None) -> None:
    with World(tmp_path, DESIGN) as world:
        make_real(world)
        world.settle()
        good = world.processes[0].engine.plan()[0].outlooks["prod"].pinned
        world.develop(Behaviour(degraded=("beta",)))
        outlooks = go_on(world, 10 if crash_after else 6, attended=True, crash_after=crash_after).outlooks
        assert (outlooks["beta"].progress.phase, outlooks["prod"].pinned) == (Phase.REJECTED, good)
        world.settle()
        assert world.ask(world.processes[1], RollBack(tier="prod", reason="it is slow"), PEOPLE[0])
        assert go_on(world, 2).outlooks["prod"].pinned == good
        world.settle()
