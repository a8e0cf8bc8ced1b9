"""Argo CD Applications as a directory cluster keeps them: `<cluster>/applications/<application>.yaml`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from shopset.core.release.revisions import blob_id

_LABEL: Final = "shopset.dev/shopset"


@dataclass(frozen=True)
class Application:
    """What an Application's manifest says."""

    name: str
    shopset: str
    url: str
    branch: str
    path: str
    namespace: str
    manifest: str
    """Blob id of the file."""


def read_applications(folder: Path) -> Iterator[Application]:
    """Yield the Applications of a folder, sorted by name. Raises OSError.

    Half a file, or somebody else's, is passed over: shopset applies it again, as it would one that is not there.
    """
    for file in sorted(folder.glob("*.yaml")):
        found = _parse(file.stem, file.read_bytes())
        if found is not None:
            yield found


def _parse(name: str, content: bytes) -> Application | None:
    try:
        document: Any = yaml.load(content, yaml.CSafeLoader)
        source, destination = document["spec"]["source"], document["spec"]["destination"]
        fields = (
            document["metadata"]["name"],
            document["metadata"]["labels"][_LABEL],
            source["repoURL"],
            source["targetRevision"],
            source["path"],
            destination["namespace"],
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        return None
    if fields[0] != name or not all(isinstance(field, str) for field in fields):
        return None
    return Application(*fields, manifest=blob_id(content))
