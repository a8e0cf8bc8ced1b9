"""Strings in YAML: plain where every reader takes them for a string, quoted elsewhere."""

import json
import re
from typing import Final

_PLAIN: Final = re.compile(r"(?:\.\./)*[A-Za-z/][A-Za-z0-9_./-]*(?:[:@%+=~]+[A-Za-z0-9_./-]+)*")
_RESERVED: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
"""What YAML 1.1 (which Kubernetes reads) takes for something else than a string."""
_BEYOND_ASCII: Final = re.compile(r"[^ -~]")


def scalar(text: str) -> str:
    """Return `text` as a YAML scalar that is always read as the same string."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED else _quoted(text)


def _quoted(text: str) -> str:
    # As JSON, but for what lies beyond 16 bits: JSON writes two surrogates, which are no characters in YAML.
    return _BEYOND_ASCII.sub(_escaped, json.dumps(text, ensure_ascii=False))


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
