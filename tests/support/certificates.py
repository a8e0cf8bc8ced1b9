"""Certificates by openssl: an authority of the test's own, and what it signs for 127.0.0.1."""

import subprocess
from pathlib import Path

from testbed.programs import program

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


def _openssl(*arguments: str) -> None:
    done = subprocess.run([program("openssl"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
