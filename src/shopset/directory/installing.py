"""Installing objects in a directory cluster: a file for each, and none for what is gone."""

import hashlib
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from shopset.core.objects import name_of, write_object
from shopset.directory._files import write_file

_LONGEST: Final = 200
"""Characters of a file's name; file systems allow 255."""


def install(home: Path, namespace: str, documents: Iterable[Mapping[str, Any]], before: Collection[str]) -> list[str]:
    """Write the objects of an Application below the cluster's folder, and remove its others. Raises OSError.

    Returns their files, relative to `home`. `before` is what the last time returned. The namespace is the Application's
    own, so what else lies there goes too, even where what was there before has been forgotten.
    """
    files: dict[str, Mapping[str, Any]] = {}
    for document in documents:
        path = _path(document, namespace)
        # Two groups may have a kind of the same name: networking.k8s.io and extensions had Ingress.
        files[path if path not in files else _path(document, namespace, document["apiVersion"])] = document
    for path, document in files.items():
        write_file(home / path, write_object(document).encode())
    own = home / _folder(namespace)
    there = {path.relative_to(home).as_posix() for path in own.iterdir()} if own.is_dir() else set()
    remove(home, {*before, *there} - files.keys())
    return sorted(files)


def remove(home: Path, files: Iterable[str]) -> None:
    """Remove objects, and the folder of a namespace that has none left. Raises OSError."""
    paths = [home / file for file in files]
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def remove_namespaces(home: Path, kept: Collection[str]) -> None:
    """Remove the namespaces that no Application has any more. Raises OSError."""
    folders = {home / _folder(namespace) for namespace in kept}
    for folder in sorted((home / "namespaces").glob("*")):
        if folder not in folders:
            shutil.rmtree(folder)


def _path(document: Mapping[str, Any], namespace: str, api_version: str = "") -> str:
    # kustomize moves all that has a namespace to the Application's own: what names another belongs to the whole cluster.
    folder = _folder(namespace) if document["metadata"].get("namespace") == namespace else "cluster"
    group = f".{api_version.replace('/', '.')}" if api_version else ""
    name = _segment(f"{document['kind']}{group}-{name_of(document)}")
    return f"{folder}/{name}.yaml"


def _folder(namespace: str) -> str:
    return f"namespaces/{_segment(namespace)}"


def _segment(text: str) -> str:
    """Return text as the name of a file that lies where it should: kustomize lets `../x` be the name of an object."""
    safe = quote(text, safe="")
    safe = f"%2E{safe[1:]}" if safe.startswith(".") else safe
    if len(safe) <= _LONGEST:
        return safe
    return f"{safe[: _LONGEST - 17]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
