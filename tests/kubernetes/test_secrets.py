"""Credentials are used, and rotated while the controller runs, and nowhere to be found but in their files."""

import base64
import secrets
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.histories import check_history
from support.kubernetes import KubernetesWorld
from support.leaks import told
from support.servers import Request, respond, serving
from testbed.gitserver import set_passwords
from testbed.programs import free_ports
from testbed.records import USERS


@dataclass
class Guard:
    """Stands before a Prometheus, and lets in who shows the token."""

    prometheus: str
    token: str = ""
    let_in: int = 0

    def answer(self, request: Request) -> None:
        if request.headers["Authorization"] != f"Bearer {self.token}":
            respond(request, 401, b"{}")
            return
        self.let_in += 1
        passed_on = urllib.request.Request(self.prometheus + request.path, request.body or None)  # noqa: S310  # the bed's own
        with urllib.request.urlopen(passed_on, timeout=30) as response:  # noqa: S310
            respond(request, response.status, response.read())


def test_credentials_are_rotated_and_never_told(small: KubernetesWorld) -> None:
    (port,) = free_ports(1)
    folder = small.folder / "secrets"
    words: list[str] = []
    guard = Guard(small.bed.prometheus)
    with serving(guard.answer) as prometheus:

        def rotate_git() -> None:
            words.append(secrets.token_hex(16))
            set_passwords(small.bed.home, {**USERS, small.name: words[-1]})

        def rotate_token() -> None:
            words.append(secrets.token_hex(16))
            guard.token = words[-1]
            (folder / "metrics").mkdir(parents=True, exist_ok=True)
            (folder / "metrics" / "token").write_text(guard.token)

        rotate_git()
        (small.credentials / "username").write_text(small.name)
        (small.credentials / "password").write_text(words[-1])
        rotate_token()
        small.platform = {"monitoring": {"prometheus": {"url": prometheus, "secret": "metrics"}, "timeout": "20s"}}
        small.tiers = {**small.tiers, "dev": ("gates: [{name: nothing, query: {expr: vector(0), threshold: 1.0}}]",)}
        small.apply()
        controller = small.start("controller", f"--metrics-port={port}", f"--secrets={folder}", "--poll=1")
        with looking_at(controller.process.pid) as processes:
            first = small.head("apps")
            small.wait("prod verifies the first", lambda: small.verified("prod", first))
            let_in = guard.let_in
            assert let_in

            rotate_git()
            small.wait("git refuses the old password", lambda: platform_ready(small) == "False")
            (small.credentials / "password").write_text(words[-1])
            rotate_token()
            small.wait("git takes the new one", lambda: platform_ready(small) == "True")
            second = small.release("2")
            small.wait("prod verifies the second", lambda: small.verified("prod", second))
            assert guard.let_in > let_in
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
                metrics = response.read()
    found = {"processes": b"\n".join(processes), "/metrics": metrics, **told(small)}
    check_history(small)
    expected = {"processes": b"git-remote-http", "/metrics": b"shopset_rounds_total", "controller.log": b"a round took"}
    expected |= {
        "objects": b"RepositoryUnreadable",
        "applications": b"tier-1",
        "shopset-system.git": b"kind: Promotion",
    }
    for place, text in expected.items():
        assert text in found[place], f"{place} was not looked at"
    for place, content in found.items():
        for word in words:
            assert not [form for form in forms(small.name, word) if form in content], f"{place} tells a credential"


@contextmanager
def looking_at(root: int) -> Iterator[set[bytes]]:
    """Gather the arguments and variables of a process and of all that it starts, as often as possible."""
    found: set[bytes] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            for pid in family(root):
                with suppress(OSError):
                    found.update(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def family(root: int) -> set[int]:
    """Return a process with all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    more = {root}
    while more:
        found |= more
        more = {pid for pid, parent in parents.items() if parent in more}
    return found


def forms(user: str, word: str) -> Iterator[bytes]:
    """Yield a password or a token as it is, and as HTTP has it."""
    yield word.encode()
    yield base64.b64encode(f"{user}:{word}".encode())


def platform_ready(world: KubernetesWorld) -> str:
    return str(world.condition("platform", world.name, "Ready").get("status"))
