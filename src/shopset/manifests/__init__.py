"""Manifests: built by the real kustomize, scanned before, and read after."""

from shopset.manifests.kustomize import Kustomize, KustomizeMissingError, KustomizeStoppedError, find_kustomize
from shopset.manifests.reading import read_build, split_objects
from shopset.manifests.scanning import scan

__all__ = [
    "Kustomize",
    "KustomizeMissingError",
    "KustomizeStoppedError",
    "find_kustomize",
    "read_build",
    "scan",
    "split_objects",
]
