"""One test bed for a whole run, whichever of its processes needs it first, and places for those that run at once."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from support import reaping
from testbed.keeping import end
from testbed.records import Bed

BED = "SHOPSET_TEST_BED"
T = TypeVar("T")
# How long an example takes says more about the machine than about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[BED] = tempfile.mkdtemp(prefix="shopset-bed-")
        os.environ[reaping.VARIABLE] = mark = uuid4().hex
        config.add_cleanup(partial(reaping.stop, reaping.start(mark)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: at the end it would keep one process waiting for the others.

    Each process is first given a share of the list, one after the other. The first share begins with what needs the bed,
    and of that with what has it alone; the other shares begin with the tests of minutes.
    """
    bed = [item for item in items if "bed" in _fixtures(item)]
    bed.sort(key=lambda item: item.get_closest_marker("takes_a_part_away") is None)
    long = [item for item in items if item.get_closest_marker("long")]
    first = {*bed, *long}
    others = [item for item in items if item not in first]
    items[:] = in_shares(bed, long, others, _processes())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test that judges every request have two of the run's places, of which there are as many as processes.

    There is a process more than there are processors, since most tests wait for others; but an edge without a processor
    takes its ShopSets for dead.
    """
    with places(Path(os.environ[BED]), _processes(), 2 if item.get_closest_marker("judges_requests") else 1):
        return (yield)


@contextmanager
def places(home: Path, number: int, wanted: int) -> Iterator[None]:
    """Hold some of a number of places, which are locks in a folder."""
    with ExitStack() as held:
        if wanted > 1:
            # Two that have one place each and wait for another would wait for ever.
            _lock(held, home / "places", fcntl.LOCK_EX)
        got = set[int]()
        while len(got) < min(wanted, number):
            for place in set(range(number)) - got:
                if len(got) < wanted and _lock(held, home / f"place-{place}", fcntl.LOCK_EX | fcntl.LOCK_NB):
                    got.add(place)
            if len(got) < min(wanted, number):
                time.sleep(0.02)
        yield


def _lock(held: ExitStack, path: Path, how: int) -> bool:
    file = path.open("w")
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        file.close()
        return False
    held.callback(file.close)
    # A process that was forked in between has the file, too.
    held.callback(fcntl.flock, file, fcntl.LOCK_UN)
    return True


def in_shares(bed: Sequence[T], long: Sequence[T], others: Sequence[T], processes: int) -> list[T]:
    """Return everything so that each process's equal share begins with its part of what takes long."""
    if processes == 1:
        return [*bed, *long, *others]
    heads = [bed, *(_share(long, number, processes - 1) for number in range(processes - 1))]
    total, rest, made = len(bed) + len(long) + len(others), iter(others), list[T]()
    for number, head in enumerate(heads, 1):
        made += head
        made += islice(rest, max(total * number // processes - len(made), 0))
    return [*made, *rest]


def _share(items: Sequence[T], number: int, of: int) -> Sequence[T]:
    return items[len(items) * number // of : len(items) * (number + 1) // of]


def _processes() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        home = Path(os.environ[BED])
        if (home / "bed" / "bed.json").exists():
            end(Bed.read(home / "bed"))
        shutil.rmtree(home, ignore_errors=True)
