"""Reading what kustomize built: objects, their digests, and the images that they run."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shopset.core.manifests import Build, BuiltObject
from shopset.core.objects import ObjectsError, images_of, name_of, read_objects, write_object


def read_build(text: str) -> Build:
    """Return the Build that the manifests make."""
    try:
        documents = read_objects(text)
    except ObjectsError as error:
        return Build(problem=f"kustomize built what cannot be applied: {error}")
    images = {image for document in documents for image in images_of(document)}
    return Build(objects=tuple(sorted(map(_object, documents))), images=tuple(sorted(images)))


def split_objects(text: str) -> dict[str, str]:
    """Return `<namespace>/<kind>/<name>` -> the YAML of each object. Raises ObjectsError."""
    return {
        f"{found.namespace}/{found.kind}/{found.name}": write_object(document)
        for found, document in ((_object(document), document) for document in read_objects(text))
    }


def _object(document: Mapping[str, Any]) -> BuiltObject:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return BuiltObject(
        document["apiVersion"],
        document["kind"],
        document["metadata"].get("namespace") or "",
        name_of(document),
        hashlib.sha256(canonical.encode()).hexdigest(),
    )
