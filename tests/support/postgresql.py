"""A PostgreSQL server of Debian's package, on a socket of its own, without durability."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from testbed.processes import Part, Processes, StartError, wait_for
from testbed.programs import program

_SETTINGS = {"listen_addresses": "", "fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


@dataclass(frozen=True)
class Server:
    """A running server. `folder` is as a mounted Secret with the connection of its owner."""

    folder: Path
    home: Path
    password: str
    processes: Processes
    part: Part

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self.processes.start(self.part)
        wait_for("PostgreSQL", lambda: _answers(self), lambda: self.processes.check(self.part.name))

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let there be no server while the block runs."""
        self.processes.stop()
        try:
            yield
        finally:
            self.start()

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect((self.folder / "uri").read_text(), autocommit=True)

    def execute(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def secret_of(self, user: str, password: str) -> Path:
        """Return a mounted Secret with the connection of another user, a key each."""
        folder = self.home / f"secret-{user}-{secrets.token_hex(4)}"
        folder.mkdir()
        keys = {"PGHOST": str(self.home), "PGUSER": user, "PGPASSWORD": password, "PGDATABASE": "postgres"}
        for key, value in keys.items():
            (folder / key).write_text(value)
        return folder


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run a server; it ends with the block."""
    # Not in a test's folder: paths of sockets are short, and another user has to get there.
    home = Path(tempfile.mkdtemp(prefix="shopset-pg-", dir=_open_folder()))
    home.chmod(0o755)
    binaries, owner = _binaries(), _owner()
    password = secrets.token_hex(12)
    processes = Processes(home / "logs")
    try:
        (home / "password").write_text(password)
        folder = home / "secret"
        folder.mkdir()
        (folder / "uri").write_text(f"postgresql://owner:{password}@/postgres?host={home}")
        if owner:
            shutil.chown(home, "nobody")
        options = ["-U", "owner", "-N", "-E", "UTF8", "--locale=C", "--auth=scram-sha-256"]
        initdb = [*owner, str(binaries / "initdb"), "-D", str(home / "data"), f"--pwfile={home / 'password'}", *options]
        subprocess.run(initdb, check=True, capture_output=True, cwd=home)
        settings = [f"--{key}={value}" for key, value in {**_SETTINGS, "unix_socket_directories": str(home)}.items()]
        command = [*owner, "--pdeathsig", "KILL"] if owner else []
        command += [str(binaries / "postgres"), "-D", str(home / "data"), *settings]
        server = Server(folder, home, password, processes, Part("postgresql", command, folder=home))
        server.start()
        yield server
    finally:
        processes.stop()
        shutil.rmtree(home, ignore_errors=True)


def _open_folder() -> Path:
    """Return the folder for temporary files, or that above it in which every user may make some."""
    folder = Path(tempfile.gettempdir())
    return next(each for each in (folder, *folder.parents) if each.stat().st_mode & 0o007 == 0o007)


def _answers(server: Server) -> bool:
    try:
        server.connect().close()
    except psycopg.OperationalError:
        return False
    return True


def _binaries() -> Path:
    """Return where the newest server's programs are."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not found:
        message = "there is no PostgreSQL server: apt-get install postgresql"
        raise StartError(message)
    return max(found, key=lambda path: int(path.parent.name))


def _owner() -> list[str]:
    """Return what a command begins with to run as a user that PostgreSQL allows: it never runs as root."""
    if os.getuid() != 0:
        return []
    return [program("setpriv"), "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
