"""A full disk and a read-only folder: told in one line, nothing half written, and everything goes on afterwards."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pygit2
import pytest

import shopset.cli.failures
import shopset.cli.planning
from shopset.cli import exits, main
from shopset.manifests import find_kustomize
from support.worlds import COPIES, ENVIRONMENT, World, git

assert shopset.cli.planning
assert shopset.cli.failures  # imported before a child becomes a user who may not read this installation

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk and become somebody else")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def shopctl(
    world: World, *words: str, cache: Path | None = None, prepare: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Run shopctl in a child of this process, so that it can be another user."""
    said = world.folder / "said"
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = said.open("w")
        os.environ.update(
            ENVIRONMENT, SHOPSET_FLEET=str(world.folder / "fleet"), SHOPSET_CACHE=str(cache or world.folder / "cache")
        )
        code = 99
        try:
            prepare()
            main(list(words))
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    text = said.read_text()
    assert "Traceback" not in text
    return os.waitstatus_to_exitcode(status), text


def become_nobody() -> None:
    os.setgid(65534)
    os.setuid(65534)
    os.environ["HOME"] = "/nonexistent"
    pygit2.settings.search_path[pygit2.enums.ConfigLevel.GLOBAL] = "/nonexistent"


def refs(world: World) -> str:
    return "".join(git("for-each-ref", folder=world.repository(name)) for name in ("system", "apps", "configuration"))


def test_a_full_disk_under_the_system_repository(tmp_path: Path, small_disk: Path) -> None:
    world = World(tmp_path, {"dev": ()}, COPIES[:1])
    world.climb("dev")
    moved = world.repository("system").rename(tmp_path / "moved.git")
    subprocess.run(["cp", "-r", str(moved), str(small_disk / "system.git")], check=True)
    world.repository("system").symlink_to(small_disk / "system.git")
    world.annotate(release="2")
    filler, before = fill(small_disk), git("for-each-ref", folder=world.repository("system"))
    code, said = shopctl(world, "apply", "--yes")
    assert code in (exits.REFUSED, exits.UNREACHABLE, exits.FAILURE), said
    assert "error: dev takes" in said
    assert git("for-each-ref", folder=world.repository("system")) == before
    git("fsck", "--connectivity-only", folder=world.repository("system"))
    filler.unlink()
    assert shopctl(world, "apply", "--yes")[0] == exits.OK
    assert "dev takes" in git("log", "-1", "--format=%s", "tier-0", folder=world.repository("system"))


def test_a_full_disk_under_the_cache(tmp_path: Path, small_disk: Path) -> None:
    world = World(tmp_path, {"dev": ()}, COPIES[:1])
    before = refs(world)
    filler = fill(small_disk)
    code, said = shopctl(world, "apply", "--yes", cache=small_disk / "cache")
    assert code != exits.OK, said
    assert refs(world) == before
    filler.unlink()
    assert shopctl(world, "apply", "--yes", cache=small_disk / "cache")[0] == exits.OK


def test_a_cache_that_another_user_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, {"dev": ()}, COPIES[:1])
    open_to_others(world, monkeypatch)
    before = refs(world)
    code, said = shopctl(world, "apply", "--yes", prepare=become_nobody)
    assert code == exits.UNREACHABLE
    assert "CacheUnusable" in said
    assert refs(world) == before


def test_repositories_that_another_user_may_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, {"dev": ()}, COPIES[:1])
    open_to_others(world, monkeypatch)
    cache = Path(tempfile.mkdtemp())
    cache.chmod(0o777)
    before = refs(world)
    code, said = shopctl(world, "release", "hold", "dev", "--reason", "x", cache=cache / "mine", prepare=become_nobody)
    assert code in (exits.REFUSED, exits.UNREACHABLE)
    assert "error: " in said
    assert refs(world) == before


def test_a_fleet_that_another_user_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, {"dev": ()}, COPIES[:1])
    open_to_others(world, monkeypatch)
    (tmp_path / "fleet" / "tiers.yaml").chmod(0o600)
    code, said = shopctl(world, "validate", prepare=become_nobody)
    assert code == exits.INVALID_FLEET
    assert "tiers.yaml:1:1: the file cannot be read: Permission denied" in said


def open_to_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everybody read, and nobody but root write. Git trusts the repositories of others only where it is told to."""
    for path in world.folder.parents:
        if path.owner() == "root" and path.stat().st_mode & 0o077 == 0:
            path.chmod(0o711)
    subprocess.run(["chmod", "-R", "a+rX", str(world.folder)], check=True)
    world.folder.chmod(0o755)
    configuration = world.folder / "trust"
    configuration.write_text("[safe]\n\tdirectory = *\n")
    # What the set-up built for one user, another may not even see.
    program = shutil.copy(find_kustomize(ENVIRONMENT.get("SHOPSET_KUSTOMIZE"))[0], world.folder / "kustomize")
    monkeypatch.setitem(ENVIRONMENT, "GIT_CONFIG_GLOBAL", str(configuration))
    monkeypatch.setitem(ENVIRONMENT, "SHOPSET_KUSTOMIZE", str(program))
