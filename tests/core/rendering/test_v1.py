"""Renderer v1 writes the golden files byte for byte, and the real kustomize builds each of them."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shopset.core.rendering import RENDERERS
from shopset.core.rendering._scalars import scalar
from shopset.directory.fleets import read_fleet
from shopset.manifests import find_kustomize

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir())
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: "NAME"}
spec:
  selector: {matchLabels: {app: "NAME"}}
  template:
    metadata: {labels: {app: "NAME"}}
    spec: {containers: [{name: c, image: "example.com/c:1"}]}
"""


def render(case: str) -> dict[str, bytes]:
    fleet = read_fleet(GOLDEN / case / "in").fleet
    assert fleet is not None
    components = tuple((GOLDEN / case / "components").read_text().split("\n")[:-1])
    renderer = RENDERERS.versions["v1"]
    files: dict[str, bytes] = {}
    for tier in fleet.tiers:
        files |= {f"{tier.name}{path}": text for path, text in renderer.tier_files(fleet.platform, tier).items()}
        for shopset in fleet.members(tier.name):
            files[f"overlays/{shopset.name}/kustomization.yaml"] = renderer.overlay(fleet, tier, shopset, components)
            files[f"applications/{shopset.name}.yaml"] = renderer.application(fleet, tier, shopset)
    return files


@pytest.mark.parametrize("case", CASES)
def test_the_bytes_are_those_of_the_golden_files(case: str) -> None:
    out, files = GOLDEN / case / "out", render(case)
    if os.environ.get("SHOPSET_WRITE_GOLDEN"):
        for path, text in files.items():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_bytes(text)
    assert files == {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_kustomize_builds_every_golden_overlay(case: str, tmp_path: Path) -> None:
    files = render(case)
    for name in (GOLDEN / case / "components").read_text().split("\n")[:-1]:
        folder = tmp_path / "base" / name
        folder.mkdir(parents=True)
        (folder / "kustomization.yaml").write_text("resources: [d.yaml]\n")
        (folder / "d.yaml").write_text(DEPLOYMENT.replace("NAME", name or "root"))
    for path, text in files.items():
        if path.startswith("overlays/"):
            overlay = yaml.safe_load(text)
            for component in overlay["components"]:
                target = (tmp_path / "overlays" / "x" / component).resolve()
                target.mkdir(parents=True, exist_ok=True)
                (target / "kustomization.yaml").write_text(
                    "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {golden: 'true'}\n"
                )
            (tmp_path / path).parent.mkdir(parents=True)
            (tmp_path / path).write_bytes(text)
            command = [*find_kustomize(os.environ.get("SHOPSET_KUSTOMIZE")), str((tmp_path / path).parent)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            for built in yaml.safe_load_all(done.stdout):
                assert built["metadata"]["namespace"] == overlay["namespace"]
                assert built["metadata"]["labels"]["shopset.dev/shopset"] == path.split("/")[1]
                assert "shopset.dev/tier" not in built["spec"]["selector"]["matchLabels"]


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.text(st.characters(codec="ascii"), max_size=12)
    | st.sampled_from(["1e3", "0x1", "null", "On", "1_0", "~", "1:30", ".5", "=", "<<"])
)
def test_a_scalar_is_always_read_as_the_same_string(text: str) -> None:
    assert yaml.safe_load(f"key: {scalar(text)}\n") == {"key": text}
