"""Certificates from folders and Secrets to HAProxy, with real HAProxy and real handshakes."""

import itertools
import os
import shutil
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shopset.edge.certificates import CertificateError, bundle
from shopset.edge_agent.certificate_sources import Folder, Source
from shopset.edge_agent.certificates import AT_ONCE, LIST, Certificates
from shopset.edge_agent.runtime import HaproxyAwayError, Runtime, RuntimeApiError
from shopset.kube.certificates import SecretCertificates
from support.certificates import certificate
from support.haproxies import Running, haproxy, running
from support.origins import free_port

__all__ = ["haproxy"]
NOW = datetime.now(UTC) + timedelta(hours=1)
"""When all certificates of the tests are valid, whenever they are made."""


@pytest.fixture(scope="module")
def pems() -> Mapping[str, str]:
    """Certificates of some shops, and `a` once more, renewed."""
    hosts = {"a": ("a.example.com", "www.a.example.com"), "b": ("b.example.com",), "c": ("c.example.com",)}
    return {name: certificate(*names) for name, names in {**hosts, "renewed": hosts["a"]}.items()}


@pytest.fixture
def source(tmp_path: Path, pems: Mapping[str, str]) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.pem").write_text(pems[name])
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "certificates"


def listed(state: Path) -> list[str]:
    return [Path(line).name.split(".")[0] for line in (state / LIST).read_text().splitlines()]


def told(certificates: Certificates) -> dict[tuple[str, str], str]:
    return {(each.name, each.reason): each.message for each in certificates.remarks()}


# --- From the sources to the state folder -----------------------------------------------------------------------------


def test_files_and_folders_are_taken_and_what_has_not_changed_is_not_read_again(
    source: Path, state: Path, pems: Mapping[str, str]
) -> None:
    public, mark, key = pems["c"].partition("-----BEGIN PRIVATE KEY-----")
    for pair, names in (("c", ("tls.crt", "tls.key")), ("certbot", ("fullchain.pem", "privkey.pem"))):
        (source / pair).mkdir()
        for name, content in zip(names, (public, mark + key), strict=True):
            (source / pair / name).write_text(content)
    (source / "README").write_text("nothing to see")
    (source / ".hidden.pem").write_text("nothing yet")
    folder = Folder(source)
    certificates = Certificates(state, [folder])
    assert certificates.look(NOW)
    # The same certificate is there twice: one of the two is enough.
    assert listed(state) == ["a", "b", "c"]
    assert told(certificates).keys() == {("certbot", "Shadowed")}
    assert {path.stat().st_mode & 0o777 for path in state.iterdir()} == {0o600}
    assert state.stat().st_mode & 0o777 == 0o700

    reads: list[str] = []
    counted = Counted(folder, reads)
    certificates.sources = [counted]
    assert not certificates.look(NOW)
    assert not reads
    (source / "a.pem").write_text(pems["renewed"])
    assert certificates.look(NOW)
    assert reads == ["a"]


def test_of_very_many_each_is_looked_at_once_a_minute_and_renamed_ones_at_once(tmp_path: Path) -> None:
    now = [100.0]
    folder = Folder(tmp_path, clock=lambda: now[0])
    for number in range(600):
        (tmp_path / f"{number}.pem").write_text("x")
    before = folder.scan()["7"].stamp
    (tmp_path / "7.pem").write_text("written in its place")
    now[0] += 59
    assert folder.scan()["7"].stamp == before
    now[0] += 2
    written = folder.scan()["7"].stamp
    assert written != before
    (tmp_path / ".new").write_text("renamed")
    (tmp_path / ".new").replace(tmp_path / "7.pem")
    os.utime(tmp_path, ns=(0, 7))
    assert folder.scan()["7"].stamp != written


class Counted:
    """A source that says what was read of it."""

    def __init__(self, source: Source, reads: list[str]) -> None:
        self.source, self.reads, self.name = source, reads, "counted"

    def scan(self) -> dict[str, Any]:
        return {name: CountedItem(name, item, self.reads) for name, item in self.source.scan().items()}


class CountedItem:
    def __init__(self, name: str, item: Any, reads: list[str]) -> None:
        self.name, self.item, self.reads, self.stamp = name, item, reads, item.stamp

    def read(self) -> Any:
        self.reads.append(self.name)
        return self.item.read()


