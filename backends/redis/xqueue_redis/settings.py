"""Settings of the Redis backend. Imported on first use only: it loads pydantic."""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal, get_args

from pydantic import Field, SecretStr, field_validator, model_validator

from xqueue_core.stored.settings import StoredSettings
from xqueue_redis.address import Address, Tls

#: How a URL may begin; ``valkey`` is another word for ``redis``.
_SCHEMES: Final = (
    "redis",
    "rediss",
    "redis+unix",
    "redis+sentinel",
    "rediss+sentinel",
    "valkey",
    "valkeys",
    "valkey+unix",
    "valkey+sentinel",
    "valkeys+sentinel",
)
_FORMS: Final = (
    "redis://[user:password@]host[:6379][/database], rediss:// for TLS, "
    "redis+unix:///path/of/socket[?db=database], or "
    "redis+sentinel://host:26379,host:26379/name-of-primary[/database]"
)
#: A host without a port, or with one; an IPv6 address stands in brackets.
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+)(?::(?P<port>\d{1,5}))?")
_DATABASE: Final = re.compile(r"\d{1,5}")

Danger = Literal["eviction", "persistence", "fsync", "replica", "unverified-tls"]


class RedisSettings(StoredSettings):
    """Settings of one server, or of one primary that sentinels watch.

    The URL says where it is; user, password and the rest may stand in the section ``[redis]``.
    """

    #: The section's name, by whatever scheme the URL begins.
    section: ClassVar[str] = "redis"

    scheme: str = Field(default="redis", description=f"Said by the URL: {_FORMS}.")
    hosts: tuple[str, ...] = Field(
        default=(), description="Said by the URL: host, or host:port; several are sentinels."
    )
    place: str = Field(
        default="",
        alias="path",
        description="Said by the URL: database, socket, or the sentinels' name of the primary.",
    )
    db: int | None = Field(
        default=None, ge=0, le=99_999, description="Number of the database; by default 0."
    )
    username: str = Field(default="", description="User of the server's ACL; by default none.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of the user.")
    sentinel_username: str = Field(default="", description="User of the sentinels, if any.")
    sentinel_password: SecretStr = Field(
        default=SecretStr(""), description="Password of the sentinels, if they want one."
    )
    ca_file: str | None = Field(
        default=None, description="File of the authorities to trust; by default the system's."
    )
    cert_file: str | None = Field(
        default=None, description="File of this client's certificate, if the server wants one."
    )
    key_file: str | None = Field(
        default=None, description="File of that certificate's key; by default in the same file."
    )
    timeout: float = Field(
        default=5.0,
        gt=0,
        le=60,
        allow_inf_nan=False,
        description="Seconds after which a call without an answer ends: to 60.",
    )
    allow: tuple[Danger, ...] = Field(
        default=(),
        description="Dangers to start in spite of: " + ", ".join(get_args(Danger)) + ".",
    )
    make: bool = Field(
        default=True, description="Begin the namespace if it is not there yet: true, false."
    )

    @field_validator("scheme")
    @classmethod
    def _known_scheme(cls, scheme: str) -> str:
        if scheme not in _SCHEMES:
            raise ValueError(f"no such scheme; write {_FORMS}")
        return scheme

    @model_validator(mode="after")
    def _whole(self) -> RedisSettings:
        """Make the address once, so that what is wrong with it is told at once."""
        if (self.cert_file or self.key_file or self.ca_file) and not self._tls:
            raise ValueError("ca_file, cert_file and key_file are for TLS: write rediss://")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file is the key of cert_file, which is missing")
        self.address()
        return self

    @property
    def _tls(self) -> bool:
        return self.scheme.partition("+")[0] in ("rediss", "valkeys")

    def address(self) -> Address:
        """Where the server is, and how to get in.

        Raises:
            ValueError: the parts of the URL do not fit together.
        """
        kind = self.scheme.partition("+")[2]
        hosts: tuple[tuple[str, int], ...]
        if kind == "unix":
            place, hosts, database = self._socket(), (), self.db
        elif kind == "sentinel":
            place, database = self._primary()
            hosts = tuple(_host(host, 26379) for host in self.hosts)
        else:
            place, database = "", self._number(self.place)
            hosts = (self._only_host(),)
        return Address(
            hosts=hosts,
            socket=place if kind == "unix" else "",
            primary=place if kind == "sentinel" else "",
            database=database or 0,
            username=self.username,
            password=self.password.get_secret_value(),
            sentinel_username=self.sentinel_username,
            sentinel_password=self.sentinel_password.get_secret_value(),
            tls=self._tls_options() if self._tls else None,
        )

    @property
    def host(self) -> str:
        """Of the server, if the URL names one; "" where it is a socket, or sentinels'."""
        return self._one_server()[0]

    @property
    def port(self) -> int:
        """Of the server, or 0."""
        return self._one_server()[1]

    def _one_server(self) -> tuple[str, int]:
        return ("", 0) if "+" in self.scheme else self._only_host()

    def _tls_options(self) -> Tls:
        verify = "unverified-tls" not in self.allow
        return Tls(self.ca_file, self.cert_file, self.key_file, verify)

    def _only_host(self) -> tuple[str, int]:
        if len(self.hosts) > 1:
            raise ValueError(
                "several hosts are sentinels: write redis+sentinel://host,host/name-of-primary"
            )
        return _host(self.hosts[0], 6379) if self.hosts else ("localhost", 6379)

    def _socket(self) -> str:
        if self.hosts:
            raise ValueError("a socket has no host: write redis+unix:///path/of/socket")
        if not self.place:
            raise ValueError("which socket? write redis+unix:///path/of/socket")
        return "/" + self.place.lstrip("/")

    def _primary(self) -> tuple[str, int | None]:
        name, _, database = self.place.partition("/")
        if not self.hosts or not name:
            raise ValueError(
                "sentinels and the name of the primary are wanted: write "
                "redis+sentinel://host:26379,host:26379/name-of-primary"
            )
        return name, self._number(database)

    def _number(self, text: str) -> int | None:
        text = text.strip("/")
        if not text:
            return self.db
        if not _DATABASE.fullmatch(text):
            raise ValueError(f"the database must be a number, not {text!r}: write {_FORMS}")
        if self.db is not None and self.db != int(text):
            raise ValueError(f"the URL names database {text}, and db says {self.db}: leave out one")
        return int(text)


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no host: write host, host:port, or [IPv6 address]:port")
    number = int(found["port"] or port)
    if not 0 < number < 65_536:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    return found["host"].strip("[]"), number
