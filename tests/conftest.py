"""One test bed for a whole run, whichever of its processes needs it first; it ends with the run."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from testbed.keeping import end
from testbed.records import Bed

BED = "SHOPSET_TEST_BED"
# How long an example takes says more about the machine than about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[BED] = tempfile.mkdtemp(prefix="shopset-bed-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First comes what needs the bed, and of that what has it alone: meanwhile the other process does without.

    That one begins in the middle, with the tests of minutes: at the end they would keep one process waiting for the other.
    """
    items.sort(key=lambda item: ("bed" not in _fixtures(item), item.get_closest_marker("takes_a_part_away") is None))
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    middle = len(items) // 2
    items[:] = [*others[:middle], *long, *others[middle:]]


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        home = Path(os.environ[BED])
        if (home / "bed" / "bed.json").exists():
            end(Bed.read(home / "bed"))
        shutil.rmtree(home, ignore_errors=True)
