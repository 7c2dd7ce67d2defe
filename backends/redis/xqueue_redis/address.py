"""Where a server is, and how to get in; without pydantic, and without the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Tls(NamedTuple):
    """How a connection is encrypted: files, by default the system's authorities and no client's
    certificate. ``verify`` false trusts whoever answers."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One server, or the primary that sentinels name.

    Attributes:
        hosts: host and port; of several sentinels, if ``primary`` is said.
        socket: path of a Unix socket in place of a host.
        primary: the sentinels' name of the primary.
        database: its number.
        username, password: of the server; "" for none.
        sentinel_username, sentinel_password: of the sentinels.
        tls: None for a plain connection.
    """

    hosts: tuple[tuple[str, int], ...] = (("localhost", 6379),)
    socket: str = ""
    primary: str = ""
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    tls: Tls | None = None

    def __str__(self) -> str:
        """For messages: no secret is in it."""
        if self.socket:
            return f"Redis at {self.socket}"
        hosts = ", ".join(f"{f'[{host}]' if ':' in host else host}:{n}" for host, n in self.hosts)
        if self.primary:
            return f"Redis {self.primary!r} by the sentinels {hosts}"
        return f"Redis at {hosts}"