def test_bad_ones_are_refused_one_by_one_with_the_reason(source: Path, state: Path, pems: Mapping[str, str]) -> None:
    public, mark, _ = pems["a"].partition("-----BEGIN PRIVATE KEY-----")
    files = {
        "no-key": public,
        "other-key": public + mark + pems["b"].partition(mark)[2],
        "broken": pems["a"].replace("\nMII", "\nM!I"),
        "bad name": pems["c"],
        "large": "x" * 300_000,
    }
    for name, text in files.items():
        (source / f"{name}.pem").write_text(text)
    (source / "dangling.pem").symlink_to(source / "nowhere")
    (source / "a-folder.pem").mkdir()
    (source / "half").mkdir()
    (source / "half" / "tls.crt").write_text(public)
    certificates = Certificates(state, [Folder(source), Folder(source.parent / "missing")])
    assert certificates.look(NOW)
    assert listed(state) == ["a", "b"]
    reasons = {name: message for (name, reason), message in told(certificates).items() if reason == "Refused"}
    wanted = {
        "no-key": "no private key",
        "other-key": "not that of its first certificate",
        "broken": "broken block",
        "bad name": "letters, digits",
        "large": "256 KiB",
        "dangling": "No such file",
        "a-folder": "Is a directory",
        "half": "neither tls.crt",
    }
    assert reasons.keys() == wanted.keys()
    for name, message in wanted.items():
        assert message in reasons[name]
    assert "No such file" in told(certificates)[str(source.parent / "missing"), "Unread"]
    assert certificates.counts() == {"served": 2, "expiring": 0, "expired": 0, "refused": 8}
    # Nothing of a refused one stays.
    assert {path.name.split(".")[0] for path in state.iterdir()} == {"a", "b", "list"}


def test_what_was_good_last_is_served_until_something_better_comes(
    source: Path, state: Path, pems: Mapping[str, str]
) -> None:
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    before = (state / LIST).read_text()
    (source / "a.pem").write_text(pems["renewed"][:700])
    for again in (certificates, Certificates(state, [Folder(source)])):
        assert not again.look(NOW)
        assert (state / LIST).read_text() == before
        assert told(again).keys() == {("a", "Refused")}
    (source / "a.pem").write_text(pems["renewed"])
    assert certificates.look(NOW)
    assert told(certificates) == {}


def test_what_is_not_valid_is_not_taken_and_what_expires_is_told_and_stays(source: Path, state: Path) -> None:
    certificates = Certificates(state, [Folder(source)])
    assert not certificates.look(NOW - timedelta(days=1)) or listed(state) == []
    assert {reason for _, reason in told(certificates)} == {"Refused"}
    assert certificates.look(NOW + timedelta(hours=1)), "time has come, and nothing else has changed"
    assert listed(state) == ["a", "b"]
    assert certificates.first_expiry() is not None
    assert not certificates.look(NOW + timedelta(days=25))
    assert told(certificates).keys() == {("a", "Expiring"), ("b", "Expiring")}
    late = NOW + timedelta(days=40)
    # Clients that do not look at the date are served, and the others see why not.
    for again in (certificates, Certificates(state, [Folder(source)])):
        assert not again.look(late)
        assert told(again).keys() == {("a", "Expired"), ("b", "Expired")}
        assert again.counts()["expired"] == 2
    fresh = Certificates(state.with_name("fresh"), [Folder(source)])
    fresh.look(late)
    assert listed(state.with_name("fresh")) == []
    assert {reason for _, reason in told(fresh)} == {"Refused"}


def test_a_source_that_is_away_takes_nothing_with_it(source: Path, state: Path, pems: Mapping[str, str]) -> None:
    other = source.with_name("other")
    other.mkdir()
    (other / "c.pem").write_text(pems["c"])
    certificates = Certificates(state, [Folder(source), Folder(other)])
    certificates.look(NOW)
    shutil.move(source, source.with_name("away"))
    for again in (certificates, Certificates(state, certificates.sources)):
        assert not again.look(NOW)
        assert listed(state) == ["a", "b", "c"]
        assert told(again).keys() == {(str(source), "Unread")}
    shutil.move(source.with_name("away"), source)
    assert not certificates.look(NOW)
    assert told(certificates) == {}
    (other / "c.pem").unlink()
    assert certificates.look(NOW)
    assert listed(state) == ["a", "b"]


