"""Certificates in Secrets of a real API server, which is paused meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from shopset.edge_agent.certificate_secrets import Secrets, api_server, follow, parse_labels
from shopset.edge_agent.certificates import LIST, Certificates
from shopset.kube.certificates import SecretCertificates
from support.api_servers import ApiServer
from support.api_servers import api_server as running_server
from support.certificates import KEY, certificate

NOW = datetime.now(UTC) + timedelta(hours=1)
PATIENCE = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_server(tmp_path_factory.mktemp("server")) as found:
        yield found


@contextmanager
def following(secrets: Secrets, found: SecretCertificates) -> Iterator[None]:
    """Follow in a thread beside the test."""
    loop = asyncio.new_event_loop()
    tasks: list[asyncio.Task[None]] = []

    async def until_cancelled() -> None:
        await follow(api_server(secrets), secrets, found, lambda: None)

    def run() -> None:
        tasks.append(loop.create_task(until_cancelled()))
        loop.run_until_complete(asyncio.wait(tasks))
        loop.close()

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(tasks[0].cancel)
        thread.join()


def apply(server: ApiServer, folder: Path, name: str, pem: str, label: str = "edge=public") -> None:
    """Write a Secret, as kubectl does for a person."""
    public, _, key = pem.partition(KEY)
    (folder / "tls.crt").write_text(public)
    (folder / "tls.key").write_text(KEY + key)
    made = server.kubectl(
        "create",
        "secret",
        "tls",
        name,
        f"--cert={folder}/tls.crt",
        f"--key={folder}/tls.key",
        "--dry-run=client",
        "-o=yaml",
    )
    server.kubectl("apply", "-f", "-", stdin=made)
    server.kubectl("label", "--overwrite", "secret", name, label)


def listed(state: Path) -> Mapping[str, str]:
    """Return the names that are served, each with the file of its content."""
    return {Path(line).name.split(".")[0]: line for line in (state / LIST).read_text().splitlines()}


def wait_for(certificates: Certificates, wanted: Callable[[Mapping[str, str]], bool]) -> Mapping[str, str]:
    deadline = time.monotonic() + PATIENCE
    while True:
        certificates.look(NOW)
        found = listed(certificates.folder)
        if wanted(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_secrets_come_are_renewed_and_go_and_stay_while_their_api_server_is_away(
    server: ApiServer, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        apply(server, tmp_path, name, certificate(f"{name}.example.com"))
    apply(server, tmp_path, "other", certificate("other.example.com"), "edge=private")
    server.kubectl("create", "secret", "generic", "password", "--from-literal=tls.crt=x")
    server.kubectl("label", "secret", "password", "edge=public")
    secrets = Secrets("default", parse_labels("edge=public"), str(server.kubeconfig))
    found = SecretCertificates("default")
    certificates = Certificates(tmp_path / "state", [found])
    with following(secrets, found):
        first = wait_for(certificates, bool)
        assert first.keys() == {"a", "b"}
        assert not certificates.remarks()

        apply(server, tmp_path, "a", certificate("a.example.com"))
        apply(server, tmp_path, "c", certificate("c.example.com"))
        second = wait_for(certificates, lambda served: served.keys() == {"a", "b", "c"} and served["a"] != first["a"])
        assert second["b"] == first["b"]

        os.kill(server.pid, signal.SIGSTOP)
        try:
            restarted = SecretCertificates("default")
            alone = Certificates(tmp_path / "state", [restarted])
            with following(secrets, restarted):
                assert not alone.look(NOW)
                assert listed(tmp_path / "state") == second
                assert [each.reason for each in alone.remarks()] == ["Unread"]
        finally:
            os.kill(server.pid, signal.SIGCONT)

        server.kubectl("delete", "secret", "b")
        wait_for(certificates, lambda served: served.keys() == {"a", "c"})
