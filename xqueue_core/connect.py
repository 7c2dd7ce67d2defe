"""Opens what the settings name: one broker, or up to four, as the faces of one connection."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from xqueue_core.calls import ALL_ABILITIES, Ability, Capabilities
from xqueue_core.errors import ConfigError, Unsupported
from xqueue_core.loading import loading

if TYPE_CHECKING:
    from xqueue_core.abc import Backend, Faces, Notifier, NotifierPlugin, Role
    from xqueue_core.settings import Settings

T = TypeVar("T")

logger = logging.getLogger("xqueue")

#: Which ability rests on which face; those not named rest on the queue.
_FACE_OF = {Ability.VIEW: "view", Ability.LIMITS: "semaphore", Ability.EVENTS: "notifier"}

#: What a notifier promises that is no part of a backend.
_EVENTS = Capabilities(abilities=frozenset({Ability.EVENTS}))

#: What runs each task within its submit; see :mod:`xqueue_core.inline`.
INLINE = "inline://"
NO_BROKER = (
    "inline:// is no broker: each task runs within its submit, by no worker, and limits, events "
    "or views of others cannot be there; for workers name a broker, such as sqlite:///xqueue.db"
)

#: Settings of the app that a backend takes over if its own model has a field of that name.
SHARED = ("namespace", "durability", "event_retention", "dedupe_horizon")


@dataclass(slots=True)
class Connection:
    """An open connection: the faces, what they promise together, and the settings behind them."""

    faces: Faces
    capabilities: Capabilities
    settings: Settings
    #: What :attr:`where` says, if it is known better than by the URL.
    what: str = ""
    #: Waits until tasks have ended that were put here; None: a worker runs them, sooner or later.
    ended: Callable[[Collection[str]], Awaitable[None]] | None = None
    #: Of a rehearsal: how many runs there were, or None while one is under way; None: it is none.
    idle: Callable[[], int | None] | None = None

    @property
    def where(self) -> str:
        """The broker, for sentences: its URL without secrets, and of a file the absolute path."""
        from xqueue_core.settings import masked

        return self.what or masked(self.settings.url)


class ProcessLock:
    """A lock for each process: at a fork a thread that is not in the child may hold it."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.RLock] = {}

    def own(self) -> threading.RLock:
        """The lock of this process."""
        return self._locks.setdefault(os.getpid(), threading.RLock())


class Made(Generic[T]):
    """Plugins of one kind of one app, each made once.

    A forked child makes its own: what its parent had open must not be touched, not even closed.
    Any thread may ask: two that ask at once get the same one.
    """

    def __init__(self, load: Callable[[str], T] | None = None) -> None:
        self._load = load
        self._made: dict[str, T] = {}
        self._inherited: list[dict[str, T]] = []
        self._pid = os.getpid()
        self._lock = ProcessLock()

    def get(self, name: str) -> T:
        """The one of this name. Raises ConfigError if it cannot be loaded."""
        with self._lock.own():
            if self._pid != os.getpid():
                self._inherited.append(self._made)
                self._made, self._pid = {}, os.getpid()
            if name not in self._made:
                self._made[name] = self._loaded(name)
            return self._made[name]

    def _loaded(self, name: str) -> T:
        return self._load_named(name) if self._load is None else self._load(name)

    def _load_named(self, name: str) -> T:
        """What is installed under this name."""
        raise NotImplementedError


class BackendCache(Made["Backend"]):
    """The backends of one app: memory:// keeps its tasks with its backend."""

    def __init__(self, load: Callable[[str], Backend] | None = None) -> None:
        super().__init__(load)
        self._said: set[tuple[int, str]] = set()
        self.notifiers = NotifierCache()

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

    def _load_named(self, name: str) -> Backend:
        from xqueue_core.plugins import load_backend

        return load_backend(name)


class NotifierCache(Made["NotifierPlugin"]):
    """The notifiers of one app that are no part of a backend."""

    def _load_named(self, name: str) -> NotifierPlugin:
        from xqueue_core.plugins import load_notifier

        return load_notifier(name)


@dataclass(slots=True)
class _Opened:
    """One broker of a connection; ``faces`` may have a notifier alone."""

    url: str
    faces: Faces | _Alone
    capabilities: Capabilities
    what: str


class _Alone(NamedTuple):
    """The face of a notifier that is no part of a backend."""

    notifier: Notifier


