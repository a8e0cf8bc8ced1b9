"""Reading what kustomize built: objects, their digests, and the images that they run."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

import yaml

from shopset.core.manifests import Build, BuiltObject

_CONTAINERS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})


def read_build(text: str) -> Build:
    """Return the Build that the manifests make."""
    try:
        documents = [document for document in yaml.load_all(text, yaml.CSafeLoader) if document is not None]
    except yaml.YAMLError as error:
        return Build(problem=f"kustomize built what is no YAML: {error}")
    odd = [document for document in documents if not _is_object(document)]
    if odd:
        return Build(problem=f"kustomize built something that is no Kubernetes object: {str(odd[0])[:80]}")
    objects = sorted(_object(document) for document in documents)
    return Build(objects=tuple(objects), images=tuple(sorted(set(_images(documents)))))


def split_objects(text: str) -> dict[str, str]:
    """Return `<namespace>/<kind>/<name>` -> the YAML of each object."""
    documents = [document for document in yaml.load_all(text, yaml.CSafeLoader) if document is not None]
    return {
        f"{found.namespace}/{found.kind}/{found.name}": yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=True)
        for found, document in ((_object(document), document) for document in documents)
    }


def _is_object(document: object) -> bool:
    return (
        isinstance(document, dict)
        and all(isinstance(document.get(key), str) for key in ("apiVersion", "kind"))
        and isinstance(document.get("metadata"), dict)
    )


def _object(document: dict[str, Any]) -> BuiltObject:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    metadata = document["metadata"]
    return BuiltObject(
        document["apiVersion"],
        document["kind"],
        str(metadata.get("namespace") or ""),
        str(metadata.get("name") or metadata.get("generateName") or ""),
        hashlib.sha256(canonical.encode()).hexdigest(),
    )


def _images(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _CONTAINERS and isinstance(inner, list):
                yield from (str(each["image"]) for each in inner if isinstance(each, dict) and each.get("image"))
            yield from _images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _images(inner)
