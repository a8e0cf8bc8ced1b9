"""The demo plays to its end by itself, on its own platform and on anybody's."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shopset.cli.demo.annotating import NoDeploymentError, annotate
from support.worlds import ENVIRONMENT, git

BOUTIQUE = Path(__file__).parents[2].parent / "shared" / "data" / "online-boutique"
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web # the one\n{extra}spec: {{}}\n"


UNSERVED = """
import sys
from pathlib import Path
from shopset.cli.demo.playing import demo
from shopset.cli.settings import from_environment
settings = from_environment(None, None, None, 60.0, no_colour=True)
folder, apps, configuration = map(Path, sys.argv[1:])
sys.exit(demo(settings, folder=folder, apps=apps, configuration=configuration, served=False))
"""
"""The story up to where its shops are placed: what comes after that knows nothing of anybody's trees."""


def play(*words: str) -> str:
    command = [sys.executable, "-W", "error", *words]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trees(folder: Path, branch: str) -> str:
    return git("rev-parse", f"{branch}:base", folder=folder / "git" / "shopset-system.git")


def check_releases(folder: Path, told: str) -> None:
    for words in (
        "beta rejects",
        "untouched",
        "goes back",
        "resumes beta",
        "release 3 is verified on prod",
        "300 shops are served",
        "audit trail",
    ):
        assert words in told
    assert len({trees(folder, f"tier-{level}") for level in range(4)}) == 1
    assert "refs/tags/shopset/" in git("for-each-ref", folder=folder / "git" / "shopset-apps.git")


def check_shops(folder: Path, told: str) -> None:
    for words in (
        "a shopper of hoge.shop-pro.jp gets",
        "shops with another replica: ",
        "shops are down, foo among them",
        "cluster lost a",
        "all shops are served again",
        "release 4 is verified on prod",
        "told to wait (429)",
        "cluster drain a --for-upgrade v1.37.0",
        "shop isolate hoge",
        "Losing cluster b",
        "shoppers, all in all",
    ):
        assert words in told
    for moment in (
        "the first seconds",
        "while release 4 climbed",
        "while shops went home",
        "emptied, upgraded and filled",
    ):
        assert re.search(rf"{moment}.*: [1-9]\d* requests; served by .*failed 0 of \d+ GET, 0 of \d+ POST", told), (
            moment
        )
    port = re.search(r"HAProxy listens on 127\.0\.0\.1:(\d+)", told)
    assert port is not None
    with socket.socket() as asking:
        assert asking.connect_ex(("127.0.0.1", int(port[1]))) != 0, "the edge is still there"
    assert (folder / "edge" / "haproxy.cfg").exists()
    frames = re.findall(r"^  a  (\w+|no answer) +a-2  \[.{20}\] +(?:-|\d+%) +(\d+) shops", told, re.MULTILINE)
    states = [state for state, _ in frames]
    assert states == ["Active", "Active", "no answer", "Lost", "Active", "Upgrading", "Active", "Active"], told
    assert [number == "0" for _, number in frames] == [state in ("Lost", "Upgrading") for state in states]


@pytest.mark.long
@pytest.mark.judges_requests
def test_the_demo_plays_on_its_own_platform(tmp_path: Path) -> None:
    told = play("-m", "shopset.cli", "demo", "--dir", str(tmp_path / "demo"))
    check_releases(tmp_path / "demo", told)
    check_shops(tmp_path / "demo", told)


@pytest.mark.long
@pytest.mark.judges_requests
@pytest.mark.skipif(not BOUTIQUE.exists(), reason="the real input lies beside the project only where it is developed")
def test_the_demo_plays_on_a_platform_that_other_people_wrote(tmp_path: Path) -> None:
    told = play("-c", UNSERVED, str(tmp_path / "demo"), str(BOUTIQUE / "base"), str(BOUTIQUE / "components"))
    check_releases(tmp_path / "demo", told)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    command = [sys.executable, "-m", "shopset.cli", "demo", "--dir", str(tmp_path)]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert (done.returncode, "is not empty" in done.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "  labels: {a: b}\n",
        "  annotations:\n    note: x\n",
        "  annotations:\n    demo.shopset.dev/release: '1'\n    note: x\n",
    ],
)
@given(value=st.text("abc 0-9.", max_size=9))
def test_annotating_changes_nothing_else(extra: str, value: str) -> None:
    before = f"# a list of two\n{DEPLOYMENT.format(extra=extra)}---\n{DEPLOYMENT.format(extra='')}"
    once = annotate(before, {"release": "2", "degraded": value})
    documents = list(yaml.safe_load_all(once))
    annotations = documents[0]["metadata"].pop("annotations")
    assert annotations.pop("demo.shopset.dev/release") == "2"
    assert annotations.pop("demo.shopset.dev/degraded") == value
    expected = list(yaml.safe_load_all(before))
    kept = expected[0]["metadata"].pop("annotations", {})
    kept.pop("demo.shopset.dev/release", None)
    assert (annotations, documents) == (kept, expected)
    assert "# the one" in once
    assert annotate(once, {"release": "2", "degraded": value}) == once


def test_annotations_in_braces_are_refused() -> None:
    with pytest.raises(NoDeploymentError, match="braces"):
        annotate(DEPLOYMENT.format(extra="  annotations: {a: b}\n"), {"release": "2"})
