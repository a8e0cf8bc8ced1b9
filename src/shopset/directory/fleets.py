"""Reading a fleet from a folder of YAML: any layout, several documents a file, each error at its line and column."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from shopset.api import API_GROUP, API_VERSION, KINDS, Platform, Resource
from shopset.api.errors import quoted
from shopset.core.documents import Document, Field, Span
from shopset.core.explaining import explain, suggest
from shopset.core.fleets import Fleet, Problem, assemble
from shopset.directory.diagnostics import Diagnostic, dotted, printable, shown_line
from shopset.directory.documents import read_documents

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_START: Final = Span(1, 1)


@dataclass(frozen=True)
class Reading:
    """What was read of a folder: the fleet, or (with any error that stops it) none."""

    fleet: Fleet | None
    resources: tuple[Resource, ...]
    diagnostics: tuple[Diagnostic, ...]
    """Sorted by file, line and column."""
    files: int

    @property
    def errors(self) -> int:
        """How many of the diagnostics are errors."""
        return sum(diagnostic.severity == "error" for diagnostic in self.diagnostics)


@dataclass(frozen=True)
class _Source:
    """Where a resource was read."""

    file: str
    document: Document
    prefix: Field
    lines: tuple[str, ...]

    def diagnose(
        self,
        field: Field,
        message: str,
        advice: str = "",
        *,
        of_key: bool = False,
        severity: Literal["error", "warning"] = "error",
    ) -> Diagnostic:
        span = self.document.place((*self.prefix, *field), of_key=of_key)
        return Diagnostic(self.file, span, dotted(field), message, advice, severity, shown_line(self.lines, span))


def read_fleet(folder: Path) -> Reading:
    """Read every YAML and JSON file below a folder. Never raises: whatever is wrong is a diagnostic.

    Names that begin with a dot are skipped, and so is the folder of the directory clusters where it lies inside.
    """
    reading = _FolderReader(folder).read()
    clusters = _clusters_inside(folder, reading.resources)
    return _FolderReader(folder, clusters).read() if clusters else reading


def _clusters_inside(folder: Path, resources: tuple[Resource, ...]) -> Path | None:
    """Return where inside a fleet's folder its directory clusters lie: what is in there are no resources."""
    for resource in resources:
        if isinstance(resource, Platform) and resource.spec.delivery.directory is not None:
            clusters = Path(os.path.normpath(folder / resource.spec.delivery.directory.path))
            base = Path(os.path.normpath(folder))
            if base in clusters.parents and clusters.is_dir():
                return folder / clusters.relative_to(base)
    return None