@asynccontextmanager
async def connect(
    settings: Settings,
    backends: BackendCache,
    accept_without: Collection[str] = (),
    role: Role | None = None,
    *,
    make: bool = True,
) -> AsyncIterator[Connection]:
    """Open a connection on the running event loop; leaving the context closes it.

    Args:
        settings: the app's; they name the brokers.
        backends: the app's.
        accept_without: abilities that may be lacking.
        role: what it will be used for: by default a client's part.
        make: if false, a backend that has the setting ``make`` makes nothing that is not there.

    Raises:
        NoDatabase: there is none, and none is to be made.
        ConfigError: a plugin or its settings are wrong.
        Unsupported: abilities are lacking that ``accept_without`` does not name.
        Unavailable: a broker does not answer.
    """
    async with AsyncExitStack() as stack:
        opened: dict[str, _Opened] = {}
        for url in _urls(settings).values():
            if url not in opened:
                opened[url] = await _open(stack, settings, url, backends, role, make)
        faces, capabilities = _merged({face: opened[url] for face, url in _urls(settings).items()})
        _check(settings.url, capabilities.abilities, accept_without)
        yield Connection(faces, capabilities, settings, opened[settings.url].what)


def _urls(settings: Settings) -> dict[str, str]:
    """The URL of each face."""
    return {
        "queue": settings.url,
        "view": settings.view_url or settings.url,
        "semaphore": settings.semaphore_url or settings.url,
        "notifier": settings.notifier_url or settings.url,
    }


async def _open(
    stack: AsyncExitStack,
    settings: Settings,
    url: str,
    backends: BackendCache,
    role: Role | None,
    make: bool,
) -> _Opened:
    with loading:  # opening it imports as well
        from xqueue_core.abc import Role

        role = role or Role.CLIENT
        opening: AbstractAsyncContextManager[Any]
        alone = url == settings.notifier_url and is_notifier(url)
        if alone:
            notifier, own = _notifier(settings, url, backends)
            opening, capabilities = notifier.open(own, role), _EVENTS
        else:
            backend, own = _resolved(settings, url, backends)
            if not make and "make" in type(own).model_fields:
                own = own.model_copy(update={"make": False})
            opening, capabilities = backend.open(own, role), backend.capabilities(own)
    what = _what(url, own)
    text = f"{'notifier' if alone else 'broker'}: {what}"
    if backends.unsaid(text):  # not for each connection
        logger.info("%s", text)
    found: Any = await stack.enter_async_context(opening)
    return _Opened(url, _Alone(found) if alone else found, capabilities, what)


def broker_urls(settings: Settings) -> dict[str, str]:
    """The URLs that were given to name backends, by the names of their settings.

    Raises PluginUnavailable as :func:`is_notifier` does.
    """
    names = ("url", "view_url", "semaphore_url", "notifier_url")
    urls = {name: getattr(settings, name) for name in names}
    return {
        name: url
        for name, url in urls.items()
        if url is not None and not (name == "notifier_url" and is_notifier(url))
    }


def check_brokers(settings: Settings, backends: BackendCache) -> None:
    """See that every broker has its plugin, and fitting settings. Connects to nothing.

    Raises ConfigError if not.
    """
    for url in dict.fromkeys(_urls(settings).values()):
        broker_settings(settings, url, backends)


def broker_settings(settings: Settings, url: str, backends: BackendCache) -> Any:
    """The own settings of the broker or notifier behind a URL. Raises ConfigError."""
    if url == settings.notifier_url and is_notifier(url):
        return _notifier(settings, url, backends)[1]
    return _resolved(settings, url, backends)[1]


def is_notifier(url: str) -> bool:
    """True if a notifier of this scheme is installed, and no backend.

    Raises PluginUnavailable if both are: which one is meant, nobody could tell.
    """
    from xqueue_core.errors import PluginUnavailable
    from xqueue_core.plugins import BACKENDS, NOTIFIERS, list_plugins
    from xqueue_core.settings import backend_name

    name = backend_name(url)
    found = [one for one in list_plugins(NOTIFIERS) if one.name == name]
    if found and (both := [one for one in list_plugins(BACKENDS) if one.name == name]):
        claims = f"{found[0].distribution or 'another'} and {both[0].distribution or 'another'}"
        raise PluginUnavailable(
            f"{name!r} is a notifier and a backend, claimed by {claims}; uninstall one of them"
        )
    return bool(found)


def _notifier(settings: Settings, url: str, backends: BackendCache) -> tuple[NotifierPlugin, Any]:
    """The notifier behind a URL, and its own settings."""
    from xqueue_core.settings import backend_name, backend_settings

    plugin = backends.notifiers.get(backend_name(url))
    return plugin, _with_shared(settings, backend_settings(settings, url, plugin.Settings))


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
        for name in SHARED
        if name in fields and name not in own.model_fields_set
    }
    return own.model_copy(update=shared)


def _what(url: str, own: object) -> str:
    """Which broker it is; of a file its absolute path, for the working folder decides it."""
    from xqueue_core.settings import masked

    path = getattr(own, "path", None)
    shown = masked(url)
    if not isinstance(path, str | Path) or not path:
        return shown
    there = str(Path(path).absolute())
    return shown if shown.endswith(f"//{there}") else f"{shown} ({there})"


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
