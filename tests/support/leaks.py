"""Everything in which a fleet could tell what it must not."""

import subprocess
from pathlib import Path

from support.kubernetes import KubernetesWorld


def told(world: KubernetesWorld) -> dict[str, bytes]:
    """Return everything that was written about a fleet: place -> content."""
    kinds = ",".join(world.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split())
    found = {
        "objects": world.kubectl("get", kinds, "-n", world.name, "-o", "yaml").encode(),
        "applications": world.kubectl("get", "applications.argoproj.io", "-n", "argocd", "-o", "yaml").encode(),
    }
    caches = [each.log.with_suffix("") for each in world.controllers]
    for folder in (world.repository("system"), world.repository("apps"), world.repository("configuration"), *caches):
        found[folder.name] = contents(folder)
    return found | {each.log.name: each.log.read_bytes() for each in world.controllers}


def contents(folder: Path) -> bytes:
    """Return all files below a folder, and all objects of the repositories among them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    stores = [path.parent for path in files if path.name == "HEAD" and (path.parent / "objects").is_dir()]
    command = ["git", "cat-file", "--batch-all-objects", "--batch"]
    objects = [subprocess.run(command, cwd=store, capture_output=True, check=True).stdout for store in stores]
    return b"\n".join([*(path.read_bytes() for path in files), *objects])
