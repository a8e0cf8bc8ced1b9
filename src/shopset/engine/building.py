"""Building a revision's overlays: the trees from git, the manifests from kustomize, the result kept by content."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from shopset.core.errors import ShopsetError
from shopset.core.manifests import Build
from shopset.core.release.observed import BuildOf, Repository
from shopset.manifests import Kustomize, read_build, scan

_LAYOUTS_KEPT: Final = 8
"""Revisions whose trees stay exported; the results of builds stay for good."""


class Trees(Protocol):
    """Where the trees of commits come from."""

    def tree_of(self, repository: Repository, commit: str) -> str:
        """Return the id of a commit's tree."""
        ...

    def export(self, repository: Repository, commit: str, folder: Path) -> None:
        """Write a commit's files into a folder that does not exist yet."""
        ...


class CachingBuilder:
    """Builds overlays, each content once. Several threads and processes may use one folder."""

    def __init__(self, trees: Trees, kustomize: Kustomize, folder: Path) -> None:
        self._trees = trees
        self._kustomize = kustomize
        self._folder = folder
        self._exporting = Lock()

    def build(self, question: BuildOf) -> Build:
        """Build one overlay. What does not build is a Build with a problem."""
        try:
            text, problem = self.manifests(question)
        except (ShopsetError, OSError) as error:
            return Build(problem=str(error), transient=True)
        return Build(problem=problem) if problem else read_build(text)

    def manifests(self, question: BuildOf) -> tuple[str, str]:
        """Return the manifests of one overlay and an empty string, or an empty string and what is wrong.

        Raises ShopsetError and OSError where it cannot be tried on this machine.
        """
        kept = self._folder / "results" / f"{self._key(question)}.yaml"
        if kept.exists():
            return kept.read_text(encoding="utf-8"), ""
        text, problem = self._build(question)
        if not problem:
            _write(kept, text)
        return text, problem

    def _key(self, question: BuildOf) -> str:
        content = [
            self._trees.tree_of(Repository.APPS, question.apps).encode(),
            self._trees.tree_of(Repository.CONFIGURATION, question.configuration).encode(),
            question.overlay,
            self._kustomize.version.encode(),
        ]
        return hashlib.sha256(b"\0".join(content)).hexdigest()

    def _build(self, question: BuildOf) -> tuple[str, str]:
        layout = self._lay_out(question)
        # kustomize needs the overlay where ../../base leads to the base, so each build has a folder beside the others.
        name = hashlib.sha256(question.overlay).hexdigest()[:16]
        overlay = layout / "overlays" / name
        overlay.mkdir(parents=True, exist_ok=True)
        _write(overlay / "kustomization.yaml", question.overlay.decode())
        problem = scan(layout, overlay)
        return ("", problem) if problem else self._kustomize.build(overlay)

    def _lay_out(self, question: BuildOf) -> Path:
        layouts = self._folder / "layouts"
        layout = layouts / f"{question.apps[:20]}-{question.configuration[:20]}"
        with self._exporting:
            if not layout.exists():
                layouts.mkdir(parents=True, exist_ok=True)
                fresh = Path(tempfile.mkdtemp(dir=layouts, prefix="."))
                self._trees.export(Repository.APPS, question.apps, fresh / "base")
                self._trees.export(Repository.CONFIGURATION, question.configuration, fresh / "configuration")
                _move(fresh, layout)
                self._forget(layouts)
            # The oldest by use is forgotten first, never one that is being built in.
            os.utime(layout)
        return layout

    def _forget(self, layouts: Path) -> None:
        by_age = sorted(layouts.iterdir(), key=lambda path: (path.stat().st_mtime, path.name))
        for old in by_age[:-_LAYOUTS_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _move(fresh: Path, layout: Path) -> None:
    try:
        fresh.rename(layout)
    except OSError:
        # Another process was faster, with the same content.
        shutil.rmtree(fresh, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).replace(path)
