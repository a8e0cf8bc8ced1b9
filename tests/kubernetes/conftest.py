import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kubernetes import KubernetesWorld, prepare
from testbed import beds
from testbed.records import Bed


@pytest.fixture(scope="session")
def bed() -> Bed:
    """The bed of this run: started by whoever comes first, and ended with the run (see tests/conftest.py)."""
    home = Path(os.environ["SHOPSET_TEST_BED"])
    whole_run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (home / "bed" / "bed.json").exists():
            return Bed.read(home / "bed")
        started = beds.start(home / "bed", parent=whole_run)
        prepare(started)
        return started


@pytest.fixture
def world(bed: Bed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[KubernetesWorld]:
    """A fleet of its own on the bed: a namespace, three repositories, and no controller yet."""
    made = KubernetesWorld(bed, tmp_path)
    try:
        yield made
    finally:
        failed = request.session.testsfailed
        made.close(show=bool(failed))