def test_an_empty_volume_takes_nothing_away_until_a_person_says_so(source: Path, state: Path) -> None:
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    for each in source.iterdir():
        each.unlink()
    for again in (certificates, Certificates(state, [Folder(source)])):
        assert not again.look(NOW)
        assert listed(state) == ["a", "b"]
        assert "2 of 2 certificates are gone" in told(again)[str(state), "Kept"]
    for copy in state.glob("*.pem"):
        copy.unlink()
    assert certificates.look(NOW)
    assert listed(state) == []
    assert told(certificates) == {}


def test_damage_to_the_state_folder_is_mended_from_the_sources(source: Path, state: Path) -> None:
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    (copy,) = state.glob("a.*.pem")
    good = copy.read_text()
    copy.unlink()
    certificates.look(NOW)
    assert copy.read_text() == good
    copy.write_text(good[:100])
    (state / "garbage").write_bytes(b"\xff\x00")
    again = Certificates(state, [Folder(source)])
    again.look(NOW)
    assert copy.read_text() == good
    assert listed(state) == ["a", "b"]
    (state / LIST).write_text("\x00/garbage\n\n# x\n")
    Certificates(state, [Folder(source)]).look(NOW)
    assert listed(state) == ["a", "b"]


def test_files_that_are_served_no_longer_are_removed_after_a_while(
    source: Path, state: Path, pems: Mapping[str, str]
) -> None:
    clock = itertools.count(0, 400)
    certificates = Certificates(state, [Folder(source)], clock=lambda: float(next(clock)))
    certificates.look(NOW)
    (source / "a.pem").write_text(pems["renewed"])
    (source / "b.pem").unlink()
    for minutes in range(1, 4):
        certificates.look(NOW + timedelta(minutes=minutes))
        # The one before it, too, until HAProxy has taken the new one.
        assert len(list(state.glob("a.*.pem"))) == 2
    certificates.look(NOW + timedelta(minutes=4))
    assert len(list(state.glob("a.*.pem"))) == 2
    assert not list(state.glob("b.*.pem"))


