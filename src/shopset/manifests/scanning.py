"""Scanning a base before it is built: nothing in it may come from elsewhere, or it would not be the same object everywhere."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

_NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_REMOTE: Final = re.compile(r"://|^git@|\?ref=|^[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}[/:]", re.IGNORECASE)
_REFERENCES: Final = (
    "resources",
    "components",
    "bases",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
)
_HELM: Final = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")


def scan(root: Path, overlay: Path) -> str:
    """Return what is wrong in the trees below `root` that `overlay` reaches, or nothing."""
    for folder in ("base", "configuration"):
        for problem in _escaping_links(root, root / folder):
            return problem
    seen: set[Path] = set()
    for problem in _scan_folder(root, overlay, seen):
        return problem
    return ""


def _escaping_links(root: Path, tree: Path) -> Iterator[str]:
    inside = tree.resolve()
    for folder, folders, files in os.walk(tree):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            if path.is_symlink() and not _stays(path, inside):
                shown = path.relative_to(root)
                yield f"{shown} is a symbolic link that leaves the repository ({path.readlink()}): put a copy of the file there"


def _stays(link: Path, inside: Path) -> bool:
    try:
        return link.resolve().is_relative_to(inside)
    except (OSError, RuntimeError):
        return False


def _scan_folder(root: Path, folder: Path, seen: set[Path]) -> Iterator[str]:
    if folder in seen:
        return
    seen.add(folder)
    file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if file is None:
        return
    shown = file.relative_to(root)
    try:
        text = file.read_text(encoding="utf-8")
        content: Any = yaml.load(text, yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        yield f"{shown} cannot be read: {' '.join(str(error).split())}"
        return
    if not isinstance(content, dict):
        yield f"{shown} is no kustomization"
        return
    for key in _HELM:
        if key in content:
            where = f"{shown}:{_line(text, key)}"
            yield f"{where}: {key} fetches a chart, which need not be the same everywhere: commit what `helm template` gives instead"
    yield from _scan_references(root, folder, f"{shown}", text, content, seen)


def _scan_references(
    root: Path, folder: Path, shown: str, text: str, content: dict[str, Any], seen: set[Path]
) -> Iterator[str]:
    for entry in _entries(content):
        target = folder / entry
        if _is_there(target):
            if target.is_dir():
                yield from _scan_folder(root, Path(os.path.normpath(target)), seen)
        elif _REMOTE.search(entry):
            where = f"{shown}:{_line(text, entry)}"
            yield f"{where}: {entry} is a remote base, which need not be the same everywhere: commit a copy of it instead"


def _is_there(target: Path) -> bool:
    try:
        return target.exists()
    except OSError:
        return False


def _entries(content: dict[str, Any]) -> Iterator[str]:
    for key in _REFERENCES:
        values = content.get(key)
        if isinstance(values, list):
            yield from (value for value in values if isinstance(value, str) and "\n" not in value)


def _line(text: str, word: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if word in line), 1)
