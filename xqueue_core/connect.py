"""Opens what the settings name: one broker, or up to four, as the faces of one connection."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from xqueue_core.calls import ALL_ABILITIES, Ability, Capabilities
from xqueue_core.errors import ConfigError, Unsupported
from xqueue_core.loading import loading

if TYPE_CHECKING:
    from xqueue_core.abc import Backend, Faces, Role
    from xqueue_core.settings import Settings

logger = logging.getLogger("xqueue")

#: Which ability rests on which face; those not named rest on the queue.
_FACE_OF = {Ability.VIEW: "view", Ability.LIMITS: "semaphore", Ability.EVENTS: "notifier"}

#: What runs each task within its submit; see :mod:`xqueue_core.inline`.
INLINE = "inline://"
NO_BROKER = (
    "inline:// is no broker: each task runs within its submit, by no worker, and limits, events "
    "or views of others cannot be there; for workers name a broker, such as sqlite:///xqueue.db"
)

#: Settings of the app that a backend takes over if its own model has a field of that name.
_SHARED = ("namespace", "durability", "event_retention", "dedupe_horizon")


@dataclass(slots=True)
class Connection:
    """An open connection: the faces, what they promise together, and the settings behind them."""

    faces: Faces
    capabilities: Capabilities
    settings: Settings
    #: Waits until tasks have ended that were put here; None: a worker runs them, sooner or later.
    ended: Callable[[Collection[str]], Awaitable[None]] | None = None


class ProcessLock:
    """A lock for each process: at a fork a thread that is not in the child may hold it."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.RLock] = {}

    def own(self) -> threading.RLock:
        """The lock of this process."""
        return self._locks.setdefault(os.getpid(), threading.RLock())


class BackendCache:
    """The backends of one app, each made once: memory:// keeps its tasks with its backend.

    A forked child makes its own: what its parent had open must not be touched, not even closed.
    Any thread may ask: two that ask at once get the same one.
    """

    def __init__(self, load: Callable[[str], Backend] | None = None) -> None:
        self._load = load
        self._made: dict[str, Backend] = {}
        self._inherited: list[dict[str, Backend]] = []
        self._pid = os.getpid()
        self._said: set[tuple[int, str]] = set()
        self._lock = ProcessLock()

    def get(self, name: str) -> Backend:
        """The backend of this name. Raises ConfigError if it cannot be loaded."""
        with self._lock.own():
            if self._pid != os.getpid():
                self._inherited.append(self._made)
                self._made, self._pid = {}, os.getpid()
            if name not in self._made:
                self._made[name] = self._loaded(name)
            return self._made[name]

    def locked(self) -> threading.RLock:
        """A lock for steps on a store in memory that no other thread is to see between."""
        return self._lock.own()

    def unsaid(self, text: str) -> bool:
        """True at the first call with this text in this process."""
        said = os.getpid(), text
        with self._lock.own():
            new = said not in self._said
            self._said.add(said)
            return new

    def _loaded(self, name: str) -> Backend:
        if self._load is not None:
            return self._load(name)
        from xqueue_core.plugins import load_backend

        return load_backend(name)


@dataclass(slots=True)
class _Opened:
    """One broker of a connection."""

    url: str
    faces: Faces
    capabilities: Capabilities


@asynccontextmanager
async def connect(
    settings: Settings,
    backends: BackendCache,
    accept_without: Collection[str] = (),
    role: Role | None = None,
) -> AsyncIterator[Connection]:
    """Open a connection on the running event loop; leaving the context closes it.

    ``role`` is what it will be used for: by default a client's part.

    Raises:
        ConfigError: a plugin or its settings are wrong.
        Unsupported: abilities are lacking that ``accept_without`` does not name.
        Unavailable: a broker does not answer.
    """
    async with AsyncExitStack() as stack:
        opened: dict[str, _Opened] = {}
        for url in _urls(settings).values():
            if url not in opened:
                opened[url] = await _open(stack, settings, url, backends, role)
        faces, capabilities = _merged({face: opened[url] for face, url in _urls(settings).items()})
        _check(settings.url, capabilities.abilities, accept_without)
        yield Connection(faces, capabilities, settings)


