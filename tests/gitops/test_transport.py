"""Running git: whatever the user's settings and surroundings are, bounded, and leaving nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from shopset.core.release.observed import Repository
from shopset.gitops import LocalGitError, UnreachableError
from shopset.gitops.transport import Runner, last_words
from support.git import BRANCHES, ledger, push, remotes, source_commit, tier
from support.worlds import ENVIRONMENT, git


def executable(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def configured(parent: Path, text: str) -> dict[str, str]:
    (parent / "gitconfig").write_text(text)
    return {**ENVIRONMENT, "GIT_CONFIG_GLOBAL": str(parent / "gitconfig")}


def ended(pid: int) -> None:
    """Wait for a process to be no more, or a zombie that nobody has asked for yet."""
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    message = f"{pid} still runs"
    raise AssertionError(message)


def test_what_a_user_has_git_do_everywhere_else_does_no_harm_here(parent: Path) -> None:
    (parent / "hooks").mkdir()
    executable(parent / "hooks" / "pre-push", "exit 1")
    environment = configured(
        parent,
        f"""
        [safe]
            bareRepository = explicit
        [core]
            hooksPath = {parent}/hooks
        [push]
            recurseSubmodules = only
            followTags = true
            gpgSign = true
        [submodule]
            recurse = true
        [fetch]
            recurseSubmodules = true
        [commit]
            gpgSign = true
        """,
    )
    it = remotes(parent, environment=environment)
    made = it.push_commits(push(tier(None), ledger(None)), {})
    git("--git-dir", str(parent / "shopset-system.git"), "branch", "other", "ledger")
    seen = it.observe(BRANCHES)
    assert [each.trouble for each in seen.repositories.values()] == [None] * 3
    assert seen.tiers["dev"].head == made["tier-0"]


def test_a_repository_around_us_does_not_take_the_place_of_ours(parent: Path) -> None:
    foreign = parent / "foreign"
    git("init", "--quiet", str(foreign))
    variables = {"GIT_DIR": str(foreign / ".git"), "GIT_WORK_TREE": str(foreign), "GIT_NAMESPACE": "x"}
    it = remotes(parent, environment={**ENVIRONMENT, **variables})
    it.push_commits(push(tier(None)), {})
    assert it.observe(BRANCHES).tiers["dev"].trouble is None
    assert git("for-each-ref", folder=foreign) == ""


@pytest.mark.parametrize("how", ["core.sshCommand", "GIT_SSH_COMMAND", "GIT_SSH"])
def test_the_ssh_that_a_user_has_chosen_is_used(parent: Path, how: str) -> None:
    chosen = executable(parent / "my-ssh", f"touch {parent}/used; exit 1")
    environment = dict(ENVIRONMENT) | {how: str(chosen)}
    if how == "core.sshCommand":
        environment = configured(parent, f"[core]\n\tsshCommand = {chosen}\n")
    seen = remotes(parent, environment=environment, apps="ssh://git.example.com/shopset-apps.git").observe(BRANCHES)
    assert seen.repositories[Repository.APPS].trouble is not None
    assert (parent / "used").exists()


def test_where_there_is_no_git_it_is_said(parent: Path) -> None:
    source_commit(parent, "apps", {"x": "1"})
    it = remotes(parent, environment={"PATH": "/nonexistent"})
    trouble = it.observe(BRANCHES).repositories[Repository.APPS].trouble
    assert trouble is not None
    assert "git cannot be started" in trouble.message
    with pytest.raises(LocalGitError, match="git cannot be started"):
        it.push_commits(push(tier(None)), {})


def test_what_git_started_ends_with_it_even_where_a_child_keeps_the_pipe(parent: Path) -> None:
    ssh = executable(parent / "ssh", f"echo $$ > {parent}/pid; setsid sleep 20 & exec sleep 20")
    runner = Runner({**ENVIRONMENT, "GIT_SSH": str(ssh)}, timeout=1)
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="stopped after 1 s"):
        runner.run(["ls-remote", "--", "ssh://git.example.com/x.git"])
    assert time.monotonic() - started < 10
    ended(int((parent / "pid").read_text()))


def test_an_interrupt_ends_git_too(parent: Path) -> None:
    ssh = executable(parent / "ssh", f"echo $$ > {parent}/pid.new; mv {parent}/pid.new {parent}/pid; exec sleep 20")
    program = textwrap.dedent(f"""
        from shopset.gitops.transport import Runner
        Runner({{"PATH": {os.environ["PATH"]!r}, "GIT_SSH": {str(ssh)!r}}}, 20).run(["ls-remote", "ssh://h/x.git"])
    """)
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as process:
        while not (parent / "pid").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
    ended(int((parent / "pid").read_text()))


def test_words_are_the_last_of_what_was_said_without_credentials_and_frames() -> None:
    said = (
        b"To https://me:hunter2@x/y\nremote: one\nremote:\nhint: two\nfatal: three https://me:hunter2@x/y.git.\nDone\n"
    )
    words = last_words(said)
    assert "hunter2" not in words
    assert words.startswith("one; fatal: three https://")
