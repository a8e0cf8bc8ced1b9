import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shopset.cli.scaffolding import Copy
from support.kubernetes import KubernetesWorld, prepare
from testbed import beds
from testbed.records import Bed


@pytest.fixture(scope="session")
def home() -> Path:
    """The folder of the run's bed, which all processes of the run share."""
    return Path(os.environ["SHOPSET_TEST_BED"])


@pytest.fixture(scope="session")
def started_bed(home: Path) -> Bed:
    """The bed of this run: started by whoever comes first, and ended with the run (see tests/conftest.py)."""
    whole_run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (home / "bed" / "bed.json").exists():
            return Bed.read(home / "bed")
        started = beds.start(home / "bed", parent=whole_run)
        prepare(started)
        return started


@pytest.fixture
def bed(home: Path, started_bed: Bed, request: pytest.FixtureRequest) -> Iterator[Bed]:
    """The bed, which a test shares with others; one that takes a part away has it alone."""
    alone = request.node.get_closest_marker("takes_a_part_away") is not None
    with (home / "use").open("w") as use:
        fcntl.flock(use, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield started_bed


@pytest.fixture
def world(bed: Bed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[KubernetesWorld]:
    """A fleet of its own on the bed: a namespace, three repositories, and no controller yet."""
    made = KubernetesWorld(bed, tmp_path)
    try:
        yield made
    finally:
        made.close(show=bool(request.session.testsfailed))


@pytest.fixture
def small(world: KubernetesWorld) -> KubernetesWorld:
    """Two tiers with a ShopSet each."""
    world.tiers = {"dev": (), "prod": ("bake: 1s",)}
    world.copies = (Copy("c-1", "dev", "staging", "c"), Copy("a-1", "prod", "production", "a"))
    world.apply()
    return world
