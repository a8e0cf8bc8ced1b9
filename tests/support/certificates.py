"""Certificates by openssl: an authority of the test's own, and what it signs for 127.0.0.1 and for shops."""

import socket
import ssl
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from testbed.programs import program

KEY = "-----BEGIN PRIVATE KEY-----"
"""Where the key begins, in a text that has both."""
_PATIENCE = 120.0
_NEW = ["req", "-x509", "-days", "30", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def make_authority(folder: Path) -> Path:
    """Make an authority. Returns its certificate; the key lies beside it."""
    folder.mkdir()
    certificate, key = folder / "ca.crt", folder / "ca.key"
    _openssl(*_NEW, "-subj", "/CN=test", "-out", str(certificate), "-keyout", str(key))
    return certificate


def issue(authority: Path, folder: Path) -> None:
    """Write tls.crt and tls.key, signed by an authority, as a Secret of type kubernetes.io/tls is mounted."""
    folder.mkdir(exist_ok=True)
    signer = ["-CA", str(authority), "-CAkey", str(authority.with_suffix(".key"))]
    extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]
    files = ["-out", str(folder / "tls.crt"), "-keyout", str(folder / "tls.key")]
    _openssl(*_NEW, "-subj", "/CN=shopset", *signer, *extensions, *files)


def certificate(*names: str, authority: Path | None = None, days: int = 30, key: str = "ec") -> str:
    """Return a certificate for DNS names, self-signed or with the authority behind it, and its key, all in one PEM text.

    `key` is `ec`, `rsa` or `ed25519`.
    """
    with tempfile.TemporaryDirectory() as folder:
        made, made_key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        signer = ["-CA", str(authority), "-CAkey", str(authority.with_suffix(".key"))] if authority else []
        kind = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"], "ed25519": ["ed25519"]}[key]
        alternatives = ",".join(f"DNS:{name}" for name in names)
        extensions = ["-addext", f"subjectAltName={alternatives}", "-addext", "basicConstraints=CA:FALSE"]
        new = ["req", "-x509", "-days", str(days), "-newkey", *kind, "-nodes", "-subj", "/CN=a shop"]
        _openssl(*new, *signer, *extensions, "-out", str(made), "-keyout", str(made_key))
        chain = authority.read_text() if authority else ""
        return made.read_text() + chain + made_key.read_text()


def public(pem: str) -> str:
    """Return a certificate without its key."""
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(pem.partition(KEY)[0]))


def shown(port: int, host: str) -> str:
    """Return the certificate that is shown for a host; nothing where there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")
    return ""


def _openssl(*arguments: str) -> None:
    done = subprocess.run([program("openssl"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
