"""URLs of repositories and endpoints: what git and curl may be given, and nothing that smuggles."""

import re
import string
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator, Field

from shopset.api.errors import InvalidValueError, quoted

TEMPLATE_FIELDS = ("shopset", "namespace", "tier", "cluster")
"""The names that an endpoint may hold in braces."""

_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_WITH_SCHEME = re.compile(rf"(?P<scheme>https?|ssh|git)://(?:(?P<user>[^/@]*)@)?{_HOST}(?::[0-9]{{1,5}})?/(?P<path>.+)")
_FILE = re.compile(r"(?:file://)?/(?P<path>.+)")
_SCP_LIKE = re.compile(rf"(?:{_USER}@)?{_HOST}:(?P<path>[^-:@][^@]*)")
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9{\[][A-Za-z0-9.:{}\[\]-]*(?:/[^\s]*)?")
_LONGEST = 2048
# As schemas have it: they know no percent-encoding, so what is dots or slashes once decoded is for check_repository_url.
_NOT = r"\x00-\x20\x7f-\xa0\\" + "\u2028\u2029"
_SEGMENT = rf"(?:\.{{0,2}}[^./?#{_NOT}][^/?#{_NOT}]*|\.{{3,}}[^/?#{_NOT}]*)"
_BELOW = rf"{_SEGMENT}(?:/{_SEGMENT})*"
_REPOSITORY_PATTERN = (
    rf"^(?:(?:(?:https?|git)://|ssh://(?:{_USER}@)?){_HOST}(?::[0-9]{{1,5}})?/{_BELOW}|(?:file://)?/{_BELOW}"
    rf"|(?:{_USER}@)?{_HOST}:[^-:@/?#{_NOT}][^@?#{_NOT}]*)$"
)
_FIELD = rf"\{{(?:{'|'.join(TEMPLATE_FIELDS)})\}}|\{{\{{"
_TEMPLATE = rf"{_FIELD}|\}}\}}"
_ENDPOINT_PATTERN = (
    rf"^https?://(?:[A-Za-z0-9\[]|{_FIELD})(?:[A-Za-z0-9.:\[\]-]|{_TEMPLATE})*(?:/(?:[^{{}}{_NOT}]|{_TEMPLATE})*)?$"
)
# A password may hold anything, so everything up to the last @ goes; too much starred out is better than too little.
_USERINFO = re.compile(r"(?<=://).*(?=@)|(?<![^\s\"'])[^\s\"'/@]+:(?!//)[^\s\"'@]+(?=@)")
_FORMS = (
    "write it as in https://git.example.com/team/shopset-system.git, "
    "git@git.example.com:team/shopset-system.git or /srv/git/shopset-system.git"
)
_NO_CREDENTIALS = "remove it, and let a git credential helper supply it"


def check_repository_url(text: str) -> str:
    """Return `text` where it names a repository and nothing else. Raises InvalidValueError."""
    if text.startswith("-") or len(text) > _LONGEST or _UNSAFE.search(text):
        message = f"{quoted(redact(text))} is not the URL of a repository"
        raise InvalidValueError(message, "remove dashes at its beginning, blanks, backslashes and control characters")
    match = _WITH_SCHEME.fullmatch(text)
    if match is not None:
        _check_user(text, match["scheme"], match["user"])
    else:
        match = _FILE.fullmatch(text) or _SCP_LIKE.fullmatch(text)
    if match is None or "::" in text.partition("[")[0]:
        message = f"{quoted(redact(text))} is not the URL of a repository"
        raise InvalidValueError(message, _FORMS if redact(text) == text else _NO_CREDENTIALS)
    _check_path(text, match["path"])
    return text


def _check_user(text: str, scheme: str, user: str | None) -> None:
    """Refuse a password anywhere, and a user where the scheme has no use for one."""
    if user is None:
        return
    if scheme != "ssh" or re.fullmatch(_USER, user) is None:
        message = f"{quoted(redact(text))} carries a credential"
        raise InvalidValueError(message, _NO_CREDENTIALS)


def _check_path(text: str, path: str) -> None:
    if "?" in path or "#" in path:
        message = f"{quoted(redact(text))} has a query or fragment"
        raise InvalidValueError(message, "remove everything from '?' or '#' on")
    segments = unquote(path).split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        message = f"{quoted(redact(text))} has an empty, '.' or '..' segment"
        raise InvalidValueError(message, "write the path in full, without a slash at its end")


def repository_parent(url: str) -> str:
    """Return what of a checked repository URL stands before its last segment, without the separator."""
    return url[: len(url) - len(repository_folder(url)) - 1]


def repository_folder(url: str) -> str:
    """Return the last segment of a checked repository URL, as in `shopset-apps.git`."""
    return re.split(r"[/:]", url)[-1]


def check_endpoint(text: str) -> str:
    """Return `text` where it is an http(s) URL, possibly with TEMPLATE_FIELDS in braces. Raises InvalidValueError."""
    fields = _template_fields(text)
    if fields is None or len(text) > _LONGEST or _UNSAFE.search(text) or _ENDPOINT.fullmatch(text) is None:
        message = f"{quoted(redact(text))} is not an http or https URL"
        raise InvalidValueError(
            message, "write it as in https://{shopset}.example.com/health, without user or password"
        )
    unknown = sorted(fields - set(TEMPLATE_FIELDS))
    if unknown:
        message = f"{quoted(text)} has the unknown field {{{unknown[0]}}}"
        raise InvalidValueError(message, f"use {', '.join(f'{{{field}}}' for field in TEMPLATE_FIELDS)}")
    return text


def _template_fields(text: str) -> set[str] | None:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return None
    plain = all(not format_spec and not conversion for _, _, format_spec, conversion in parts)
    return {field for _, field, _, _ in parts if field is not None} if plain else None


def redact(text: str) -> str:
    """Return `text` with the user and password of each URL starred out, at the same length."""
    return _USERINFO.sub(lambda match: "*" * len(match[0]), text)


RepositoryUrl = Annotated[
    str,
    AfterValidator(check_repository_url),
    Field(json_schema_extra={"pattern": _REPOSITORY_PATTERN, "maxLength": _LONGEST}),
]
Endpoint = Annotated[
    str, AfterValidator(check_endpoint), Field(json_schema_extra={"pattern": _ENDPOINT_PATTERN, "maxLength": _LONGEST})
]
