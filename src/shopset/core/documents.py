"""YAML as values that remember where each field stands. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from shopset.api import redact
from shopset.api.errors import quoted

Field = tuple[str | int, ...]

_MOST_UNFOLDED: Final = 100_000
"""Values that aliases may add to those that a file spells out: a small file must not unfold into a huge one."""
_DEEPEST: Final = 50
_INTEGER_BITS: Final = 64
"""What Kubernetes has for a whole number; Python may not even show a much longer one."""


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file: 1-based line and column, and how many characters."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True)
class Flaw:
    """Why a file, or one document of it, can't be read."""

    span: Span
    message: str
    advice: str


@dataclass(frozen=True)
class Document:
    """One YAML document: its value, and where each field and each key of it stands."""

    value: Any
    fields: dict[Field, Span] = field(default_factory=dict)
    keys: dict[Field, Span] = field(default_factory=dict)

    def place(self, path: Field, *, of_key: bool = False) -> Span:
        """Return where a field stands, or else the nearest field around it."""
        spans = self.keys if of_key else self.fields
        while path and path not in spans and path not in self.fields:
            path = path[:-1]
        return spans.get(path) or self.fields.get(path) or Span(1, 1)


class FlawError(Exception):
    """A flaw, on its way to whoever reads the file."""

    def __init__(self, span: Span, message: str, advice: str) -> None:
        super().__init__(message)
        self.flaw = Flaw(span, message, advice)


def compose(text: str) -> Iterator[Document]:
    """Yield the documents of a file. Raises FlawError at the first flaw."""
    # Without aliases, a file has fewer values than characters.
    reader = _Reader(most_values=len(text) + _MOST_UNFOLDED)
    try:
        for node in yaml.compose_all(text, yaml.CSafeLoader):
            if node is not None and not (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
                yield reader.document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        span = Span(mark.line + 1, mark.column + 1) if mark else Span(1, 1)
        message = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise FlawError(span, f"this is no YAML: {message}", "mend it; blanks, not tabs, indent") from error
    except yaml.YAMLError as error:
        raise FlawError(
            Span(1, 1), f"this is no YAML: {' '.join(str(error).split())}", "remove what is no text"
        ) from error


class _Reader:
    """Turns nodes into values. Scalars are resolved by the rules of YAML 1.1, as Kubernetes does."""

    def __init__(self, most_values: int) -> None:
        self._most_values = most_values
        self._values = 0
        self._constructor = yaml.constructor.SafeConstructor()
        self._fields: dict[Field, Span] = {}
        self._keys: dict[Field, Span] = {}

    def document(self, node: yaml.Node) -> Document:
        self._fields, self._keys = {}, {}
        value = self._value(node, ())
        return Document(value, self._fields, self._keys)

    def _value(self, node: yaml.Node, path: Field) -> Any:
        self._values += 1
        span = _span(node)
        if self._values > self._most_values or len(path) > _DEEPEST:
            raise FlawError(span, "the document unfolds into too much", "write it without so many aliases or levels")
        self._fields[path] = span
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, span)

    def _items(self, node: yaml.MappingNode, path: Field) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Span] = {}
        for key_node, value_node in node.value:
            span = _span(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                raise FlawError(span, "a key is no plain word", "write each field by its name")
            key = key_node.value
            if key in seen:
                raise FlawError(
                    span, f"{quoted(key)} is there twice, first on line {seen[key].line}", "keep one of the two"
                )
            seen[key] = span
            self._keys[*path, key] = span
            yield key, self._value(value_node, (*path, key))

    def _scalar(self, node: yaml.Node, span: Span) -> Any:
        if node.tag.endswith((":str", ":timestamp", ":binary")):
            # Kubernetes has strings where YAML 1.1 sees a date.
            return node.value
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, LookupError, ValueError) as error:
            raise _unreadable(node, span) from error
        if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
            raise _unreadable(node, span)
        return value


def _unreadable(node: yaml.Node, span: Span) -> FlawError:
    tag = node.tag.replace("tag:yaml.org,2002:", "!!")
    message = f"{quoted(redact(node.value))} cannot be read as {quoted(tag)}"
    return FlawError(span, message, "quote it, without a tag")


def _span(node: yaml.Node) -> Span:
    start, end = node.start_mark, node.end_mark
    same_line = end.line == start.line
    scalar = isinstance(node, yaml.ScalarNode)
    return Span(start.line + 1, start.column + 1, max(1, end.column - start.column) if scalar and same_line else 1)
