"""shopctl as a person meets it: what it prints, and its exit codes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from shopset.cli import exits, hoisted
from shopset.cli.reference import verbs
from shopset.gitops import LostRaceError
from shopset.gitops.remotes import Remotes
from support.shopctl import YAMADA, Said, run, settle_in
from support.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, {"dev": (), "beta": ("failureGrace: 1s",), "prod": ("approvals:", "  required: 1")})
    world.climb("beta")
    return world


@pytest.fixture
def shopctl(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> "Shopctl":
    settle_in(monkeypatch, tmp_path / "fleet", tmp_path / "cache")
    return Shopctl(capfd)


class Shopctl:
    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> Said:
        return run(self._capfd, *words, "--as", YAMADA)


class TestLooking:
    def test_get_shopsets_shows_what_runs_where(self, world: World, shopctl: Shopctl) -> None:
        said = shopctl("get", "shopsets")
        heads, *rows = [line.split() for line in said.out.splitlines()]
        assert heads == ["NAME", "TIER", "CONFIGURATION", "CLUSTER", "REVISION", "SYNC", "HEALTH", "SYNCED"]
        assert [row[0] for row in rows] == ["a-1", "b-1", "b-2", "c-1"]
        assert rows[3][5:7] == ["Synced", "Healthy"]
        assert world.plan()[1].tiers["dev"].revision.short == rows[3][4]  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "kind",
        [
            "tiers",
            "t",
            "ss",
            "cl",
            "conf",
            "fd",
            "sc",
            "shops",
            "pf",
            "releases",
            "pins",
            "verified",
            "rejections",
            "approvals",
            "holds",
        ],
    )
    def test_every_kind_can_be_listed_in_every_form(self, world: World, shopctl: Shopctl, kind: str) -> None:
        del world
        for form in ("table", "wide", "name"):
            assert shopctl("get", kind, "-o", form).code == 0
        listed = json.loads(shopctl("get", kind, "-o", "json").out)
        assert yaml.safe_load(shopctl("get", kind, "-o", "yaml").out) == listed

    def test_a_resource_in_json_has_its_spec_and_what_was_observed(self, world: World, shopctl: Shopctl) -> None:
        del world
        found = json.loads(shopctl("get", "tier", "dev", "-o", "json").out)
        assert (found["kind"], found["spec"]["level"], found["status"]["phase"]) == ("Tier", 0, "Verified")

    def test_what_is_not_there_is_told_with_what_is(self, world: World, shopctl: Shopctl) -> None:
        del world
        said = shopctl("get", "tier", "prd")
        assert (said.code, "prod" in said.err) == (exits.FAILURE, True)
        assert "did you mean tiers" in shopctl("get", "teirs").err

    def test_describe_tells_conditions(self, world: World, shopctl: Shopctl) -> None:
        del world
        said = shopctl("describe", "tier", "prod")
        assert "Approved: prod needs 1 approval" in said.out
        said = shopctl("describe", "tier", "dev")
        assert re.search(r"^Phase: +Verified\nIn phase: +\d+\w", said.out, re.MULTILINE)

    def test_status_and_explain_say_what_comes_next(self, world: World, shopctl: Shopctl) -> None:
        revision = next(iter(world.plan()[1].ledger.verified["beta"]))
        assert "shopctl release approve prod" in shopctl("release", "status").out
        said = shopctl("release", "explain", revision[:7], "--tier", "prod")
        assert said.out.startswith(f"prod does not have {revision[:7]} because\n  - prod needs 1 approval")
        assert "dev has" in shopctl("release", "explain", revision).out
        assert shopctl("release", "explain", "beef").code == exits.REFUSED

    def test_diff_shows_the_rendered_manifests_grouped(self, world: World, shopctl: Shopctl) -> None:
        world.annotate(release="2")
        said = shopctl("release", "diff")
        assert "c-1: 1 object changes" in said.out
        assert "+    demo.shopset.dev/release: '2'" in said.out
        assert "a-1, b-2: 8 objects change" in said.out

    def test_history_is_the_ledger(self, world: World, shopctl: Shopctl) -> None:
        del world
        entries = json.loads(shopctl("release", "history", "-o", "json").out)
        assert entries[0]["what"].startswith("beta verifies")
        assert entries[-1]["what"] == "record the tiers: dev, beta, prod"


class TestPlanningAndActing:
    def test_the_exit_code_of_plan_says_whether_there_is_something_to_do(self, world: World, shopctl: Shopctl) -> None:
        assert shopctl("plan").code == exits.OK
        world.annotate(release="2")
        said = shopctl("plan")
        assert said.code == exits.SOMETHING_TO_DO
        assert "dev takes" in said.out
        assert "By hand: shopctl plan --commands" in said.out
        found = json.loads(shopctl("plan", "-o", "json").out)
        assert [action["kind"] for action in found["actions"]] == ["Tag", "Tag", "Pin"]

    def test_commands_print_a_script_and_nothing_else(self, world: World, shopctl: Shopctl) -> None:
        assert shopctl("plan", "--commands").out == ""
        world.annotate(release="2")
        text = shopctl("plan", "--commands").out
        assert text.startswith("set -euo pipefail\n")
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0

    def test_apply_asks_and_writes_nothing_without_a_yes(self, world: World, shopctl: Shopctl) -> None:
        world.annotate(release="2")
        said = shopctl("apply")
        assert said.code == exits.USAGE
        assert "give --yes" in said.err
        assert shopctl("plan").code == exits.SOMETHING_TO_DO
        assert shopctl("apply", "--yes").code == exits.OK
        assert shopctl("plan").code == exits.OK

    def test_run_until_idle_brings_a_release_up(self, world: World, shopctl: Shopctl) -> None:
        commit = world.annotate(release="2")
        assert shopctl("run", "--until-idle", "--interval", "0.2").code == exits.OK
        assert world.plan()[0].outlooks["beta"].pinned.apps == commit  # type: ignore[union-attr]

    def test_release_control(self, world: World, shopctl: Shopctl) -> None:
        revision = next(iter(world.plan()[1].ledger.verified["beta"]))
        shown = shopctl("release", "approve", "prod", revision[:7], "--reason", "tested", "--dry-run")
        assert shown.code == exits.SOMETHING_TO_DO
        assert "git push -q --atomic origin ledger" in shown.out
        for words in (
            ("approve", "prod", revision[:7]),
            ("hold", "prod"),
            ("resume", "prod"),
        ):
            assert "done" in shopctl("release", *words, "--reason", "it is time").out
        assert "Nothing to do" in shopctl("release", "resume", "prod").out
        assert shopctl("release", "rollback", "dev", "-m", "x").code == exits.REFUSED
        assert "Yamada" in shopctl("get", "approvals").out

    def test_a_rollback_goes_back_once(self, world: World, shopctl: Shopctl) -> None:
        world.annotate(release="2")
        before = world.climb("dev")
        world.annotate(release="3")
        world.climb("dev")
        assert shopctl("release", "rollback", "dev", "--reason", "carts are slow").code == exits.OK
        assert [pin.revision for pin in world.plan()[1].ledger.pins["dev"]][3:] == [before]

    def test_who_loses_a_race_waits_longer_each_time(
        self, world: World, shopctl: Shopctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses = list[float]()

        def lose(_: object, *__: object) -> dict[str, str]:
            message = "shopset-system had moved on"
            raise LostRaceError(message, "")

        with monkeypatch.context() as patched:
            patched.setattr(Remotes, "push_commits", lose)
            patched.setattr("shopset.cli.releasing.time", SimpleNamespace(sleep=pauses.append))
            said = shopctl("release", "hold", "dev", "-m", "stop")
        assert (said.code, "Nothing was lost" in said.err) == (exits.LOST_RACE, True)
        assert len(pauses) > 3
        assert pauses == sorted(set(pauses))
        assert not world.plan()[1].ledger.active_holds("dev")


class TestErrors:
    def test_an_invalid_fleet_is_refused_before_anything_is_written(self, world: World, shopctl: Shopctl) -> None:
        (world.folder / "fleet" / "tiers.yaml").write_text("kind: Tier\n")
        before = sorted((world.folder / "git").rglob("*"))
        for words in (
            ("plan",),
            ("apply", "--yes"),
            ("get", "tiers"),
            ("release", "hold", "prod", "-m", "x"),
            ("run", "--once"),
        ):
            said = shopctl(*words)
            assert said.code == exits.INVALID_FLEET
            assert "tiers.yaml:1:1: apiVersion: is missing" in said.err
        assert sorted((world.folder / "git").rglob("*")) == before

    def test_validate_has_the_form_of_a_compiler(self, world: World, shopctl: Shopctl) -> None:
        assert shopctl("validate").out == "0 errors, 0 warnings in 6 files.\n"
        (world.folder / "fleet" / "x.yaml").write_text("kind: Tier\n")
        assert (
            shopctl("validate", str(world.folder / "fleet")).out
            == "1 error, 0 warnings in 7 files. Nothing was written.\n"
        )
        assert len(json.loads(shopctl("validate", "-o", "json").out)["diagnostics"]) == 1

    def test_a_repository_that_is_away_is_a_condition_and_the_rest_is_shown(
        self, world: World, shopctl: Shopctl
    ) -> None:
        world.repository("apps").rename(world.folder / "away")
        said = shopctl("plan")
        assert "RepositoryUnreachable" in said.out
        assert shopctl("get", "shopsets").code == exits.OK

    @pytest.mark.parametrize(
        "words",
        [
            ["gett"],
            ["get"],
            ["plan", "--colour"],
            ["get", "tiers", "-o", "xml"],
            ["get", "teirs"],
            ["release", "status", "-o", "name"],
            ["release", "diff", "-o", "json"],
            ["release", "hold", "prod"],
            ["release", "approve", "p", "x", "-m", "y", "--bake", "5"],
        ],
    )
    def test_wrong_words_are_a_usage_error(self, shopctl: Shopctl, words: Sequence[str]) -> None:
        assert shopctl(*words).code == exits.USAGE

    def test_missing_kustomize_says_what_to_install(
        self, world: World, shopctl: Shopctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del world
        monkeypatch.delenv("SHOPSET_KUSTOMIZE", raising=False)
        git = Path(shutil.which("git") or "")
        monkeypatch.setattr("shutil.which", lambda _: None)
        said = shopctl("plan")
        assert git.exists()
        assert "kustomize is missing: install it" in said.err

    def test_an_unreachable_repository_has_its_exit_code(self, world: World, shopctl: Shopctl) -> None:
        world.repository("apps").rename(world.folder / "away")
        assert shopctl("plan").code == exits.UNREACHABLE
        assert shopctl("apply", "--yes").code == exits.UNREACHABLE


class TestInit:
    def test_a_new_fleet_is_valid_and_can_be_run(self, shopctl: Shopctl, tmp_path: Path) -> None:
        fleet, repositories = tmp_path / "new" / "fleet", tmp_path / "new" / "git"
        said = shopctl("init", str(fleet), "--repositories", str(repositories), "--create")
        assert said.code == 0
        assert "shopctl --fleet" in said.out
        assert shopctl("validate", str(fleet)).code == 0
        assert shopctl("run", "--once", "--fleet", str(fleet)).code == 0
        assert "dev takes" in shopctl("release", "history", "--fleet", str(fleet)).out

    def test_nothing_is_overwritten(self, shopctl: Shopctl, tmp_path: Path) -> None:
        words = ("init", str(tmp_path / "f"), "--repositories", "https://git.example.com/team")
        assert shopctl(*words).code == 0
        said = shopctl(*words)
        assert (said.code, "is there already" in said.err) == (exits.FAILURE, True)


_PLAIN = {**os.environ, "LC_ALL": "C.UTF-8"}


def _separate(words: Sequence[str | bytes], env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "shopset.cli", *words]
    return subprocess.run(command, env={**_PLAIN, **(env or {})}, capture_output=True, text=True, check=False)


class TestHelp:
    @pytest.mark.parametrize(("path", "text"), list(verbs()))
    def test_every_verb_has_examples(self, path: str, text: str) -> None:
        assert "Examples:" in text
        assert f"  {path.replace('shopctl ', '').split(' ')[0]}" in text or path in text

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion_scripts_are_printed(self, shopctl: Shopctl, shell: str) -> None:
        assert "_SHOPCTL_COMPLETE" in shopctl("completion", shell).out

    def test_words_are_completed_in_bash(self) -> None:
        asked = {"_SHOPCTL_COMPLETE": "complete_bash", "COMP_WORDS": "shopctl release ap", "COMP_CWORD": "2"}
        assert _separate([], env=asked).stdout.split() == ["approve"]

    def test_words_are_completed_in_zsh(self) -> None:
        asked = {"_SHOPCTL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "shopctl edge wh"}
        assert '"where":' in _separate([], env=asked).stdout

    def test_a_word_that_is_not_utf_8_is_refused(self) -> None:
        done = _separate(["release", "hold", "dev", "-m", b"\xff"])
        assert (done.returncode, done.stderr) == (
            exits.USAGE,
            "error: '\\udcff' is not UTF-8: write it in UTF-8, in a locale as C.UTF-8\n",
        )

    def test_a_closed_output_is_no_bug(self) -> None:
        command = f"{shlex.quote(sys.executable)} -m shopset.cli get nope >&-"
        done = subprocess.run(["sh", "-c", command], env=_PLAIN, capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (exits.USAGE, False), done.stderr

    def test_help_loads_nothing_heavy(self) -> None:
        code = (
            "import sys\n"
            "from shopset.cli import main\n"
            "try: main(['--help'])\n"
            "except SystemExit: pass\n"
            "print({'pydantic', 'pygit2', 'rich', 'yaml'} & set(sys.modules), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "set()"

    def test_garbage_is_collected_once_a_verb_runs(self, tmp_path: Path) -> None:
        code = (
            "import atexit, gc\n"
            "from shopset.cli import main\n"
            "atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 10_000))\n"
            "main()"
        )
        words = [sys.executable, "-c", code, "get", "tiers", "--fleet", str(tmp_path / "nowhere")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.stdout == "True True\n", done.stderr

    def test_global_options_may_stand_anywhere(self) -> None:
        assert hoisted(["get", "tiers", "-f", "x", "--no-color", "-o", "json"]) == [
            "-f",
            "x",
            "--no-color",
            "get",
            "tiers",
            "-o",
            "json",
        ]
        assert hoisted(["plan", "--fleet=x", "--", "--fleet"]) == ["--fleet=x", "plan", "--", "--fleet"]
