"""Shops of files: YAML with Shop resources, CSV, and JSON lines, one file or all below a folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from pydantic import ValidationError

from shopset.api import API_VERSION, Shop
from shopset.api.errors import quoted
from shopset.core.documents import Document, FlawError, compose
from shopset.core.explaining import explain
from shopset.core.placement.tables import ShopProblem, Table
from shopset.shops._building import Builder, EdgeColumns
from shopset.shops._texts import NAMES, FileError, read_csv, read_json_lines

_YAML: Final = (".yaml", ".yml")
_SUFFIXES: Final = (*_YAML, ".csv", ".jsonl")
_MOST_YAML: Final = 4 << 20
_KIND: Final = f"keep only Shops of {API_VERSION} here"

Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class FilesReading:
    """What was read of a path."""

    table: Table
    problems: tuple[ShopProblem, ...]


def fingerprint(path: Path) -> Fingerprint:
    """Return what changes with the content of any file of a source: names, times, sizes. Empty where nothing is there."""
    return tuple(_stamp(each) for each in _files(path, []))


def _stamp(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    # A file that is put in the place of another may be as large and as old.
    return str(path), found.st_mtime_ns, found.st_size, found.st_ino


def read_files(path: Path, source: str) -> FilesReading:
    """Read a file, or all files below a folder in the order of their paths. Never raises: what is wrong is a problem.

    `source` is the path as the Platform has it, which is what places are told with.
    """
    reader = _Reader(path, source)
    reader.read()
    return FilesReading(reader.builder.table(reader.files), tuple(reader.builder.problems))


class _Reader:
    def __init__(self, path: Path, source: str) -> None:
        self._path = path
        self._file = source
        self._source = source
        self.files: list[tuple[int, str]] = []
        self.builder = Builder(source, lambda line: f"{self._file}:{line}", NAMES)

    def read(self) -> None:
        faults: list[OSError] = []
        found = list(_files(self._path, faults))
        for fault in faults:
            self._complain(str(fault.filename), f"cannot be read: {fault.strerror}", "mend its permissions or its path")
        if self._path.is_dir() and not found and not faults:
            message = f"there is no file in it that ends in {', '.join(_SUFFIXES)}"
            self._complain(self._source, message, "add one, or take the source out of spec.shops.sources")
        for path in found:
            inside = path.relative_to(self._path)
            # A placement's history is read on other machines: paths are told as the Platform has them.
            self._file = self._source if path == self._path else f"{self._source.rstrip('/')}/{inside}"
            self.files.append((len(self.builder), self._file))
            self._read_file(path)

    def _read_file(self, path: Path) -> None:
        try:
            if not path.is_file():
                self._complain(self._file, "this is no plain file", "remove it, or give it another ending")
                return
            with path.open("rb") as file:
                self._read_open(path.suffix, file)
        except OSError as error:
            self._complain(self._file, f"cannot be read: {error.strerror}", "mend its permissions, or remove it")
        except FileError as error:
            self._complain(f"{self._file}:{error.line}", error.message, error.advice, error.field)

    def _read_open(self, suffix: str, file: BinaryIO) -> None:
        if suffix == ".csv":
            read_csv(file, self.builder)
        elif suffix == ".jsonl":
            read_json_lines(file, self.builder)
        elif suffix in _YAML:
            self._read_yaml(file.read(_MOST_YAML + 1))
        else:
            message = "it is not known what is in the file"
            self._complain(self._file, message, f"let its name end in one of {', '.join(_SUFFIXES)}")

    def _read_yaml(self, content: bytes) -> None:
        if len(content) > _MOST_YAML:
            raise FileError(1, "", f"the file is larger than {_MOST_YAML >> 20} MiB", "write CSV or JSON lines instead")
        try:
            for document in compose(content.decode("utf-8-sig")):
                self._take(document)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise FileError(line, "", f"byte {error.start + 1} is not UTF-8", "save the file as UTF-8") from error
        except FlawError as error:
            place = f"{self._file}:{error.flaw.span.line}:{error.flaw.span.column}"
            self._complain(place, error.flaw.message, error.flaw.advice)

    def _take(self, document: Document) -> None:
        value = document.value
        kind = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(value, dict) or value.get("apiVersion") != API_VERSION or kind != "Shop":
            what = "this is no object" if kind is None else f"{quoted(kind)} is no Shop of {API_VERSION}"
            self._complain(self._at(document, ()), what, _KIND)
            return
        try:
            shop = Shop.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            self._refuse(document, value, error)
            return
        demand, limits = shop.spec.demand, shop.spec.limits
        self.builder.add(
            [shop.name],
            [shop.spec.class_],
            [shop.spec.hosts],
            [None if demand is None else demand.requests_per_second],
            [None if demand is None else demand.connections],
            [shop.spec.pins],
            np.array([document.place(("metadata", "name")).line], np.int32),
            edge=EdgeColumns(
                [None if limits is None else limits.requests_per_second],
                [None if limits is None else limits.burst],
                [shop.spec.maintenance],
            ),
        )

    def _refuse(self, document: Document, value: dict[str, Any], error: ValidationError) -> None:
        metadata = value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        known = self.builder.note_unread(name if isinstance(name, str) else "")
        for found in explain(Shop, error):
            place = self._at(document, found.field, of_key=found.of_key)
            field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found.field)[1:]
            self.builder.complain(ShopProblem(place, str(name) if known else "", field, found.message, found.advice))

    def _at(self, document: Document, field: tuple[str | int, ...], *, of_key: bool = False) -> str:
        span = document.place(field, of_key=of_key)
        return f"{self._file}:{span.line}:{span.column}"

    def _complain(self, place: str, message: str, advice: str, field: str = "") -> None:
        """Note what is wrong with a whole file: its shops are not known therefore."""
        self.builder.is_whole = False
        self.builder.problems.append(ShopProblem(place, "", field, message, advice))


def _files(path: Path, faults: list[OSError]) -> Iterator[Path]:
    """Yield a file, or those below a folder that may hold shops, sorted; what cannot be listed is a fault."""
    if not path.is_dir():
        try:
            path.stat()
        except OSError as error:
            faults.append(error)
            return
        yield path
        return
    found = []
    for name, folders, files in os.walk(path, onerror=faults.append):
        folders[:] = [each for each in folders if not each.startswith(".")]
        found += [Path(name, each) for each in files if each.endswith(_SUFFIXES) and not each.startswith(".")]
    yield from sorted(found)
