"""What the author of a backend writes so that the kit can run on it: about twenty lines."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import ALL_ABILITIES, Capabilities
from xqueue_core.conformance.proxy import Proxy
from xqueue_core.errors import Unsupported


class Harness(ABC):
    """Opens one backend, as often as a case asks for.

    The optional methods raise ``Unsupported`` here; a harness that overrides one gets the cases
    that need it.
    """

    #: What the report calls the backend, with its mode where it has several.
    name: str = "backend"
    #: Every wait and lease of the kit is this many times as long: for a slow or remote broker.
    time_scale: float = 1.0
    #: Event loops the backend runs on: ``asyncio``, ``uvloop``.
    loops: tuple[str, ...] = ("asyncio",)
    #: Settings that ``open`` can be given by name, such as ``dedupe_horizon``.
    adjustable: frozenset[str] = frozenset()
    #: What another process is told on its command line so that it opens the same broker: a URL,
    #: or ``module:function`` of a function that makes such a harness, and its arguments. Brings
    #: the cases with real processes.
    child: Sequence[str] = ()
    #: Host and port of the broker's server, for a proxy in front of it. With
    #: :meth:`open_through` it brings the cases in which the network fails.
    server: tuple[str, int] | None = None
    #: The backend itself, if there is an object that an entry point could name.
    backend: Backend | None = None

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the backend promises. Connects to nothing."""

    @abstractmethod
    def open(
        self, namespace: str, settings: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[Faces]:
        """Open the backend in this namespace, as one process would.

        Called several times at once with the same namespace: all of them are one installation.
        A namespace is new for each case; nothing need be cleaned up before it is used.
        ``settings`` has only names that are in ``adjustable``.
        """

    async def advance(self, seconds: float) -> None:
        """Move the backend's clock forward, on top of its natural run."""
        raise Unsupported("this harness cannot move the backend's clock")

    async def corrupt(self, namespace: str, id: str) -> None:
        """Overwrite the stored envelope of a task with bytes that cannot be decoded."""
        raise Unsupported("this harness cannot damage a stored record")

    async def mute(self, namespace: str) -> None:
        """Lose every wake-up in this namespace from now on: nobody is told that there is news."""
        raise Unsupported("this harness cannot let wake-ups be lost")

    async def restart(self) -> None:
        """Stop the broker as its durability mode allows, and start it again.

        Called while the backend is open as well. Returns when the broker answers.
        """
        raise Unsupported("this harness cannot restart the broker")

    def proxy(self) -> AbstractAsyncContextManager[Proxy]:
        """A proxy in front of the server; to be overridden where one is not enough."""
        if self.server is None:
            raise Unsupported("this harness does not say where the broker's server listens")
        return Proxy(*self.server)

    def open_through(
        self, proxy: Proxy, namespace: str, settings: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[Faces]:
        """Open the backend as :meth:`open` does, but at the proxy's address."""
        raise Unsupported("this harness cannot open the backend through a proxy")

    def fill(self) -> AbstractAsyncContextManager[None]:
        """Within the context the broker has no room for anything new."""
        raise Unsupported("this harness cannot fill the broker's disk or memory")

    async def flush(self) -> None:
        """Make the broker forget what it keeps of a client's code: scripts, functions, plans."""
        raise Unsupported("this harness cannot make the broker forget scripts")

    @property
    def traits(self) -> frozenset[str]:
        """The keys of ``TRAITS`` that hold."""
        able = {
            "clock": self._has("advance"),
            "corrupt": self._has("corrupt"),
            "mute": self._has("mute"),
            "restart": self._has("restart"),
            "proxy": self.server is not None and self._has("open_through"),
            "fill": self._has("fill"),
            "flush": self._has("flush"),
            "backend": self.backend is not None,
            "spawn": bool(self.child) and hasattr(signal, "SIGSTOP"),
            "shared": self.capabilities.shared,
            "durable": self.capabilities.durable,
            "lane_order": self.capabilities.order_scope == "lane",
            "lacking": self.capabilities.abilities != ALL_ABILITIES,
        }
        return frozenset(name for name, has in able.items() if has)

    def _has(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(Harness, method)


#: Makes a backend's settings for one namespace, with some of them changed.
SettingsFactory = Callable[[str, Mapping[str, Any]], Any]


class BackendHarness(Harness):
    """A harness for any backend, given how its settings are made for a namespace.

    The other arguments are the attributes of :class:`Harness` of these names. With a ``server``
    the settings are also made with other values for ``host`` and ``port``, those of a proxy; a
    backend that calls them otherwise overrides :meth:`open_through`.
    """

    def __init__(
        self,
        backend: Backend,
        settings: SettingsFactory,
        *,
        name: str = "",
        time_scale: float = 1.0,
        loops: tuple[str, ...] = ("asyncio",),
        child: Sequence[str] = (),
        server: tuple[str, int] | None = None,
    ) -> None:
        self.name = name or type(backend).__name__
        self.time_scale = time_scale
        self.loops = loops
        self.child = child
        self.server = server
        self.backend: Backend = backend
        self._settings = settings
        self.adjustable = frozenset(getattr(backend.Settings, "model_fields", ()))

    @property
    def capabilities(self) -> Capabilities:
        """What the backend promises with these settings."""
        return self.backend.capabilities(self._settings("kit", {}))

    def open(
        self, namespace: str, settings: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[Faces]:
        """Open the backend."""
        return self.backend.open(self._settings(namespace, settings), Role.WORKER)

    def open_through(
        self, proxy: Proxy, namespace: str, settings: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[Faces]:
        """Open the backend with the proxy's host and port."""
        host, port = proxy.address
        return self.open(namespace, {**settings, "host": host, "port": port})
