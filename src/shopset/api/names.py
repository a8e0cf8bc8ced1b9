"""Names and labels as Kubernetes has them, and the namespaces that no ShopSet may take."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from shopset.api.errors import InvalidValueError, quoted

NAME_LENGTH = 63
"""The most characters of a DNS-1123 label, and so of a name, a namespace and a label's value."""

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
PREFIX_PATTERN = r"^([a-z0-9][-a-z0-9]*)?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"

_NAME = re.compile(NAME_PATTERN.rstrip("$") + r"\Z")
_PREFIX = re.compile(PREFIX_PATTERN.rstrip("$") + r"\Z")
_LABEL_VALUE = re.compile(LABEL_VALUE_PATTERN.rstrip("$") + r"\Z")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
_LABEL_PREFIX_LENGTH = 253
_SYSTEM_NAMESPACES = frozenset({"default", "argocd"})
_SYSTEM_PREFIXES = ("kube-", "openshift-")
_SHAPE = "use lower-case letters, digits and '-', beginning and ending with a letter or digit"


def check_name(text: str) -> str:
    """Return `text` where it is a DNS-1123 label. Raises InvalidValueError."""
    if len(text) > NAME_LENGTH:
        message = f"{quoted(text)} is {len(text)} characters long"
        raise InvalidValueError(message, f"a name has at most {NAME_LENGTH}")
    if _NAME.match(text) is None:
        message = f"{quoted(text)} is not a name"
        raise InvalidValueError(message, _SHAPE)
    return text


def check_prefix(text: str) -> str:
    """Return `text` where a name can begin with it (or it is empty). Raises InvalidValueError."""
    if len(text) >= NAME_LENGTH or _PREFIX.match(text) is None:
        message = f"{quoted(text)} is not the beginning of a name"
        raise InvalidValueError(message, f"{_SHAPE.partition(',')[0]}, as in shopset-")
    return text


def check_label_value(text: str) -> str:
    """Return `text` where it can be the value of a Kubernetes label. Raises InvalidValueError."""
    if len(text) > NAME_LENGTH or _LABEL_VALUE.match(text) is None:
        message = f"{quoted(text)} is not the value of a label"
        raise InvalidValueError(message, "use at most 63 letters, digits, '-', '_' and '.', as in tokyo-1")
    return text


def check_label_key(text: str) -> str:
    """Return `text` where it can be the key of a Kubernetes label. Raises InvalidValueError."""
    prefix, slash, name = text.rpartition("/")
    named = len(name) <= NAME_LENGTH and _LABEL_NAME.match(name) is not None
    parts = prefix.split(".") if slash else []
    if not named or len(prefix) > _LABEL_PREFIX_LENGTH or any(_NAME.match(part) is None for part in parts):
        message = f"{quoted(text)} is not the key of a label"
        raise InvalidValueError(message, "use a word, or a domain and a word, as in region or example.com/region")
    return text


def is_system_namespace(namespace: str) -> bool:
    """Tell whether `namespace` belongs to Kubernetes or to what manages it."""
    return namespace in _SYSTEM_NAMESPACES or namespace.startswith(_SYSTEM_PREFIXES)


Name = Annotated[str, AfterValidator(check_name), Field(json_schema_extra={"pattern": NAME_PATTERN, "maxLength": 63})]
Prefix = Annotated[
    str, AfterValidator(check_prefix), Field(json_schema_extra={"pattern": PREFIX_PATTERN, "maxLength": 62})
]
LabelKey = Annotated[str, AfterValidator(check_label_key)]
LabelValue = Annotated[
    str,
    AfterValidator(check_label_value),
    Field(json_schema_extra={"pattern": LABEL_VALUE_PATTERN, "maxLength": 63}),
]
