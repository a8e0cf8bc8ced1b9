"""Certificates of shops: what a PEM file must hold to be served, and what is worth telling of those that are.

Whether a key belongs to its certificate OpenSSL judges; here only names and times are read. Served is one text for each
certificate: it, its chain and its key, without what HAProxy's runtime API would take for the end of it (an empty line).
"""

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from shopset.core.errors import ShopsetError

EXPIRING: Final = timedelta(days=14)
"""How long before its end a certificate is told of, and not before the last third of its life."""
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n(.*?)-----END \1-----", re.DOTALL)
_HOST: Final = re.compile(rb"[A-Za-z0-9*._-]+\Z")
_LINE: Final = 64
_FEW: Final = 3
"""Names that a message has."""
_SEQUENCE, _OBJECT_ID, _UTC_TIME, _TIME, _DNS_NAME = 0x30, 0x06, 0x17, 0x18, 0x82
_EXTENSIONS: Final = 0xA3
_SUBJECT_ALT_NAME: Final = bytes.fromhex("551d11")
_KEY_TYPES: Final = {
    bytes.fromhex("2a8648ce3d0201"): "EC",
    bytes.fromhex("2a864886f70d010101"): "RSA",
    bytes.fromhex("2b6570"): "Ed25519",
}

Reason = Literal[
    "Refused", "NotYetValid", "Expired", "Expiring", "Shadowed", "SeveralShops", "NotRouted", "Kept", "Unread"
]


