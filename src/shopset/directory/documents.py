"""YAML files, read within bounds."""

import stat
from pathlib import Path
from typing import Final

from shopset.core.documents import Document, Flaw, FlawError, Span, compose

_MOST_BYTES: Final = 4 << 20


def read_documents(path: Path) -> tuple[list[Document], Flaw | None, str]:
    """Return the documents of a file up to the first flaw, the flaw, and the file's text."""
    documents: list[Document] = []
    text = ""
    try:
        text = _read_text(path)
        documents.extend(compose(text))
    except FlawError as error:
        return documents, error.flaw, text
    return documents, None, text


def _read_text(path: Path) -> str:
    start = Span(1, 1)
    try:
        # A pipe or a device would be waited for, or never end.
        plain = stat.S_ISREG(path.stat().st_mode)
        content = _read_beginning(path) if plain else b""
    except OSError as error:
        message = f"the file cannot be read: {error.strerror}"
        raise FlawError(start, message, "mend its permissions, or remove it") from error
    if not plain:
        raise FlawError(start, "this is no plain file", "remove it, or give it another ending")
    if len(content) > _MOST_BYTES:
        raise FlawError(start, f"the file is larger than {_MOST_BYTES >> 20} MiB", "split it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise FlawError(Span(line, 1), f"byte {error.start} is not UTF-8", "save the file as UTF-8") from error


def _read_beginning(path: Path) -> bytes:
    """Return the content, or one byte more than a file may have."""
    with path.open("rb") as file:
        return file.read(_MOST_BYTES + 1)
