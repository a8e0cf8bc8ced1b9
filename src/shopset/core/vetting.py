"""What builds must not contain: found before the pin, in the manifests as they would be applied."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from shopset.core.manifests import Build, BuiltObject

Policy = Literal["Tag", "Digest"]


@dataclass(frozen=True)
class Vetting:
    """What was found. Any problem refuses the revision; warnings are told."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def vet(builds: Mapping[str, Build], clusters: Mapping[str, str], policy: Policy) -> Vetting:
    """Vet the builds (ShopSet -> build) of ShopSets that run on `clusters` (ShopSet -> cluster)."""
    problems = [*_failed(builds), *_scattered(builds), *_clashes(builds, clusters)]
    images = sorted({image for build in builds.values() for image in build.images})
    problems += [problem for image in images if (problem := _refusal(image, policy))]
    movable = [image for image in images if "@" not in image and not _refusal(image, policy)]
    have = "has a tag" if len(movable) == 1 else "have tags"
    warnings = (f"{_some(movable)} {have}, which can be moved: a digest could not",) if movable else ()
    return Vetting(tuple(problems), warnings)


def _failed(builds: Mapping[str, Build]) -> Iterator[str]:
    shopsets: dict[str, list[str]] = defaultdict(list)
    for name, build in sorted(builds.items()):
        if build.problem:
            shopsets[build.problem].append(name)
    for problem, names in sorted(shopsets.items()):
        yield f"{_some(names)} cannot be built: {problem}"


def _scattered(builds: Mapping[str, Build]) -> Iterator[str]:
    """Yield builds with objects in several namespaces: a ShopSet has one, and what is elsewhere would be fought over."""
    shopsets: dict[str, list[str]] = defaultdict(list)
    for name, build in sorted(builds.items()):
        found: dict[str, list[str]] = defaultdict(list)
        for each in build.objects:
            if each.namespace:
                found[each.namespace].append(each.label)
        if len(found) > 1:
            shopsets["; ".join(f"{namespace}: {_some(labels)}" for namespace, labels in sorted(found.items()))].append(
                name
            )
    for places, names in sorted(shopsets.items()):
        yield (
            f"{_some(names)} would have objects in several namespaces ({places}): "
            "take metadata.namespace out of the base, so that each ShopSet keeps to its own"
        )


def _clashes(builds: Mapping[str, Build], clusters: Mapping[str, str]) -> Iterator[str]:
    """Yield cluster-scoped objects that two ShopSets of one cluster bring: both Applications would fight over them."""
    owners: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for name, build in sorted(builds.items()):
        for found in _shared(build):
            owners[clusters[name], _group(found), found.kind, found.name].append(name)
    for (cluster, _, kind, name), names in sorted(owners.items()):
        if len(names) > 1:
            yield (
                f"{kind}/{name} belongs to the whole cluster {cluster}, and {_some(names)} would both own it: "
                "take it out of the base, or give each ShopSet a cluster of its own"
            )


def _shared(build: Build) -> Iterator[BuiltObject]:
    """Yield the objects that another ShopSet's would meet: kustomize renames a Namespace to the ShopSet's own."""
    return (found for found in build.cluster_scoped if (found.kind, _group(found)) != ("Namespace", ""))


def _group(found: BuiltObject) -> str:
    return found.api_version.rpartition("/")[0]


def _refusal(image: str, policy: Policy) -> str:
    """Say why an image is refused, or nothing."""
    if "@" in image:
        return ""
    tag = _tag(image)
    if tag in ("", "latest"):
        what = "has no tag" if not tag else "has the tag latest"
        return f"the image {image} {what}: what it is changes by itself, so name a version, or better a digest"
    if policy == "Digest":
        return f"the image {image} has no digest, which images.policy: Digest asks for: write {image}@sha256:…"
    return ""


def _tag(image: str) -> str:
    # A colon before the last slash is a port.
    return image.rpartition("/")[2].partition(":")[2]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
