"""Host names as browsers normalise them: planner, edge and git must agree on which shop a host is."""

import ipaddress
import re
from typing import Annotated

import idna
from pydantic import AfterValidator

from shopset.api.errors import InvalidValueError, quoted

_HOST_LENGTH = 253
_LABEL_LENGTH = 63
_PORT = re.compile(r":[0-9]{0,5}\Z")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\Z")
_NUMERIC = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_ADVICE = "write a name as in shop.example.com or *.example.com"


def normalise_host(text: str) -> str:
    """Return `text` as a browser would put it into a Host header, without its port.

    Case, a trailing dot and a port don't matter; other scripts become A-labels (UTS 46, non-transitional); `*.` is kept
    as the first label. Idempotent. Raises InvalidValueError for what is no DNS name: a URL, an address, a single label.
    """
    without_port = _PORT.sub("", text.strip(" \t"))
    wildcard, name = ("*.", without_port[2:]) if without_port.startswith("*.") else ("", without_port)
    ascii_name = _to_ascii(text, name).removesuffix(".")
    labels = ascii_name.split(".")
    if len(labels) < 2 or not all(len(label) <= _LABEL_LENGTH and _LABEL.match(label) for label in labels):
        raise _refusal(text)
    if _NUMERIC.match(labels[-1]):
        message = f"{quoted(text)} is an address"
        raise InvalidValueError(message, _ADVICE)
    host = wildcard + ascii_name
    if len(host) > _HOST_LENGTH:
        message = f"{quoted(text)} is {len(host)} characters long"
        raise InvalidValueError(message, f"a host has at most {_HOST_LENGTH}")
    return host


def _to_ascii(text: str, name: str) -> str:
    """Map `name` by UTS 46 and encode what is not ASCII; underscores pass, as browsers let them."""
    if _is_address(name):
        message = f"{quoted(text)} is an address"
        raise InvalidValueError(message, _ADVICE)
    try:
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
        return ".".join(_encode(label) for label in mapped.split("."))
    except UnicodeError as error:
        raise _refusal(text) from error


def _encode(label: str) -> str:
    if label.startswith("xn--"):
        idna.ulabel(label)
        return label
    return label if label.isascii() else idna.alabel(label).decode("ascii")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _refusal(text: str) -> InvalidValueError:
    return InvalidValueError(f"{quoted(text)} is not a host name", _ADVICE)


Host = Annotated[str, AfterValidator(normalise_host)]
