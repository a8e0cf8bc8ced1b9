"""What the chart and deploy/ give."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from testbed.programs import program

from .conftest import ROOT

CHART = ROOT / "charts" / "shopset"
HELM_LABELS = ("app.kubernetes.io/managed-by", "helm.sh/chart")


def helm(*arguments: str) -> str:
    """Run helm."""
    done = subprocess.run([program("helm"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def template(*arguments: str) -> list[dict[str, Any]]:
    """Return the objects of the chart."""
    text = helm("template", "shopset", str(CHART), "--namespace=shopset", "--kube-version=1.36.3", *arguments)
    return [found for found in yaml.safe_load_all(text) if found]


def kustomized(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization."""
    done = subprocess.run([program("kubectl"), "kustomize", str(folder)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def without_helm(found: dict[str, Any]) -> dict[str, Any]:
    """Drop what only Helm says of an object; the definitions have no labels but Helm's way of finding them."""
    metadata = dict(found["metadata"])
    metadata["labels"] = {key: value for key, value in metadata.get("labels", {}).items() if key not in HELM_LABELS}
    if found["kind"] == "CustomResourceDefinition":
        metadata = {"name": metadata["name"]}
    return {**found, "metadata": metadata}


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return objects by kind, namespace and name."""
    return {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in objects}
