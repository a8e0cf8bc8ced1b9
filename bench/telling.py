"""A git server that tells the controller of pushes, as one with a webhook does."""

import hashlib
import hmac
import json
import urllib.request
from pathlib import Path

from shopset.gitops.webhooks import PATH
from testbed.programs import free_ports

_SECRET = b"a secret of the bench"


class Webhook:
    """The webhook of the repositories below a URL."""

    def __init__(self, folder: Path, parent: str) -> None:
        self._repository = f"{parent}/shopset-apps.git"
        (self._port,) = free_ports(1)
        self._secret = folder / "webhook-secret"
        self._secret.write_bytes(_SECRET)

    @property
    def options(self) -> tuple[str, str]:
        """What the controller is started with."""
        return f"--webhook-port={self._port}", f"--webhook-secret={self._secret}"

    def tell(self) -> None:
        """Tell of a push to apps."""
        body = json.dumps({"repository": self._repository}).encode()
        signature = f"sha256={hmac.new(_SECRET, body, hashlib.sha256).hexdigest()}"
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{PATH}", body, {"X-Shopset-Signature-256": signature}
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310  # on loopback
