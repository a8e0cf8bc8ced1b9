"""The small platform that the model's developers push, and what its annotations say will happen to it."""

from dataclasses import dataclass

import yaml

from model.documents import parse
from model.hands import Change
from model.repositories import Store

_COMPONENT = b"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"


@dataclass(frozen=True)
class Behaviour:
    """How a revision behaves where it runs."""

    degraded: tuple[str, ...] = ()
    """The tiers on which it is Degraded."""
    starting: int = 0
    """Seconds until it is up."""
    builds: bool = True

    def degraded_on(self, tier: str) -> bool:
        """Whether it is Degraded on a tier."""
        return tier in self.degraded or "*" in self.degraded


def apps_files(text: str, behaviour: Behaviour, components: tuple[str, ...]) -> dict[str, Change]:
    """Return the files of an apps commit: one Deployment in each component."""
    annotations = {"demo.shopset.dev/degraded": ",".join(behaviour.degraded), "demo.shopset.dev/text": text}
    if behaviour.starting:
        annotations["demo.shopset.dev/starting"] = f"{behaviour.starting}s"
    files: dict[str, Change] = {}
    for name in components:
        labels = {"app": name}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": name, "image": f"example.com/{name}:1.0.0"}]},
                },
            },
        }
        resources = ["deployment.yaml"] if behaviour.builds else ["deployment.yaml", "missing.yaml"]
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": resources,
        }
        files[f"{name}/deployment.yaml"] = yaml.safe_dump(deployment).encode()
        files[f"{name}/kustomization.yaml"] = yaml.safe_dump(kustomization).encode()
    return files


def configuration_files(text: str, paths: tuple[str, ...]) -> dict[str, Change]:
    """Return the files of a configuration commit."""
    annotations = f"commonAnnotations:\n  demo.shopset.dev/configuration: {text}\n".encode()
    return {f"{path}/kustomization.yaml": _COMPONENT + annotations for path in paths}


def behaviour_of(apps: Store, commit: str) -> Behaviour:
    """Read how the revision of an apps commit behaves."""
    files = apps.files(apps.commit(commit).tree)
    path = min((path for path in files if path.endswith("/deployment.yaml")), default=None)
    if path is None:
        return Behaviour(builds=False)
    annotations = parse(apps.blob(files[path].id))["metadata"]["annotations"]
    degraded = tuple(filter(None, annotations.get("demo.shopset.dev/degraded", "").split(",")))
    return Behaviour(
        degraded, int(annotations.get("demo.shopset.dev/starting", "0s").removesuffix("s")), builds(apps, commit)
    )


def builds(apps: Store, commit: str) -> bool:
    """Whether every file that a kustomization names is there."""
    files = apps.files(apps.commit(commit).tree)
    folders = {
        path.removesuffix("kustomization.yaml"): entry
        for path, entry in files.items()
        if path.endswith("/kustomization.yaml")
    }
    return all(
        folder + resource in files
        for folder, entry in folders.items()
        for resource in parse(apps.blob(entry.id))["resources"]
    )
