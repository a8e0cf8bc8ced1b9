"""Reading a fleet from a folder of YAML: any layout, several documents a file, each error at its line and column."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shopset.api import API_GROUP, API_VERSION, KINDS, InvalidValueError, Resource
from shopset.core.fleets import Fleet, Problem, assemble
from shopset.directory.diagnostics import Diagnostic
from shopset.directory.documents import Document, Field, Span, read_documents

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_WORDS: Final = {
    "missing": ("is missing", "add it"),
    "string_type": ("is not text", "quote it"),
    "int_type": ("is not a whole number", "write one, without quotes"),
    "float_type": ("is not a number", "write one, without quotes"),
    "bool_type": ("is neither true nor false", "write true or false, without quotes"),
    "model_type": ("is not an object", "write its fields below it, indented"),
    "model_attributes_type": ("is not an object", "write its fields below it, indented"),
    "dict_type": ("is not an object", "write its fields below it, indented"),
    "mapping_type": ("is not an object", "write its fields below it, indented"),
    "tuple_type": ("is not a list", "write each item on a line of its own, after a dash"),
    "too_short": ("has too few items", "add one"),
}


@dataclass(frozen=True)
class Reading:
    """What was read of a folder: the fleet, or (with any error) none."""

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
        self, field: Field, message: str, advice: str = "", *, of_key: bool = False, severity: Any = "error"
    ) -> Diagnostic:
        span = self.document.place((*self.prefix, *field), of_key=of_key)
        snippet = self.lines[span.line - 1] if span.line <= len(self.lines) else ""
        return Diagnostic(self.file, span, _dotted(field), message, advice, severity, snippet)


def read_fleet(folder: Path) -> Reading:
    """Read every YAML and JSON file below a folder. Never raises: whatever is wrong is a diagnostic."""
    return _FolderReader(folder).read()


class _FolderReader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._resources: list[Resource] = []
        self._sources: dict[str, list[_Source]] = {}
        self._diagnostics: list[Diagnostic] = []

    def read(self) -> Reading:
        files = list(self._files())
        for path in files:
            self._read_file(path)
        if not self._folder.is_dir():
            self._complain(".", Span(1, 1), f"there is no folder {self._folder}", "shopctl init makes one")
        elif not files:
            self._complain(".", Span(1, 1), f"there is no YAML file in {self._folder}", "shopctl init makes an example")
        broken = bool(self._diagnostics)
        assembly = assemble(self._resources)
        for problem in assembly.problems:
            # Where a file can't be read, that others refer to what it holds is no news.
            if not broken or problem.resource in self._sources:
                self._diagnostics.append(self._locate(problem))
        errors = any(diagnostic.severity == "error" for diagnostic in self._diagnostics)
        ordered = tuple(sorted(self._diagnostics, key=lambda found: found.order))
        return Reading(None if errors else assembly.fleet, tuple(self._resources), ordered, len(files))

    def _files(self) -> Iterator[Path]:
        for path in sorted(self._folder.rglob("*")):
            inside = path.relative_to(self._folder)
            if (
                path.suffix in _SUFFIXES
                and not any(part.startswith(".") for part in inside.parts)
                and not path.is_dir()
            ):
                yield path

    def _read_file(self, path: Path) -> None:
        file = str(path.relative_to(self._folder))
        documents, flaw, text = read_documents(path)
        lines = tuple(text.splitlines())
        for document in documents:
            self._take(_Source(file, document, (), lines), document.value)
        if flaw is not None:
            snippet = lines[flaw.span.line - 1] if flaw.span.line <= len(lines) else ""
            self._complain(file, flaw.span, flaw.message, flaw.advice, snippet)

    def _complain(self, file: str, span: Span, message: str, advice: str, snippet: str = "") -> None:
        self._diagnostics.append(Diagnostic(file, span, "", message, advice, "error", snippet))

    def _take(self, source: _Source, value: Any) -> None:
        if not isinstance(value, dict):
            self._diagnostics.append(
                source.diagnose((), "this is no object", "write apiVersion, kind, metadata and spec")
            )
        elif value.get("kind") == "List" and value.get("apiVersion") == "v1" and isinstance(value.get("items"), list):
            for index, item in enumerate(value["items"]):
                self._take(_Source(source.file, source.document, (*source.prefix, "items", index), source.lines), item)
        else:
            self._take_resource(source, value)

    def _take_resource(self, source: _Source, value: dict[str, Any]) -> None:
        version, kind = value.get("apiVersion"), value.get("kind")
        if version != API_VERSION:
            foreign = isinstance(version, str) and not version.startswith(f"{API_GROUP}/")
            advice = "keep objects of other groups in another folder" if foreign else f"write {API_VERSION}"
            message = "is missing" if version is None else f"{version!r} is not {API_VERSION}"
            self._diagnostics.append(source.diagnose(("apiVersion",), message, advice))
            return
        if not isinstance(kind, str) or kind not in KINDS:
            message = "is missing" if kind is None else f"there is no kind {kind!r}"
            self._diagnostics.append(source.diagnose(("kind",), message, _suggest(str(kind), list(KINDS))))
            return
        try:
            resource = KINDS[kind].model_validate(value)
        except ValidationError as error:
            self._diagnostics += [_of_pydantic(source, found, KINDS[kind]) for found in error.errors()]
            return
        self._resources.append(resource)
        self._sources.setdefault(resource.reference, []).append(source)

    def _locate(self, problem: Problem) -> Diagnostic:
        sources = self._sources.get(problem.resource)
        if not sources:
            return Diagnostic(".", Span(1, 1), "", problem.message, problem.advice, problem.severity)
        # Of several with one name, the last is the one too many.
        return sources[-1].diagnose(problem.field, problem.message, problem.advice, severity=problem.severity)


def _of_pydantic(source: _Source, error: ErrorDetails, kind: type[Resource]) -> Diagnostic:
    field: Field = tuple(part for part in error["loc"] if not _is_branch(part))
    cause = (error.get("ctx") or {}).get("error")
    if isinstance(cause, InvalidValueError):
        return source.diagnose((*field, *cause.field), cause.message, cause.advice)
    if error["type"] == "extra_forbidden":
        known = _fields_at(kind, field[:-1])
        return source.diagnose(field, "there is no such field", _suggest(str(field[-1]), known), of_key=True)
    message, advice = _WORDS.get(error["type"], (error["msg"][:1].lower() + error["msg"][1:], ""))
    return source.diagnose(field, message, advice)


def _is_branch(part: str | int) -> bool:
    # pydantic names the branch of a union, or a constraint, in the location; no field has such a name.
    return isinstance(part, str) and (
        part in ("int", "float", "str", "[key]") or "[" in part or ("-" in part and " " in part)
    )


def _fields_at(kind: type[Resource], field: Field) -> list[str]:
    """Return the names of the fields at a path of a kind, by its schema."""
    schema = kind.model_json_schema(by_alias=True)
    node: dict[str, Any] = schema
    for part in field:
        node = _resolved(schema, node)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return sorted(_resolved(schema, node).get("properties", {}))


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    for option in node.get("anyOf", []):
        if "$ref" in option:
            node = option
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _suggest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}" if known else "remove it"


def _dotted(field: Field) -> str:
    text = ""
    for part in field:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