class CertificateError(ShopsetError):
    """A certificate cannot be served. It says why, and never a word of a key."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says."""

    names: tuple[str, ...]
    """Its DNS names in lower case, sorted; `*.` stands for one label."""
    not_before: datetime
    not_after: datetime
    key_type: str
    """HAProxy chooses among certificates with the same name by the type of key that a client asks for."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is served."""

    text: str
    """PEM: the certificate, its chain, its key."""
    certificate: Certificate

    @property
    def digest(self) -> str:
        """A name for exactly this text."""
        return digest(self.text.encode())


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about one certificate or one source that a person should know."""

    name: str
    reason: Reason
    message: str


def digest(content: bytes) -> str:
    """Return a name for exactly this content."""
    return hashlib.sha256(content).hexdigest()[:16]


# --- Reading ----------------------------------------------------------------------------------------------------------


def bundle(*files: bytes) -> Bundle:
    """Make what is served of the PEM files of one certificate. Raises CertificateError."""
    certificates: list[bytes] = []
    keys: list[tuple[str, bytes]] = []
    for label, content in _blocks(b"\n".join(files)):
        if label == "CERTIFICATE" and content not in certificates:
            certificates.append(content)
        elif label.endswith("PRIVATE KEY") and (label, content) not in keys:
            keys.append((label, content))
    if not certificates:
        raise CertificateError("has no certificate: it must be PEM, with a line -----BEGIN CERTIFICATE-----")
    if len(keys) != 1:
        raise CertificateError(f"has {len(keys) or 'no'} private key{'s' * (len(keys) > 1)}: it must have one")
    blocks = [*(("CERTIFICATE", each) for each in certificates), *keys]
    return Bundle("".join(_pem(*each) for each in blocks), read_certificate(certificates[0]))


def read_certificate(der: bytes) -> Certificate:
    """Read the names and the times of a certificate. Raises CertificateError."""
    try:
        return _certificate(der)
    except (ValueError, IndexError, StopIteration) as error:
        raise CertificateError("has a certificate that cannot be read") from error


def _blocks(pem: bytes) -> Iterator[tuple[str, bytes]]:
    for match in _BLOCK.finditer(pem):
        label, text = match[1].decode(), match[2]
        if "ENCRYPTED" in label or b"ENCRYPTED" in text:
            raise CertificateError("has a key with a passphrase: write it without one")
        try:
            yield label, b64decode(b"".join(text.split()), validate=True)
        except binascii.Error as error:
            raise CertificateError(f"has a broken block {label}") from error


def _pem(label: str, content: bytes) -> str:
    text = b64encode(content).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def _certificate(der: bytes) -> Certificate:
    signed = _inside(next(_values(der)))
    body = [each for each in _values(_inside(next(_values(signed)))) if each[0] not in {0xA0, 0x81, 0x82}]
    # After the version: serial number, algorithm, issuer, validity, subject, key, extensions.
    not_before, not_after = (_time(*each) for each in _values(_inside(body[3])))
    algorithm = next(_values(_inside(next(_values(_inside(body[5]))))))
    names = {name for tag, content in body[6:] if tag == _EXTENSIONS for name in _names(content)}
    if not names:
        raise CertificateError("has a certificate without DNS names (subjectAltName)")
    return Certificate(tuple(sorted(names)), not_before, not_after, _KEY_TYPES.get(algorithm[1], algorithm[1].hex()))


def _names(extensions: bytes) -> Iterator[str]:
    for extension in _values(_inside(next(_values(extensions)))):
        (tag, identity), *_, (_, content) = _values(_inside(extension))
        if tag == _OBJECT_ID and identity == _SUBJECT_ALT_NAME:
            yield from (
                name.decode("ascii").lower()
                for kind, name in _values(_inside(next(_values(content))))
                if kind == _DNS_NAME
            )


def _inside(value: tuple[int, bytes]) -> bytes:
    tag, content = value
    if tag != _SEQUENCE:
        raise ValueError(tag)
    return content


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of DER values that stand one after the other."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError(length)
        yield tag, data[at : at + length]
        at += length


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        # RFC 5280: two digits of a year are of 1950 to 2049.
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != _TIME:
        raise ValueError(tag)
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


# --- Judging ----------------------------------------------------------------------------------------------------------


def remarks_of_time(certificates: Mapping[str, Certificate], now: datetime) -> Iterator[Remark]:
    """Tell which certificates are not valid, or not for long."""
    for name, each in certificates.items():
        if now < each.not_before:
            yield Remark(name, "NotYetValid", f"is valid from {each.not_before:%Y-%m-%d %H:%M} UTC on")
        elif now >= each.not_after:
            yield Remark(name, "Expired", f"expired at {each.not_after:%Y-%m-%d %H:%M} UTC")
        elif now >= each.not_after - min(EXPIRING, (each.not_after - each.not_before) / 3):
            yield Remark(name, "Expiring", f"expires at {each.not_after:%Y-%m-%d %H:%M} UTC")


def shadowed(certificates: Mapping[str, Certificate], now: datetime) -> dict[str, str]:
    """Return certificates of which others have all names, each with such a one: those are not needed.

    Which of two with the same names is served must not depend on the order in which HAProxy got to know them.
    """
    ranked = sorted(certificates, key=lambda name: (*_rank(certificates[name], now), name))
    first: dict[tuple[str, str], str] = {}
    found = {}
    for name in ranked:
        keys = [(certificates[name].key_type, host) for host in certificates[name].names]
        if all(key in first for key in keys):
            found[name] = first[keys[0]]
        for key in keys:
            first.setdefault(key, name)
    return found


def _rank(certificate: Certificate, now: datetime) -> tuple[bool, float]:
    return not certificate.not_before <= now < certificate.not_after, -certificate.not_after.timestamp()


def owners(names: Set[str], hosts: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return the shops whose hosts each name is good for, from what the maps say of each host, the later maps last.

    A name that is good for no host is left out.
    """
    any_of = {_any(name) for name in names}
    shops: dict[str, str] = {}
    for host, value in hosts:
        if host in names or host in any_of or _any(host) in names:
            shops[host] = value.partition(":")[0]
    found: dict[str, set[str]] = {}
    # A host that was taken away has no shop.
    for host, shop in shops.items():
        for name in {host, _any(host)} & names if shop else ():
            found.setdefault(name, set()).add(shop)
    for name in names - found.keys():
        if wild := shops.get(_any(name)):
            found[name] = {wild}
    return found


def _any(host: str) -> str:
    """Return the host that stands for all with the same parent."""
    return "*." + host.partition(".")[2]


def remarks_of_owners(certificates: Mapping[str, Certificate], shops: Mapping[str, Set[str]]) -> Iterator[Remark]:
    """Tell of certificates that belong to several shops, or to hosts that nobody is routed to."""
    for name, each in certificates.items():
        belonging = sorted(set().union(*(shops.get(host, ()) for host in each.names)))
        if len(belonging) > 1:
            message = f"has names of the shops {_listed(belonging)}: a browser may use one's connection for the other, and gets 421"
            yield Remark(name, "SeveralShops", message)
        if unrouted := [host for host in each.names if host not in shops]:
            yield Remark(name, "NotRouted", f"no shop has the host {_listed(unrouted)}")


def _listed(names: list[str]) -> str:
    more = len(names) - _FEW
    return ", ".join(names[:_FEW]) + (f" and {more} more" if more > 0 else "")