def test_a_full_disk_changes_nothing_of_what_is_served(
    source: Path, state: Path, pems: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    before = (state / LIST).read_text()
    (source / "a.pem").write_text(pems["renewed"])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            certificates.look(NOW)
    assert (state / LIST).read_text() == before
    assert certificates.look(NOW) is True
    assert (state / LIST).read_text() != before


# --- Secrets ----------------------------------------------------------------------------------------------------------


def secret(name: str, pem: str, version: int = 1) -> dict[str, Any]:
    public, mark, key = pem.partition("-----BEGIN PRIVATE KEY-----")
    data = {"tls.crt": public, "tls.key": mark + key, "ca.crt": "x"}
    return {
        "metadata": {"name": name, "uid": name, "resourceVersion": str(version)},
        "type": "kubernetes.io/tls",
        "data": {key: b64encode(text.encode()).decode() for key, text in data.items()},
    }


def test_secrets_are_taken_once_all_have_been_listed(state: Path, pems: Mapping[str, str]) -> None:
    secrets = SecretCertificates("shops")
    certificates = Certificates(state, [secrets])
    assert secrets.put(secret("a", pems["a"]))
    certificates.look(NOW)
    assert told(certificates).keys() == {("the Secrets of namespace shops", "Unread")}
    assert listed(state) == []
    assert secrets.put(secret("b", pems["b"]))
    assert secrets.put({**secret("c", pems["c"]), "data": {"tls.crt": "!"}})
    assert secrets.put({**secret("d", pems["c"]), "data": {}})
    assert secrets.retain({"a", "b", "c", "d"})
    certificates.look(NOW)
    assert listed(state) == ["a", "b"]
    assert {name for name, reason in told(certificates) if reason == "Refused"} == {"c", "d"}
    assert not secrets.put(secret("a", pems["a"], 2)), "an annotation is no news"
    assert secrets.put(secret("a", pems["renewed"], 3))
    assert certificates.look(NOW)
    assert secrets.remove(secret("b", pems["b"]))
    assert certificates.look(NOW)
    assert listed(state) == ["a"]
    assert not secrets.retain({"a", "c", "d"})


# --- To HAProxy -------------------------------------------------------------------------------------------------------


@contextmanager
def edge(program: str, state: Path, port: int) -> Iterator[tuple[Running, Runtime]]:
    """HAProxy with the list of a state folder."""
    socket_path = state.parent / "haproxy.sock"
    configuration = f"""
global
    stats socket {socket_path} mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend edge
    bind 127.0.0.1:{port} ssl crt-list {state / LIST} strict-sni alpn h2,http/1.1 ssl-min-ver TLSv1.2
    http-request return status 200
"""
    with running(program, configuration, ready=socket_path) as started:
        yield started, Runtime(socket_path)


def shown(port: int, host: str) -> str:
    """Return the certificate that HAProxy shows for a host, as its PEM text; the alert where it shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            der = connection.getpeercert(binary_form=True)
            assert der
            return ssl.DER_cert_to_PEM_cert(der)
    except ssl.SSLError as error:
        return str(error.reason)


def public(pem: str) -> str:
    """Return the certificate of a PEM text, as Python writes it."""
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----BEGIN PRIVATE KEY-----")]))


def held(runtime: Runtime) -> str:
    """Return everything that HAProxy says of certificates, but their content."""
    return runtime.ask("show ssl cert")


def test_certificates_come_are_renewed_and_go_at_run_time_and_stay_after_a_restart(
    haproxy: str, source: Path, state: Path, pems: Mapping[str, str]
) -> None:
    port = free_port()
    shutil.move(source / "b.pem", source / ".b")
    shutil.move(source / "a.pem", source / ".a")
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    with edge(haproxy, state, port) as (_, runtime):
        assert shown(port, "a.example.com") == "TLSV1_UNRECOGNIZED_NAME"

        shutil.move(source / ".b", source / "b.pem")
        shutil.move(source / ".a", source / "a.pem")
        assert certificates.look(NOW)
        brought = certificates.bring(runtime, NOW)
        assert (brought.added, brought.removed, brought.needs_reload) == (2, 0, False)
        assert shown(port, "a.example.com") == shown(port, "www.a.example.com") == public(pems["a"])
        assert shown(port, "b.example.com") == public(pems["b"])
        assert shown(port, "c.example.com") == "TLSV1_UNRECOGNIZED_NAME"

        (source / "a.pem").write_text(pems["renewed"])
        (source / "b.pem").unlink()
        assert certificates.look(NOW)
        brought = certificates.bring(runtime, NOW)
        assert (brought.added, brought.removed) == (1, 2)
        assert shown(port, "a.example.com") == public(pems["renewed"])
        assert shown(port, "b.example.com") == "TLSV1_UNRECOGNIZED_NAME"
        assert held(runtime).count(".pem") == 1, "nothing is left behind"
        again = certificates.bring(runtime, NOW)
        assert (again.added, again.removed) == (0, 0)
    with edge(haproxy, state, port):
        assert shown(port, "a.example.com") == public(pems["renewed"])
        assert shown(port, "b.example.com") == "TLSV1_UNRECOGNIZED_NAME"


def test_renewals_fail_no_handshake(haproxy: str, source: Path, state: Path, pems: Mapping[str, str]) -> None:
    port = free_port()
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    seen: list[str] = []
    ended = threading.Event()

    def shop() -> None:
        while not ended.is_set():
            seen.append(shown(port, "a.example.com"))

    with edge(haproxy, state, port) as (_, runtime):
        threads = [threading.Thread(target=shop) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number in range(20):
                (source / "a.pem").write_text(pems["a" if number % 2 else "renewed"])
                assert certificates.look(NOW)
                assert certificates.bring(runtime, NOW).added == 1
                wanted = len(seen) + 2
                while len(seen) < wanted:
                    ended.wait(0.005)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
    assert set(seen) == {public(pems["a"]), public(pems["renewed"])}


class KilledError(Exception):
    """The agent's end."""


class Dying(Runtime):
    """A runtime API whose user is killed after some commands."""

    commands = 0
    last = -1

    def ask(self, command: str, payload: Any = ()) -> str:
        if self.commands == self.last:
            raise KilledError
        self.commands += 1
        return super().ask(command, payload)


def test_an_agent_that_is_killed_at_any_command_leaves_nothing_that_the_next_one_does_not_finish(
    haproxy: str, source: Path, state: Path, pems: Mapping[str, str]
) -> None:
    port = free_port()
    Certificates(state, [Folder(source)]).look(NOW)
    with edge(haproxy, state, port) as (_, runtime):
        for last in range(30):
            (source / "a.pem").write_text(pems["a" if last % 2 else "renewed"])
            dying = Dying(runtime.path)
            dying.last = last
            killed = Certificates(state, [Folder(source)])
            killed.look(NOW)
            try:
                killed.bring(dying, NOW)
            except KilledError:
                assert shown(port, "a.example.com") in {public(pems["a"]), public(pems["renewed"])}
            else:
                assert last > 5
                break
            restarted = Certificates(state, [Folder(source)])
            restarted.look(NOW)
            restarted.bring(runtime, NOW)
            assert shown(port, "a.example.com") == public(pems["a" if last % 2 else "renewed"])
            assert held(runtime).count(".pem") == 2
        else:
            raise AssertionError("it never came to an end")


def test_what_haproxy_refuses_makes_way_for_the_one_before_it(
    haproxy: str, source: Path, state: Path, pems: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    mark = "-----BEGIN PRIVATE KEY-----"
    mixed = pems["renewed"].partition(mark)[0] + mark + pems["b"].partition(mark)[2]
    with edge(haproxy, state, port) as (_, runtime):
        with monkeypatch.context() as patch:
            # As if OpenSSL had let it pass.
            patch.setattr("shopset.edge_agent.certificates._check", lambda *_: None)
            (source / "a.pem").write_text(mixed)
            (source / "c.pem").write_text(pems["c"])
            assert certificates.look(NOW)
        brought = certificates.bring(runtime, NOW)
        assert (brought.added, brought.removed) == (1, 0)
        assert shown(port, "a.example.com") == public(pems["a"])
        assert shown(port, "c.example.com") == public(pems["c"])
        assert not certificates.look(NOW)
        assert "HAProxy refuses it" in told(certificates)["a", "Refused"]
        assert held(runtime).count(".pem") == 3
    with edge(haproxy, state, port):
        assert shown(port, "a.example.com") == public(pems["a"])


def test_what_is_too_large_for_the_runtime_api_takes_a_reload_and_loses_nothing_until_then(
    haproxy: str, source: Path, state: Path, pems: Mapping[str, str]
) -> None:
    port = free_port()
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    chain = "".join(
        certificate(f"{number}.example.net").partition("-----BEGIN PRIVATE KEY-----")[0] for number in range(20)
    )
    with edge(haproxy, state, port) as (_, runtime):
        (source / "a.pem").write_text(pems["renewed"] + chain)
        (source / "c.pem").write_text(pems["c"])
        assert certificates.look(NOW)
        brought = certificates.bring(runtime, NOW)
        assert brought.needs_reload
        assert brought.added == 1
        assert shown(port, "a.example.com") == public(pems["a"])
    with edge(haproxy, state, port) as (_, runtime):
        assert shown(port, "a.example.com") == public(pems["renewed"])
        assert not certificates.bring(runtime, NOW).needs_reload


def test_very_many_take_a_reload(source: Path, state: Path) -> None:
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    (state / LIST).write_text("".join(f"{state}/{number}.pem\n" for number in range(AT_ONCE + 1)))

    class Empty(Runtime):
        def ask(self, command: str, payload: Any = ()) -> str:  # noqa: ARG002
            return f"# {state / LIST}\n"

    assert certificates.bring(Empty(state), NOW).needs_reload


def test_an_haproxy_without_tls_or_none_is_told(haproxy: str, source: Path, state: Path) -> None:
    certificates = Certificates(state, [Folder(source)])
    certificates.look(NOW)
    with edge(haproxy, state, free_port()) as (_, runtime):
        elsewhere = Certificates(state.with_name("elsewhere"), [Folder(source)])
        elsewhere.look(NOW)
        with pytest.raises(RuntimeApiError, match="show ssl crt-list"):
            elsewhere.bring(runtime, NOW)
    with pytest.raises(HaproxyAwayError):
        certificates.bring(runtime, NOW)


def test_no_key_is_ever_told(source: Path, state: Path, pems: Mapping[str, str]) -> None:
    key = pems["a"].partition("-----BEGIN PRIVATE KEY-----")[2]
    damages: list[Callable[[str], str]] = [
        lambda pem: pem.replace(key[:30], "!" + key[1:30]),
        lambda pem: pem.replace("BEGIN CERT", "BEGIN KERT"),
        lambda pem: pem + pems["b"],
    ]
    for damage in damages:
        (source / "a.pem").write_text(damage(pems["a"]))
        certificates = Certificates(state, [Folder(source)])
        certificates.look(NOW)
        assert certificates.counts()["refused"] == 1
        assert not [each for each in certificates.remarks() if key[5:25] in each.message]
    with pytest.raises(CertificateError) as caught:
        bundle(damages[0](pems["a"]).encode())
    assert key[5:25] not in repr(caught.value)
