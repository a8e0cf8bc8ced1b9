"""Annotations on the first Deployment of anybody's kustomize tree: how the demo makes releases of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from shopset.core.errors import ShopsetError


class NoDeploymentError(ShopsetError):
    """A tree without a Deployment."""


def first_deployment(tree: Path) -> Path:
    """Return the file, first by path, that has a Deployment with a name. Raises NoDeploymentError."""
    for file in sorted([*tree.rglob("*.yaml"), *tree.rglob("*.yml")]):
        if ".git" not in file.parts and any(
            True for _ in _deployments(file.read_text(encoding="utf-8", errors="replace"))
        ):
            return file
    message = f"there is no Deployment in {tree}: the demo makes releases by annotating one"
    raise NoDeploymentError(message)


def annotate(text: str, annotations: Mapping[str, str]) -> str:
    """Return the file's text with exactly these `demo.shopset.dev/` annotations on its first Deployment, all else untouched."""
    metadata = next(_deployments(text))
    lines = text.splitlines(keepends=True)
    wanted = "".join(f'{{indent}}demo.shopset.dev/{key}: "{value}"\n' for key, value in sorted(annotations.items()))
    for key, value in metadata.value:
        if key.value == "annotations" and isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            return _in_block(lines, value, wanted)
        if key.value == "annotations":
            raise NoDeploymentError("the first Deployment has its annotations in braces: write them below each other")
    key = metadata.value[0][0]
    indent = " " * key.start_mark.column
    lines.insert(key.start_mark.line, f"{indent}annotations:\n{wanted.format(indent=indent + '  ')}")
    return "".join(lines)


def _in_block(lines: list[str], block: yaml.MappingNode, wanted: str) -> str:
    for key, _ in reversed(block.value):
        if key.value.startswith("demo.shopset.dev/"):
            del lines[key.start_mark.line]
    first = block.value[0][0].start_mark
    lines.insert(first.line, wanted.format(indent=" " * first.column))
    return "".join(lines)


def _deployments(text: str) -> Iterator[yaml.MappingNode]:
    """Yield the metadata of each Deployment that is written in blocks."""
    try:
        documents = list(yaml.compose_all(text, yaml.CSafeLoader))
    except yaml.YAMLError:
        return
    for node in documents:
        if not isinstance(node, yaml.MappingNode):
            continue
        fields = {key.value: value for key, value in node.value}
        kind, metadata = fields.get("kind"), fields.get("metadata")
        if kind is None or kind.value != "Deployment" or "$patch" in fields:
            continue
        if isinstance(metadata, yaml.MappingNode) and not metadata.flow_style and metadata.value:
            yield metadata
