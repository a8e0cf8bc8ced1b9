"""Strings in YAML: plain where every reader takes them for a string, quoted elsewhere."""

import json
import re
from typing import Final

_PLAIN: Final = re.compile(r"(?:\.\./)*[A-Za-z/][A-Za-z0-9_./-]*(?:[:@%+=~]+[A-Za-z0-9_./-]+)*")
_RESERVED: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
"""What YAML 1.1 (which Kubernetes reads) takes for something else than a string."""


def scalar(text: str) -> str:
    """Return `text` as a YAML scalar that is always read as the same string."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED else json.dumps(text)
