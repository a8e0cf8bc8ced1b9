"""`scripts/demo --kubernetes` in its own words: what it prints, and what it leaves behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.kubernetes import ROOT


def play(**environment: str) -> subprocess.CompletedProcess[str]:
    """Play it with a bed of its own, which ends with it."""
    return subprocess.run(
        [sys.executable, "-m", "testbed.demo"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


@pytest.mark.long
@pytest.mark.judges_requests
@pytest.mark.timeout(420)
def test_the_story_is_played_to_its_end() -> None:
    done = play()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "\x1b" not in done.stdout
    story = [line.partition(" ")[2] for line in reversed(done.stdout.splitlines()) if re.match("[0-9a-f]{7} ", line)]
    tiers = {tier: [line for line in story if f" {tier} " in f" {line} "] for tier in ("dev", "beta", "prod")}
    bad = next(line for line in story if "rejects" in line).split()[2].rstrip(":")
    assert any(line.startswith("dev takes") and bad in line for line in story)
    assert not any(bad in line for tier in ("beta", "prod") for line in tiers[tier]), "the bad release went on"
    held, lifted = (
        next(i for i, line in enumerate(story) if words in line) for words in ("holds beta", "resumes beta")
    )
    assert any(line.startswith("dev verifies") for line in story[held:lifted])
    assert not any(line.startswith("beta takes") for line in story[held:lifted])
    approved = next(i for i, line in enumerate(story) if "approves" in line)
    takes = [i for i, line in enumerate(story) if line.startswith("prod takes")]
    assert len(takes) == 1
    assert takes[0] > approved
    for words in ("cluster a is lost", "cluster a is back", "cluster b is emptied: new disks", "cluster b is back"):
        assert any(words in line for line in story), words
    for moment in ("the first seconds", "since the edge knows it", "while shops went home", "emptied, got its disks"):
        assert re.search(rf"{moment}.*: [1-9]\d* requests; .*failed 0 of \d+ GET, 0 of \d+ POST", done.stdout), moment
    assert re.search(r"shops with another replica: [1-9]\d* requests; .*failed 0 of", done.stdout)
    assert "told to wait (429)" in done.stdout
    home = re.search("cd (.+)", done.stdout)
    assert home is not None
    assert not Path(home[1]).exists(), "its folder is still there"


def test_what_is_missing_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    done = play(PATH="/nowhere", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert "is not on the PATH" in done.stderr
    assert not list(tmp_path.iterdir())
