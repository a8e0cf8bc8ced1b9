"""shopctl where repositories cannot be read: what is in them is told as unknown, with the cause, and never as nothing."""

import json
from pathlib import Path

import pytest

from shopset.cli import exits
from shopset.cli.scaffolding import EXAMPLE, Copy, Layout, make_repositories, write_fleet
from support.shopctl import YAMADA, Said, run, settle_in
from support.worlds import ENVIRONMENT

AGENT = ("--agent", "http://127.0.0.1:1")
VERBS = (
    "get tiers",
    "get shopsets",
    "get clusters",
    "get releases",
    "get pins -o json",
    "get holds",
    "describe tier prod",
    "release status",
    "release explain beef",
    "release history",
    "release diff",
    "release watch",
    "shop list",
    "shop where hoge",
    "shop where hoge --at 3h",
    "shop explain hoge",
    "cluster list",
    "cluster drain a -m x --dry-run",
    "capacity",
    "simulate --demand x2",
    "edge where hoge.example.com",
    "edge config",
    f"edge status {' '.join(AGENT)}",
    f"edge diff {' '.join(AGENT)}",
    "plan",
    "apply --yes",
    "run --once",
)
LIES = (
    "Unpinned",
    "Reachable",
    " found.",
    "No tier",
    "Nothing was released",
    "nothing is offered",
    "no shop",
    "no revision",
    "no pin",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet with shops of which nothing was ever seen."""
    folder = tmp_path_factory.mktemp("unseen")
    (folder / "git").mkdir()
    make_repositories(folder / "git", EXAMPLE / "apps", EXAMPLE / "configuration", ENVIRONMENT)
    layout = Layout(
        parent=str(folder / "git"),
        clusters=str(folder / "clusters"),
        tiers={"prod": ()},
        configurations=("production",),
        topology={"a": {"provider": "own"}},
        copies=(Copy("a-1", "prod", "production", "a"),),
        classes={"standard": ["tier: prod", "configuration: production"]},
    )
    write_fleet(folder / "fleet", layout)
    return folder


@pytest.fixture(autouse=True)
def settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not even root can write there.
    settle_in(monkeypatch, folder / "fleet", Path("/proc/nowhere"))


def shopctl(capfd: pytest.CaptureFixture[str], *words: str) -> Said:
    return run(capfd, *words, "--as", YAMADA)


@pytest.mark.parametrize("words", VERBS)
def test_what_cannot_be_read_is_no_answer(capfd: pytest.CaptureFixture[str], words: str) -> None:
    code, out, err = shopctl(capfd, *words.split())
    assert code == exits.UNREACHABLE, out + err
    assert "system" in err
    assert "the cache /proc/nowhere/git cannot be written" in err
    assert not [lie for lie in LIES if lie in out + err]


def test_what_the_fleet_says_is_shown_all_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, _ = shopctl(capfd, "get", "shopset", "a-1", "-o", "json")
    found = json.loads(out)
    assert (found["spec"]["cluster"], found["status"]["revision"]) == ("a", "Unknown")
    assert shopctl(capfd, "get", "configurations")[::2] == (exits.OK, "")


def test_what_is_offered_is_unknown_where_only_that_is_away(
    capfd: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHOPSET_CACHE", str(tmp_path))
    apps = folder / "git" / "shopset-apps.git"
    away = apps.rename(tmp_path / "away")
    try:
        code, out, err = shopctl(capfd, "release", "status")
        assert (code, out) == (exits.UNREACHABLE, "Nothing was released yet, and what is offered cannot be seen.\n")
        assert err.startswith("error: nothing is seen of the apps repository: shopset-apps cannot be read: ")
        assert shopctl(capfd, "release", "diff")[:2] == (exits.UNREACHABLE, "")
        assert shopctl(capfd, "get", "pins") == (exits.OK, "No pins found.\n", "")
    finally:
        away.rename(apps)