class _FolderReader:
    def __init__(self, folder: Path, skipped: Path | None = None) -> None:
        self._folder = folder
        self._skipped = skipped
        self._resources: list[Resource] = []
        self._sources: dict[str, list[_Source]] = {}
        self._diagnostics: list[Diagnostic] = []
        self._refused: set[str] = set()
        self._unread = False

    def read(self) -> Reading:
        files = sorted(self._files())
        for path in files:
            self._read_file(path)
        if not files and not self._unread:
            self._complain(".", f"there is no YAML file in {self._folder}", "shopctl init makes an example")
        assembly = assemble(self._resources)
        self._diagnostics += [self._locate(problem) for problem in assembly.problems if self._is_news(problem)]
        errors = any(each.severity == "error" and each.stops for each in self._diagnostics)
        ordered = tuple(sorted(self._diagnostics, key=lambda found: found.order))
        return Reading(None if errors else assembly.fleet, tuple(self._resources), ordered, len(files))

    def _files(self) -> Iterator[Path]:
        for name, folders, files in os.walk(self._folder, onerror=self._cannot_list):
            here = Path(name)
            folders[:] = [each for each in folders if not each.startswith(".") and here / each != self._skipped]
            for link in [here / each for each in folders if (here / each).is_symlink()]:
                self._complain(self._relative(link), "a link to a folder is not followed", "put the folder itself here")
            yield from (here / each for each in files if each.endswith(_SUFFIXES) and not each.startswith("."))

    def _cannot_list(self, error: OSError) -> None:
        # Resources that can't be seen must not pass for resources that were removed.
        path = Path(error.filename)
        if path == self._folder and isinstance(error, FileNotFoundError):
            self._complain(".", f"there is no folder {path}", "shopctl init makes one")
        else:
            message = f"the folder cannot be read: {error.strerror}"
            self._complain(self._relative(path), message, "mend its permissions, or remove it")

    def _relative(self, path: Path) -> str:
        return printable(str(path.relative_to(self._folder)))

    def _read_file(self, path: Path) -> None:
        file = self._relative(path)
        documents, flaw, text = read_documents(path)
        lines = tuple(text.splitlines())
        for document in documents:
            self._take(_Source(file, document, (), lines), document.value)
        if flaw is not None:
            self._complain(file, flaw.message, flaw.advice, flaw.span, shown_line(lines, flaw.span))

    def _complain(self, file: str, message: str, advice: str, span: Span = _START, snippet: str = "") -> None:
        """Note what is wrong with a whole file or folder, whose resources are unknown therefore."""
        self._unread = True
        self._diagnostics.append(Diagnostic(file, span, "", message, advice, "error", snippet))

    def _take(self, source: _Source, value: Any) -> None:
        if _is_list(value):
            for index, item in enumerate(value["items"]):
                self._take(_Source(source.file, source.document, (*source.prefix, "items", index), source.lines), item)
        elif isinstance(value, dict):
            unknown = _frame_error(source, value)
            self._take_resource(source, value) if unknown is None else self._refuse(unknown)
        else:
            self._refuse(source.diagnose((), "this is no object", "write apiVersion, kind, metadata and spec"))

    def _refuse(self, diagnostic: Diagnostic) -> None:
        self._unread = True
        self._diagnostics.append(diagnostic)

    def _take_resource(self, source: _Source, value: dict[str, Any]) -> None:
        kind = KINDS[value["kind"]]
        try:
            # The names of Python are no names in a file: kubectl would refuse them.
            resource = kind.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            self._refused |= _references(value)
            self._diagnostics += [
                source.diagnose(found.field, found.message, found.advice, of_key=found.of_key)
                for found in explain(kind, error)
            ]
            return
        self._resources.append(resource)
        self._sources.setdefault(resource.reference, []).append(source)

    def _is_news(self, problem: Problem) -> bool:
        """Tell whether a problem is more than what follows from resources that were refused or never seen."""
        return not problem.missing or not (self._unread or problem.missing in self._refused)

    def _locate(self, problem: Problem) -> Diagnostic:
        sources = self._sources.get(problem.resource)
        if not sources:
            return Diagnostic(".", _START, "", problem.message, problem.advice, problem.severity, stops=problem.stops)
        # Of several with one name, the last is the one too many.
        found = sources[-1].diagnose(problem.field, problem.message, problem.advice, severity=problem.severity)
        return replace(found, stops=problem.stops)


def _is_list(value: Any) -> bool:
    """Tell whether a value is what `kubectl get -o yaml` writes of several objects."""
    listed = isinstance(value, dict) and value.get("apiVersion") == "v1" and value.get("kind") == "List"
    return listed and isinstance(value.get("items"), list)


def _frame_error(source: _Source, value: dict[str, Any]) -> Diagnostic | None:
    """Return what keeps an object from being one of a kind that shopset knows."""
    version, kind = value.get("apiVersion"), value.get("kind")
    if version != API_VERSION:
        foreign = isinstance(version, str) and not version.startswith(f"{API_GROUP}/")
        advice = "keep objects of other groups in another folder" if foreign else f"write {API_VERSION}"
        message = "is missing" if version is None else f"{quoted(version)} is not {API_VERSION}"
        return source.diagnose(("apiVersion",), message, advice)
    if not isinstance(kind, str) or kind not in KINDS:
        message = "is missing" if kind is None else f"there is no kind {quoted(kind)}"
        return source.diagnose(("kind",), message, suggest(str(kind), list(KINDS)))
    return None


def _references(value: dict[str, Any]) -> set[str]:
    """Return by which references others may call an object that was refused: its kind, and kind and name."""
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return {value["kind"], f"{value['kind']}/{name}"}
