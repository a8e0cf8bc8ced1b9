"""Clones of a tier branch with a submodule, on real git."""

import os
import shutil
from pathlib import Path

import pytest

from shopset.directory.checkouts import CheckoutError, Checkouts, Git, Heads
from support.worlds import ENVIRONMENT, git

GIT = Git(ENVIRONMENT, 30)


class Remote:
    """A repository `system` with the submodule `base`."""

    def __init__(self, folder: Path) -> None:
        self.base, self.system = folder / "base", folder / "system"
        for repository in (self.base, self.system):
            git("init", "--quiet", "--initial-branch=tier-0", str(repository))
        self.commit(self.base, "a.yaml", "1")
        git("submodule", "--quiet", "add", "../base", "base", folder=self.system)
        self.head = self.release("1")

    @property
    def url(self) -> str:
        return str(self.system)

    def commit(self, repository: Path, file: str, text: str) -> str:
        (repository / file).parent.mkdir(parents=True, exist_ok=True)
        (repository / file).write_text(text)
        git("add", "--all", folder=repository)
        git("commit", "--quiet", "--message", "a change", folder=repository)
        return git("rev-parse", "HEAD", folder=repository)

    def release(self, text: str) -> str:
        pinned = self.commit(self.base, "a.yaml", f"release {text}")
        git("-C", "base", "fetch", "--quiet", folder=self.system)
        git("-C", "base", "checkout", "--quiet", pinned, folder=self.system)
        self.head = self.commit(self.system, "overlays/a-1/kustomization.yaml", text)
        return self.head


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    (tmp_path / "remote").mkdir()
    return Remote(tmp_path / "remote")


@pytest.fixture
def checkouts(tmp_path: Path) -> Checkouts:
    return Checkouts(tmp_path / "checkouts", GIT)


def test_a_tree_has_its_submodule_and_says_what_it_holds(remote: Remote, checkouts: Checkouts) -> None:
    tree = checkouts.at(remote.url, "tier-0", remote.head)
    assert (tree.folder / "base" / "a.yaml").read_text() == "release 1"
    assert tree.gitlinks == {"base": git("rev-parse", "HEAD", folder=remote.base)}
    assert tree.overlays == {"a-1": git("rev-parse", "HEAD:overlays/a-1", folder=remote.system)}


def test_a_clone_follows_its_branch_there_and_back(remote: Remote, checkouts: Checkouts) -> None:
    first, second = remote.head, remote.release("2")
    for commit, text in ((first, "1"), (second, "2"), (first, "1")):
        tree = checkouts.at(remote.url, "tier-0", commit)
        assert (tree.folder / "base" / "a.yaml").read_text() == f"release {text}"
        assert (tree.folder / "overlays" / "a-1" / "kustomization.yaml").read_text() == text


def test_nothing_is_asked_of_a_repository_where_nothing_changed(remote: Remote, checkouts: Checkouts) -> None:
    tree = checkouts.at(remote.url, "tier-0", remote.head)
    shutil.rmtree(remote.system)
    assert Checkouts(checkouts.folder, GIT).at(remote.url, "tier-0", remote.head) == tree


@pytest.mark.parametrize("damage", ["lock", "head", "objects", "stray", "stamp"])
def test_a_clone_that_was_killed_is_mended(remote: Remote, checkouts: Checkouts, damage: str) -> None:
    clone = checkouts.at(remote.url, "tier-0", remote.head).folder
    if damage == "lock":
        (clone / ".git" / "index.lock").touch()
    elif damage == "head":
        (clone / ".git" / "HEAD").unlink()
    elif damage == "objects":
        shutil.rmtree(clone / ".git" / "objects")
    elif damage == "stray":
        (clone / "overlays" / "a-1" / "stray.yaml").touch()
    else:
        (clone / ".shopset-commit").write_bytes(b"\xff")
    tree = checkouts.at(remote.url, "tier-0", remote.release("2"))
    assert (tree.folder / "base" / "a.yaml").read_text() == "release 2"
    assert [path.name for path in (tree.folder / "overlays" / "a-1").iterdir()] == ["kustomization.yaml"]


def test_a_rewritten_branch_is_followed(remote: Remote, checkouts: Checkouts) -> None:
    checkouts.at(remote.url, "tier-0", remote.head)
    git("commit", "--quiet", "--amend", "--message", "rewritten", folder=remote.system)
    rewritten = git("rev-parse", "HEAD", folder=remote.system)
    assert checkouts.at(remote.url, "tier-0", rewritten).overlays.keys() == {"a-1"}


def test_what_is_not_there_is_told_in_one_line(remote: Remote, checkouts: Checkouts) -> None:
    heads = Heads(GIT)
    assert heads.of(remote.url, "tier-0") == remote.head
    with pytest.raises(CheckoutError, match="there is no branch tier-9"):
        heads.of(remote.url, "tier-9")
    with pytest.raises(CheckoutError):
        checkouts.at(remote.url, "tier-0", "0" * 40)


def test_a_repository_is_asked_once(remote: Remote) -> None:
    heads = Heads(GIT)
    first = heads.of(remote.url, "tier-0")
    remote.release("2")
    assert heads.of(remote.url, "tier-0") == first
    assert Heads(GIT).of(remote.url, "tier-0") == remote.head


def test_a_url_is_never_an_option(tmp_path: Path) -> None:
    with pytest.raises(CheckoutError):
        Heads(GIT).of(f"--upload-pack=touch {tmp_path}/ran", "tier-0")
    assert not (tmp_path / "ran").exists()


def test_git_that_hangs_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nsleep 300 &\nwait\n")
    (tmp_path / "git").chmod(0o755)
    hanging = Git({**ENVIRONMENT, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, 0.5)
    with pytest.raises(CheckoutError, match=r"git ls-remote took longer than 0\.5 s"):
        Heads(hanging).of("/nowhere", "tier-0")
