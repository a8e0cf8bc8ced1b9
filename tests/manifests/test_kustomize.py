"""The real kustomize, and programs that misbehave in its place."""

import os
import time
from pathlib import Path

import pytest

from shopset.manifests import Kustomize, KustomizeMissingError, KustomizeStoppedError, find_kustomize, kustomize

ENVIRONMENT = dict(os.environ)
NAMED = os.environ.get("SHOPSET_KUSTOMIZE")


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    folder = tmp_path / "overlays" / "a-1"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text("namespace: shopset-a-1\nresources: [role.yaml]\n")
    (folder / "role.yaml").write_text("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: cart}\n")
    return folder


@pytest.fixture
def real() -> Kustomize:
    return Kustomize(find_kustomize(NAMED), ENVIRONMENT)


def pretend(folder: Path, script: str, timeout: float = 30) -> Kustomize:
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Kustomize(find_kustomize(str(program)), ENVIRONMENT, timeout)


def test_a_build_gives_manifests(real: Kustomize, overlay: Path) -> None:
    text, problem = real.build(overlay)
    assert ("namespace: shopset-a-1" in text, problem) == (True, "")


def test_the_version_is_that_of_the_program(real: Kustomize) -> None:
    assert "v" in real.version


def test_a_failing_build_says_why_in_one_line_without_places_of_this_machine(real: Kustomize, overlay: Path) -> None:
    (overlay / "role.yaml").unlink()
    text, problem = real.build(overlay)
    assert text == ""
    assert "role.yaml" in problem
    assert "\n" not in problem
    assert str(overlay.parent.parent) not in problem


@pytest.mark.parametrize(
    "entry",
    ["git@git.example.com:shop/base", "https://git.example.com/shop/base.git?ref=1", "file:///base.git?ref=main"],
)
def test_nothing_is_fetched_even_where_scanning_overlooked_it(real: Kustomize, overlay: Path, entry: str) -> None:
    (overlay / "kustomization.yaml").write_text(f"resources: ['{entry}']\n")
    started = time.monotonic()
    assert "not allowed" in real.build(overlay)[1]
    assert time.monotonic() - started < 10


def test_programs_are_not_run_by_a_base(real: Kustomize, overlay: Path) -> None:
    (overlay / "kustomization.yaml").write_text("generators: [g.yaml]\n")
    (overlay / "g.yaml").write_text(
        "apiVersion: v1\nkind: Ran\nmetadata:\n  name: ran\n"
        f"  annotations: {{config.kubernetes.io/function: 'exec: {{path: {overlay}/ran.sh}}'}}\n"
    )
    (overlay / "ran.sh").write_text(f"#!/bin/sh\ntouch {overlay}/ran\n")
    (overlay / "ran.sh").chmod(0o755)
    assert real.build(overlay)[1]
    assert not (overlay / "ran").exists()


def test_a_program_that_hangs_is_stopped_with_its_children(tmp_path: Path, overlay: Path) -> None:
    started = time.monotonic()
    found = pretend(tmp_path, "sleep 300 &\nwait", timeout=0.5).build(overlay)
    assert found == ("", "kustomize build took longer than 0.5 s")
    assert time.monotonic() - started < 10


def test_a_program_without_end_is_stopped(tmp_path: Path, overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kustomize, "_MOST_OUTPUT", 1 << 20)
    assert pretend(tmp_path, "yes").build(overlay) == ("", "kustomize build gave more than 1 MiB")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 1", "kustomize build failed: it said nothing"),
        (
            "printf 'Warning: old\\nError: git failed\\n: exit 128\\n' >&2; exit 1",
            "kustomize build failed: git failed : exit 128",
        ),
        ("printf '\\377' >&2; exit 1", "kustomize build failed: \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_what_a_program_says_is_told_from_its_error_on(
    tmp_path: Path, overlay: Path, script: str, problem: str
) -> None:
    assert pretend(tmp_path, script).build(overlay) == ("", problem)


def test_a_long_complaint_is_cut(tmp_path: Path, overlay: Path) -> None:
    assert len(pretend(tmp_path, "yes | head -c 100000 >&2; exit 1").build(overlay)[1]) < 1100


def test_a_program_that_does_not_run_to_its_end_says_nothing_of_the_base(tmp_path: Path, overlay: Path) -> None:
    gone = pretend(tmp_path, "kill -9 $$")
    with pytest.raises(KustomizeStoppedError, match="killed by SIGKILL"):
        gone.build(overlay)
    (tmp_path / "program").unlink()
    with pytest.raises(KustomizeStoppedError, match="cannot be run"):
        gone.build(overlay)


def test_a_version_that_is_not_told_is_none(tmp_path: Path) -> None:
    with pytest.raises(KustomizeStoppedError, match="no such verb"):
        _ = pretend(tmp_path, "echo 'Error: no such verb' >&2; exit 1").version


def test_a_named_program_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, "exit 0")
    monkeypatch.chdir(tmp_path)
    assert find_kustomize("./program") == (str(tmp_path / "program"), "build")


def test_kubectl_has_a_verb_of_its_own(tmp_path: Path) -> None:
    pretend(tmp_path, "exit 0")
    (tmp_path / "program").rename(tmp_path / "kubectl")
    assert find_kustomize(str(tmp_path / "kubectl"))[1] == "kustomize"


def test_a_missing_program_is_told_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KustomizeMissingError, match=r"names /nowhere/kustomize, which is no program"):
        find_kustomize("/nowhere/kustomize")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KustomizeMissingError, match="install it"):
        find_kustomize(None)
