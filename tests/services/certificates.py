"""A certificate for 127.0.0.1, made by the program ``openssl``."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


class Certificates:
    """A key and a certificate that signs itself, in this folder.

    Attributes:
        ca: what a client is to trust.
    """

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "server.crt"
        self._key = folder / "server.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(self._key), "-out", str(self.ca)),
            ],
            check=True,
            capture_output=True,
            timeout=30,
        )

    @property
    def configuration(self) -> Mapping[str, str]:
        """What the server is to be told."""
        return {
            "tls-cert-file": str(self.ca),
            "tls-key-file": str(self._key),
            "tls-ca-cert-file": str(self.ca),
            "tls-auth-clients": "no",
        }
