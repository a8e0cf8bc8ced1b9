"""Leader election on a real API server, which is paused and contended for."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from lightkube import Client

from shopset.kube.clients import connect
from shopset.kube.leases import LEASE, Lease, Terms, new_identity
from support.api_servers import ApiServer, api_server
from testbed.programs import free_ports

SHORT = Terms(duration=2, deadline=1.2, retry=0.1)
HOLDER = """
import sys
from threading import Event
from shopset.kube.clients import connect
from shopset.kube.leases import Lease, Terms
client = connect(sys.argv[1])
said = lambda held: print("held" if held else "lost", flush=True)
Lease(client, "default", sys.argv[2], "killed", Terms(duration=2, deadline=1.2, retry=0.1), said).run(Event())
"""


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def client(server: ApiServer) -> Iterator[Client]:
    with connect(str(server.kubeconfig), timeout=0.3) as found:
        yield found


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).replace("_", "-")


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


@contextmanager
def running(lease: Lease) -> Iterator[Event]:
    """Run a candidate in a thread until the context or the event ends it."""
    stop = Event()
    thread = Thread(target=lease.run, args=[stop])
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def spec_of(client: Client, name: str) -> dict[str, Any]:
    return dict(client.get(LEASE, name, namespace="default")["spec"])


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


class TestByAClockOfItsOwn:
    """Each look is made by the test, and time is the test's: what depends on time is exact."""

    def test_the_first_acquires_and_the_second_does_not(self, client: Client, name: str) -> None:
        first, second = (Lease(client, "default", name, identity) for identity in ("first", "second"))
        first.attempt()
        second.attempt()
        assert (first.held, second.held) == (True, False)
        spec = spec_of(client, name)
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("first", 15, 0)
        assert moment(spec["renewTime"]) == moment(spec["acquireTime"])

    def test_renewing_moves_the_time_and_nothing_else(self, client: Client, name: str) -> None:
        lease = Lease(client, "default", name, "first")
        lease.attempt()
        before = spec_of(client, name)
        lease.attempt()
        after = spec_of(client, name)
        assert moment(after.pop("renewTime")) > moment(before.pop("renewTime"))
        assert after == before

    def test_it_is_held_until_the_deadline_after_the_last_renewal_began(self, client: Client, name: str) -> None:
        clock = Clock()
        lease = Lease(client, "default", name, "first", clock=clock)
        lease.attempt()
        clock.now += 9.9
        before = lease.held
        clock.now += 0.2
        assert (before, lease.held) == (True, False)

    def test_it_is_taken_over_when_it_has_not_changed_for_its_duration(self, client: Client, name: str) -> None:
        clock = Clock()
        first = Lease(client, "default", name, "first", clock=clock)
        second = Lease(client, "default", name, "second", clock=clock)
        first.attempt()
        second.attempt()
        clock.now += 14
        first.attempt()
        second.attempt()
        held = []
        for seconds in (14.9, 0.2):
            clock.now += seconds
            second.attempt()
            held.append(second.held)
        assert held == [False, True]
        assert spec_of(client, name)["leaseTransitions"] == 1

    def test_clocks_of_machines_are_not_compared(self, client: Client, name: str) -> None:
        first = Lease(client, "default", name, "first")
        first.attempt()
        found = client.get(LEASE, name, namespace="default")
        found["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
        client.replace(found)
        second = Lease(client, "default", name, "second")
        second.attempt()
        assert not second.held

    def test_who_finds_another_name_in_it_stops_at_once(self, client: Client, name: str) -> None:
        told: list[bool] = []
        lease = Lease(client, "default", name, "first", changed=told.append)
        lease.attempt()
        found = client.get(LEASE, name, namespace="default")
        found["spec"]["holderIdentity"] = "somebody"
        client.replace(found)
        lease.attempt()
        assert (lease.held, told) == (False, [True, False])
        lease.release()
        assert spec_of(client, name)["holderIdentity"] == "somebody"

    def test_a_slow_renewal_counts_from_its_beginning(self, client: Client, name: str) -> None:
        clock = Clock()
        slow = Between(client, lambda: setattr(clock, "now", clock.now + 4))
        lease = Lease(slow, "default", name, "first", clock=clock)  # type: ignore[arg-type]  # a client, as far as it is used
        lease.attempt()
        lease.attempt()
        clock.now += 5.9
        before = lease.held
        clock.now += 0.2
        assert (before, lease.held) == (True, False)

    def test_what_is_released_is_free_at_once(self, client: Client, name: str) -> None:
        clock = Clock()
        told: list[bool] = []
        first = Lease(client, "default", name, "first", changed=told.append, clock=clock)
        second = Lease(client, "default", name, "second", clock=clock)
        first.attempt()
        second.attempt()
        first.release()
        second.attempt()
        assert (first.held, second.held, told) == (False, True, [True, False])

    def test_of_two_who_write_at_once_one_loses(self, client: Client, name: str) -> None:
        """The hand of a person comes between the reading and the writing."""
        lease = Lease(client, "default", name, "first")
        lease.attempt()
        by_hand = {"metadata": {"annotations": {"by": "hand"}}}
        contended = Between(client, lambda: client.patch(LEASE, name, by_hand, namespace="default"))
        second = Lease(contended, "default", name, "first")  # type: ignore[arg-type]  # a client, as far as it is used
        second.attempt()
        assert not second.held
        assert client.get(LEASE, name, namespace="default")["metadata"]["annotations"] == {"by": "hand"}
        assert spec_of(client, name)["holderIdentity"] == "first"

    def test_terms_that_would_let_two_act_are_refused(self) -> None:
        with pytest.raises(ValueError, match="descend"):
            Terms(duration=10, deadline=10)

    def test_no_two_processes_have_the_same_identity(self) -> None:
        assert new_identity() != new_identity()


class Between:
    """The real client; something happens between the reading and the writing."""

    def __init__(self, client: Client, happens: Callable[[], object]) -> None:
        self._client = client
        self._happens = happens
        self.create = client.create
        self.replace = client.replace

    def get(self, *arguments: Any, **options: Any) -> Any:
        try:
            return self._client.get(*arguments, **options)
        finally:
            self._happens()


class TestRunning:
    def test_releasing_hands_over_without_waiting(self, client: Client, name: str) -> None:
        long = Terms(duration=1000, deadline=900, retry=0.05)
        first, second = (Lease(client, "default", name, identity, long) for identity in ("first", "second"))
        with running(first) as stop:
            eventually(lambda: first.held)
            with running(second):
                stop.set()
                eventually(lambda: second.held)
                assert not first.held

    def test_who_is_killed_is_followed_after_the_duration(self, server: ApiServer, client: Client, name: str) -> None:
        heir = Lease(client, "default", name, "heir", SHORT)
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(server.kubeconfig), name], stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            heir.attempt()
            assert not heir.held
            with running(heir):
                holder.kill()
                holder.wait()
                last = spec_of(client, name)
                eventually(lambda: heir.held)
                taken = spec_of(client, name)
        assert (last["holderIdentity"], taken["holderIdentity"], taken["leaseTransitions"]) == ("killed", "heir", 1)
        assert moment(taken["acquireTime"]) - moment(last["renewTime"]) >= timedelta(seconds=SHORT.duration)

    def test_a_holder_stops_when_the_api_server_hangs(self, server: ApiServer, client: Client, name: str) -> None:
        told: list[bool] = []
        lease = Lease(client, "default", name, "first", SHORT, told.append)
        with running(lease):
            eventually(lambda: told == [True])
            os.kill(server.pid, signal.SIGSTOP)
            try:
                eventually(lambda: not lease.held)
                eventually(lambda: told == [True, False])
            finally:
                os.kill(server.pid, signal.SIGCONT)
            eventually(lambda: told == [True, False, True])

    def test_an_api_server_that_is_not_there_does_no_harm(self, tmp_path: Path, server: ApiServer) -> None:
        kubeconfig = tmp_path / "kubeconfig"
        port = free_ports(1)[0]
        kubeconfig.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", server.kubeconfig.read_text()))
        with connect(str(kubeconfig), timeout=0.3) as client:
            lease = Lease(client, "default", "away", "first")
            lease.attempt()
            lease.release()
        assert not lease.held
