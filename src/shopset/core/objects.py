"""Kubernetes objects in YAML: read as Kubernetes reads them, written, and the images that they run."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard

import yaml

from shopset.core.errors import ShopsetError

_CONTAINERS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})
_DEEPEST: Final = 200
"""Levels in one object: far more than any has, far less than would exhaust the stack of whoever writes it again."""


class ObjectsError(ShopsetError):
    """Manifests that hold something else than Kubernetes objects."""


class _Loader(yaml.CSafeLoader):
    """YAML without the two types that JSON, and so Kubernetes, lacks: dates, and `=`. They are strings."""


_FOREIGN: Final = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _FOREIGN]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def read_objects(text: str) -> tuple[dict[str, Any], ...]:
    """Return the objects of manifests, in their order. Raises ObjectsError."""
    try:
        documents = [document for document in yaml.load_all(text, _Loader) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise ObjectsError(f"the manifests are no YAML: {' '.join(str(error).split())}") from error
    return tuple(_checked(document) for document in documents)


def write_object(document: Mapping[str, Any]) -> str:
    """Return one object as YAML, its keys sorted."""
    return yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=True)


def name_of(document: Mapping[str, Any]) -> str:
    """Return the name of an object, or what its generated name begins with."""
    metadata = document["metadata"]
    return str(metadata.get("name") or metadata.get("generateName") or "")


def label_of(document: Mapping[str, Any]) -> str:
    """Return an object as people name it: `Deployment/cart`."""
    return f"{document['kind']}/{name_of(document)}"


def images_of(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the images of an object's containers, wherever its pod template is; init and ephemeral ones included."""
    return frozenset(
        str(container["image"])
        for value, _ in _levels(document)
        if isinstance(value, dict)
        for key in _CONTAINERS & value.keys()
        if isinstance(value[key], list)
        for container in value[key]
        if isinstance(container, dict) and container.get("image")
    )


def _checked(document: object) -> dict[str, Any]:
    if not _is_object(document):
        raise ObjectsError(f"the manifests hold something that is no Kubernetes object: {str(document)[:80]}")
    for value, depth in _levels(document):
        if depth > _DEEPEST:
            raise ObjectsError(f"{label_of(document)} is nested more than {_DEEPEST} levels deep")
        odd = [key for key in value if not isinstance(key, str)] if isinstance(value, dict) else []
        if odd:
            raise ObjectsError(f"{label_of(document)} has the key {odd[0]}, which is no string: quote it")
    return document


def _is_object(document: object) -> TypeGuard[dict[str, Any]]:
    if not (isinstance(document, dict) and isinstance(document.get("metadata"), dict)):
        return False
    metadata = document["metadata"]
    named = (document.get("apiVersion"), document.get("kind"), metadata.get("name") or metadata.get("generateName"))
    maps = (metadata.get("labels"), metadata.get("annotations"))
    return (
        all(isinstance(value, str) and value for value in named)
        and isinstance(metadata.get("namespace"), str | None)
        and all(isinstance(value, dict | None) for value in maps)
    )


def _levels(document: object) -> Iterator[tuple[object, int]]:
    """Yield every mapping and list below a document with its depth."""
    waiting = [(document, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict | list):
            yield value, depth
            inner = value.values() if isinstance(value, dict) else value
            waiting.extend((each, depth + 1) for each in inner)
