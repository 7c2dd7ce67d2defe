"""One connection to a server, and how it is made."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from xqueue_core.errors import Unavailable
from xqueue_redis.address import Address, Tls
from xqueue_redis.failures import NoTls, is_reply

# It comes with the backend; without it the client's own code does the same, slower. The client
# uses it for answers, but for commands in its synchronous half alone.
if TYPE_CHECKING or find_spec("hiredis") is None:
    pack: Callable[[Sequence[Any]], bytes] | None = None
else:
    from hiredis import pack_command as pack

#: Sections of INFO that are read at each connect.
_INFO: Final = ("INFO", "server", "memory", "persistence", "replication")
# Who uses it is said by `CLIENT SETNAME`; which library does is of no use, and costs a right.
_UNNAMED: Final[dict[str, Any]] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)
#: Seconds of a handshake after which it is looked whether the port speaks TLS at all.
_SOON: Final = 0.5
#: Longest wait for a connection that was cut off to be gone (seconds).
_GONE: Final = 1.0


class Wire:
    """A connection on which one command is under way at a time.

    Attributes:
        info: what the server said of itself at the connect.
        run_id: of the server's process: another one after each restart.
        busy: an answer is outstanding, so that the next answer would be that of another command.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._writer: asyncio.StreamWriter | None = None
        self.info: Mapping[str, str] = {}
        self.busy = False

    async def connect(self) -> None:
        """Connect, log in and choose the database. Raises RedisError and OSError."""
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await self.drop()
            raise
        # The client forgets it at an error, and leaves the rest to be sent for ever.
        self._writer = self._connection._writer

    @property
    def run_id(self) -> str:
        """The run id of the server's process."""
        return self.info.get("run_id", "")

    @property
    def fresh(self) -> bool:
        """False if the server is known to have closed it, or to have said what nobody asked."""
        reader = self._connection._reader
        return not (
            self.busy
            or reader is None
            or reader.exception() is not None
            or reader.at_eof()
            or not self._connection.is_connected
        )

    async def ask(self, *arguments: Any) -> Any:
        """The answer to one command; RedisError where it is one."""
        packed = self._packed(arguments)
        self.busy = True
        # Whatever interrupts it before the answer is whole leaves it busy: it must be dropped.
        try:
            await self._connection.send_packed_command(packed, check_health=False)
            answer = await self._connection.read_response(disconnect_on_error=False)
        except RedisError as error:
            self.busy = not is_reply(error)
            raise
        self.busy = False
        return answer

    async def ask_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to several commands, sent together; an answer may be a RedisError."""
        self.busy = True
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await self._connection.read_response(disconnect_on_error=False))
            except RedisError as error:
                if not is_reply(error):
                    raise
                answers.append(error)
        self.busy = False
        return answers

    def _packed(self, arguments: Sequence[Any]) -> bytes | list[bytes]:
        return self._connection.pack_command(*arguments) if pack is None else pack(arguments)

    async def drop(self) -> None:
        """Cut it off at once, also if the server does not answer."""
        writer = self._writer or self._connection._writer
        if writer is not None:
            writer.transport.abort()
        await self._connection.disconnect(nowait=True)

    async def gone(self) -> None:
        """Cut it off, and wait until the event loop has forgotten it; a second at most."""
        await self.drop()
        if self._writer is not None:
            with suppress(OSError):  # what ended it is of no interest any more, nor is TimeoutError
                async with asyncio.timeout(_GONE):
                    await self._writer.wait_closed()


async def dial(address: Address, name: str) -> Wire:
    """A connection to the server at this address; to be called within a time-out.

    Args:
        address: where the server is.
        name: under which operators see it in ``CLIENT LIST``.

    Raises:
        RedisError, OSError: as the client has it; the server was asked for nothing but itself.
        Unavailable: no sentinel knows the primary, or the one they name is a replica by now.
    """
    wire = await (_dial_primary(address) if address.primary else _dialed(address))
    try:
        # Who may not set its name, or read INFO, is told so by whoever needs the answer.
        _, info = await wire.ask_all([("CLIENT", "SETNAME", name), _INFO])
        if isinstance(info, Exception):
            raise info
        wire.info = parsed(info)
        if address.primary and wire.info.get("role") == "slave":
            raise Unavailable(f"{address}: what they call the primary is a replica by now")
    except BaseException:
        await wire.drop()
        raise
    return wire


def parsed(info: bytes) -> dict[str, str]:
    """The fields of an answer to INFO."""
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


async def _dialed(address: Address) -> Wire:
    return await _connected(
        _connection(
            address,
            address.hosts[0] if address.hosts else None,
            db=address.database,
            username=address.username or None,
            password=address.password or None,
        )
    )


async def _dial_primary(address: Address) -> Wire:
    """Ask the sentinels one after another, and connect to the primary that one names."""
    troubles = []
    for host in address.hosts:
        connection = _connection(
            address,
            host,
            username=address.sentinel_username or None,
            password=address.sentinel_password or None,
        )
        try:
            # One that hangs must not use up the time for those that do not.
            async with asyncio.timeout(_GONE):
                found = await _asked(connection, address.primary)
        except (RedisError, OSError) as error:
            troubles.append(f"{host[0]}:{host[1]}: {str(error) or type(error).__name__}")
            continue
        if found is None:
            troubles.append(f"{host[0]}:{host[1]} knows no primary of this name")
            continue
        connection = _connection(
            address,
            (found[0].decode(), int(found[1])),
            db=address.database,
            username=address.username or None,
            password=address.password or None,
        )
        return await _connected(connection)
    raise Unavailable(f"{address}: none of them leads to it ({'; '.join(troubles)})")


async def _asked(connection: AbstractConnection, primary: str) -> Any:
    wire = await _connected(connection)
    try:
        return await wire.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", primary)
    finally:
        await wire.gone()


async def _connected(connection: AbstractConnection) -> Wire:
    wire = Wire(connection)
    if isinstance(connection, SSLConnection):
        await _secured(wire, connection.host, connection.port)
    else:
        await wire.connect()
    return wire


async def _secured(wire: Wire, host: str, port: int) -> None:
    """Connect by TLS. Raises NoTls if the port does not speak it: it would only say nothing."""
    connecting = asyncio.ensure_future(wire.connect())
    try:
        await asyncio.wait({connecting}, timeout=_SOON)
        in_vain = not connecting.done() or connecting.exception() is not None
        if in_vain and await _speaks_plainly(host, port):
            raise NoTls(
                f"{host}:{port} does not speak TLS, which rediss:// asks for: say redis://, or "
                "name the server's tls-port. Nothing was sent"
            )
        await connecting
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)


async def _speaks_plainly(host: str, port: int) -> bool:
    """True if it answers as Redis does, be it with an error, to what is not encrypted."""
    with suppress(OSError):  # of which TimeoutError is one
        async with asyncio.timeout(_GONE):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"PING\r\n")
                return await reader.read(1) in (b"+", b"-")
            finally:
                writer.transport.abort()
    return False


def _connection(
    address: Address, host: tuple[str, int] | None, **options: Any
) -> AbstractConnection:
    """A connection of the client that is not made yet.

    Everything by which the client would help itself is off: one call is one command, once, and
    whoever calls has the time-out.
    """
    options |= {
        **_UNNAMED,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "health_check_interval": 0,
    }
    if host is None:
        return UnixDomainSocketConnection(path=address.socket, **options)
    options |= {"host": host[0], "port": host[1], "socket_keepalive": True}
    return Connection(**options) if address.tls is None else _encrypted(address.tls, options)


def _encrypted(tls: Tls, options: dict[str, Any]) -> AbstractConnection:
    return SSLConnection(
        ssl_ca_certs=tls.ca_file,
        ssl_certfile=tls.cert_file,
        ssl_keyfile=tls.key_file or tls.cert_file,
        ssl_cert_reqs="required" if tls.verify else "none",
        ssl_check_hostname=tls.verify,
        **options,
    )
