"""What the author of a backend writes so that the kit can run on it: about twenty lines."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import ALL_ABILITIES, Capabilities
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

    async def restart(self) -> None:
        """Stop the broker as its durability mode allows, and start it again."""
        raise Unsupported("this harness cannot restart the broker")

    @property
    def traits(self) -> frozenset[str]:
        """The keys of ``TRAITS`` that hold."""
        able = {
            "clock": type(self).advance is not Harness.advance,
            "corrupt": type(self).corrupt is not Harness.corrupt,
            "restart": type(self).restart is not Harness.restart,
            "spawn": bool(self.child) and hasattr(signal, "SIGSTOP"),
            "shared": self.capabilities.shared,
            "durable": self.capabilities.durable,
            "lane_order": self.capabilities.order_scope == "lane",
            "lacking": self.capabilities.abilities != ALL_ABILITIES,
        }
        return frozenset(name for name, has in able.items() if has)


#: Makes a backend's settings for one namespace, with some of them changed.
SettingsFactory = Callable[[str, Mapping[str, Any]], Any]


class BackendHarness(Harness):
    """A harness for any backend, given how its settings are made for a namespace.

    ``child`` is what :attr:`Harness.child` says; the other arguments as well are its attributes.
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
    ) -> None:
        self.name = name or type(backend).__name__
        self.time_scale = time_scale
        self.loops = loops
        self.child = child
        self.backend = backend
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
