"""Scanning the trees before a build: nothing in them may come from elsewhere, or it would not be the same everywhere."""

import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import yaml

_NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_HELM: Final = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")
_PLUGINS: Final = ("generators", "transformers", "validators")
_FOLDERS: Final = ("resources", "components", "bases", *_PLUGINS)
"""Fields that name folders or files."""
_FILES: Final = ("crds", "configurations", "patchesStrategicMerge")
"""Fields that name files."""
_FILES_WITHIN: Final = {
    "patches": ("path",),
    "patchesJson6902": ("path",),
    "replacements": ("path",),
    "openapi": ("path",),
    "configMapGenerator": ("files", "envs", "env"),
    "secretGenerator": ("files", "envs", "env"),
}
"""Fields whose entries have fields that name files."""
_FUNCTIONS: Final = ("config.kubernetes.io/function", "config.k8s.io/function")

_URL: Final = re.compile(r"://|^git@|^git::|^gh:|^github\.com[:/]|\?(?:ref|version|timeout|submodules)=", re.IGNORECASE)
"""What kustomize takes for a repository even where there is a file of that name."""
_HOST: Final = re.compile(
    r"^(?:[a-z0-9-]+@)?[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}[/:]|\.git(?:/|$)|/_git/", re.IGNORECASE
)
"""What is most likely meant for a repository where there is no file of that name."""

_DIFFERS: Final = "which need not be the same everywhere"


def scan(root: Path, overlay: Path) -> str:
    """Return what is wrong in the trees `base` and `configuration` below `root` that `overlay` reaches, or nothing."""
    root = root.resolve()
    return next(chain(_links(root), _kustomizations(root, overlay.resolve())), "")


def _links(root: Path) -> Iterator[str]:
    """Yield the symbolic links that lead out of their repository."""
    for tree in (root / "base", root / "configuration"):
        for folder, folders, files in os.walk(tree):
            for path in (Path(folder, name) for name in sorted([*folders, *files])):
                if path.is_symlink() and not _stays(path, tree):
                    where = f"{path.relative_to(root)} is a symbolic link that leaves the repository"
                    yield f"{where} ({path.readlink()}): put a copy of the file there"


def _stays(link: Path, tree: Path) -> bool:
    try:
        return link.resolve().is_relative_to(tree)
    except (OSError, RuntimeError):
        # A loop, which leads nowhere.
        return False


def _kustomizations(root: Path, overlay: Path) -> Iterator[str]:
    """Yield the problems of a kustomization and of all that it reaches."""
    waiting, seen = [overlay], {overlay}
    while waiting:
        folder = waiting.pop()
        file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
        if file is None:
            continue
        shown = file.relative_to(root)
        try:
            content = yaml.compose(file.read_text(encoding="utf-8"), yaml.CSafeLoader)
        except (OSError, ValueError, yaml.YAMLError) as error:
            yield f"{shown} cannot be read: {' '.join(str(error).split())}"
            continue
        if not isinstance(content, yaml.MappingNode):
            yield f"{shown} is no kustomization"
            continue
        yield from (f"{shown}:{problem}" for problem in _problems(root, folder, content))
        reached = [target for target in _reached(root, folder, content) if target not in seen]
        seen.update(reached)
        waiting.extend(reached)


def _reached(root: Path, folder: Path, content: yaml.MappingNode) -> Iterator[Path]:
    entries = chain.from_iterable(_texts(value) for key, value in _pairs(content) if key.value in _FOLDERS)
    for entry in entries:
        target = _target(folder, entry.value)
        if target is not None and target.is_dir() and target.is_relative_to(root):
            yield target


def _problems(root: Path, folder: Path, content: yaml.MappingNode) -> Iterator[str]:
    """Yield `<line>: <problem>` of one kustomization."""
    for key, value in _pairs(content):
        if key.value in _HELM:
            yield f"{_line(key)}: {key.value} fetches a chart, {_DIFFERS}: commit what `helm template` gives instead"
        if key.value in _FOLDERS:
            for entry in _texts(value):
                yield from _judge_entry(root, folder, entry)
        if key.value in _PLUGINS:
            for entry in _texts(value):
                yield from _judge_plugin(folder, entry)
        for entry in _files(key.value, value):
            yield from _judge_entry(root, folder, entry)


def _judge_entry(root: Path, folder: Path, entry: yaml.ScalarNode) -> Iterator[str]:
    text = str(entry.value)
    if "\n" in text:
        # The thing itself, not where it is.
        return
    target = _target(folder, text)
    if _URL.search(text) or (target is None and _HOST.search(text)):
        yield f"{_line(entry)}: {text} is remote, {_DIFFERS}: commit a copy of it instead"
    elif not Path(os.path.normpath(folder / text)).is_relative_to(root) or (target and not target.is_relative_to(root)):
        yield f"{_line(entry)}: {text} leaves the repository: put a copy of it there"


def _judge_plugin(folder: Path, entry: yaml.ScalarNode) -> Iterator[str]:
    """Yield what a generator or transformer would run or fetch; kustomize itself refuses other plugins."""
    target = None if "\n" in entry.value else _target(folder, entry.value)
    try:
        text = target.read_text(encoding="utf-8") if target and target.is_file() else entry.value
        documents = list(yaml.compose_all(text, yaml.CSafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        # kustomize says it better.
        return
    for document in documents:
        fields = {key.value: value for key, value in _pairs(document)}
        annotations = dict(_pairs(_value(fields.get("metadata"), "annotations")))
        if any(key.value in _FUNCTIONS for key in annotations):
            yield f"{_line(entry)}: a function runs a program, {_DIFFERS}: commit what it gives instead"
        elif "kind" in fields and fields["kind"].value == "HelmChartInflationGenerator":
            yield f"{_line(entry)}: it fetches a chart, {_DIFFERS}: commit what `helm template` gives instead"


def _files(key: str, value: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Yield the names of files in one field of a kustomization. A generator's may be `<key>=<file>`."""
    if key in _FILES:
        yield from _texts(value)
    for entry in _items(value) if key in _FILES_WITHIN else ():
        for name in _FILES_WITHIN[key]:
            for text in _texts(_value(entry, name)):
                path = text.value if "://" in text.value else text.value.rpartition("=")[2]
                yield yaml.ScalarNode(text.tag, path, text.start_mark, text.end_mark)


# -- nodes of YAML, which know their lines


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def _value(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return next((value for key, value in _pairs(node) if key.value == name), None)


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else [node] if node is not None else []


def _texts(node: yaml.Node | None) -> list[yaml.ScalarNode]:
    return [item for item in _items(node) if isinstance(item, yaml.ScalarNode)]


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _target(folder: Path, entry: str) -> Path | None:
    """Return the file or folder that an entry leads to, links followed; None where there is none."""
    try:
        return (folder / entry).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