def _urls(settings: Settings) -> dict[str, str]:
    """The URL of each face."""
    return {
        "queue": settings.url,
        "view": settings.view_url or settings.url,
        "semaphore": settings.semaphore_url or settings.url,
        "notifier": settings.notifier_url or settings.url,
    }


async def _open(
    stack: AsyncExitStack, settings: Settings, url: str, backends: BackendCache, role: Role | None
) -> _Opened:
    with loading:  # opening it imports as well
        from xqueue_core.abc import Role

        backend, own = _resolved(settings, url, backends)
        opening = backend.open(own, role or Role.CLIENT)
    if backends.unsaid(text := _what(url, own)):  # not for each connection
        logger.info("broker: %s", text)
    faces = await stack.enter_async_context(opening)
    return _Opened(url, faces, backend.capabilities(own))


def check_brokers(settings: Settings, backends: BackendCache) -> None:
    """See that every broker has its plugin, and fitting settings. Connects to nothing.

    Raises ConfigError if not.
    """
    for url in dict.fromkeys(_urls(settings).values()):
        _resolved(settings, url, backends)


def _resolved(settings: Settings, url: str, backends: BackendCache) -> tuple[Backend, Any]:
    """The backend behind a URL, and its own settings."""
    from xqueue_core.settings import backend_name, backend_settings

    if url.startswith(INLINE):
        raise ConfigError(NO_BROKER)
    backend = backends.get(backend_name(url))
    return backend, _with_shared(settings, backend_settings(settings, url, backend.Settings))


def _with_shared(settings: Settings, own: Any) -> Any:
    """The backend's settings; what the app says for all of them holds where it says nothing."""
    fields = type(own).model_fields
    shared = {
        name: getattr(settings, name)
        for name in _SHARED
        if name in fields and name not in own.model_fields_set
    }
    return own.model_copy(update=shared)


def _what(url: str, own: object) -> str:
    """Which broker it is; of a file its absolute path, for the working folder decides it."""
    from xqueue_core.settings import masked

    path = getattr(own, "path", None)
    where = f" ({Path(path).absolute()})" if isinstance(path, str | Path) and path else ""
    return f"{masked(url)}{where}"


def _merged(parts: dict[str, _Opened]) -> tuple[Faces, Capabilities]:
    """The faces together; each ability is that of the broker whose face it rests on."""
    from xqueue_core.abc import Faces

    faces = Faces(**{face: getattr(part.faces, face) for face, part in parts.items()})
    abilities = frozenset(
        ability
        for ability in ALL_ABILITIES
        if ability in parts[face := _FACE_OF.get(ability, "queue")].capabilities.abilities
        and getattr(faces, face) is not None
    )
    main = parts["queue"].capabilities
    return faces, msgspec.structs.replace(main, abilities=abilities)


def _check(url: str, abilities: Collection[str], accept_without: Collection[str]) -> None:
    lacking = sorted(ALL_ABILITIES - set(abilities) - set(accept_without))
    if lacking:
        from xqueue_core.settings import masked

        raise Unsupported(
            f"the broker {masked(url)} lacks {', '.join(lacking)}; to do without, say so: "
            f"XQueue(accept_without={{{', '.join(repr(str(one)) for one in lacking)}}})"
        )


def check_names(accept_without: Collection[str]) -> frozenset[str]:
    """The abilities by these names. Raises ConfigError naming the known ones."""
    if isinstance(accept_without, str):
        accept_without = {accept_without}
    unknown = sorted(set(accept_without) - ALL_ABILITIES)
    if unknown:
        raise ConfigError(
            f"accept_without names no ability: {', '.join(unknown)} "
            f"(known: {', '.join(sorted(ALL_ABILITIES))})"
        )
    return frozenset(accept_without)
