"""Finds and loads plugins: backends, notifiers, serializers and the rest.

A plugin is an entry point of an installed distribution. Loading is strict: whatever is wrong
with a plugin is an error that names its distribution and the fix, never a plugin that is
silently left out. Listing imports none of them.

Entry points are resolved afresh with ``importlib.metadata`` and handed to stevedore as they
are: stevedore's own look-up goes through a cache on disk that does not see a distribution
installed within the last two minutes.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Final

from xqueue_core.errors import PluginIncompatible, PluginNotFound, PluginUnavailable

if TYPE_CHECKING:
    from xqueue_core.abc import Backend, NotifierPlugin
    from xqueue_core.hooks import Plugin
    from xqueue_core.payload import Serializer

#: Entry-point groups.
BACKENDS: Final = "xqueue.backends"
NOTIFIERS: Final = "xqueue.notifiers"
PLUGINS: Final = "xqueue.plugins"
SERIALIZERS: Final = "xqueue.serializers"
GROUPS: Final = (BACKENDS, NOTIFIERS, PLUGINS, SERIALIZERS)

#: What one plugin of a group is called in messages.
_NOUNS: Final = {
    BACKENDS: "backend",
    NOTIFIERS: "notifier",
    PLUGINS: "plugin",
    SERIALIZERS: "serializer",
}

#: The same, by the class that it must be of.
_KINDS: Final = {"Backend": "backend", "NotifierPlugin": "notifier", "Serializer": "serializer"}

#: The distribution whose extras bring the plugins of this repository.
_OURS: Final = "xqueue-core"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """An installed plugin, as its distribution declares it; it has not been imported."""

    group: str
    name: str
    #: ``module:attribute`` of what the entry point names.
    target: str
    #: Distribution that declares it, and its version; ``""`` where neither is known.
    distribution: str
    version: str


def list_plugins(
    group: str, *, entry_points: Iterable[EntryPoint] | None = None
) -> list[PluginInfo]:
    """Every plugin of a group, by name; imports none of them.

    A name claimed by two distributions is listed twice: loading it is what fails.

    Args:
        group: one of ``GROUPS``.
        entry_points: look here instead of at what is installed (for tests).
    """
    infos = [
        PluginInfo(
            group=group,
            name=entry.name,
            target=entry.value,
            distribution=entry.dist.name if entry.dist else "",
            version=entry.dist.version if entry.dist else "",
        )
        for entry in _entries(group, entry_points)
    ]
    return sorted(infos, key=lambda info: (info.name, info.distribution))


def load_backend(name: str, *, entry_points: Iterable[EntryPoint] | None = None) -> Backend:
    """An instance of the named backend. Connects to nothing.

    Args:
        name: entry point's name, for example ``sqlite``: the scheme of the URL.
        entry_points: look here instead of at what is installed (for tests).

    Raises:
        PluginNotFound: no installed distribution has a backend of this name.
        PluginUnavailable: it is installed but cannot be used: an extra is missing, its import
            fails, or two distributions claim its name.
        PluginIncompatible: it was written for another version of the plugin API.
    """
    from xqueue_core.abc import Backend

    found: Backend = _fitting(load_plugin(BACKENDS, name, entry_points=entry_points), Backend, name)
    return found


def load_hooked(name: str, *, entry_points: Iterable[EntryPoint] | None = None) -> Plugin:
    """An instance of the named plugin of the group ``xqueue.plugins``. Opens nothing.

    Raises:
        PluginNotFound, PluginUnavailable, PluginIncompatible: as for :func:`load_backend`.
    """
    from xqueue_core.hooks import Plugin

    found: Plugin = _fitting(load_plugin(PLUGINS, name, entry_points=entry_points), Plugin, name)
    return found


def load_notifier(name: str, *, entry_points: Iterable[EntryPoint] | None = None) -> NotifierPlugin:
    """An instance of the named notifier. Connects to nothing.

    Raises:
        PluginNotFound, PluginUnavailable, PluginIncompatible: as for :func:`load_backend`.
    """
    from xqueue_core.abc import NotifierPlugin

    loaded = load_plugin(NOTIFIERS, name, entry_points=entry_points)
    found: NotifierPlugin = _fitting(loaded, NotifierPlugin, name)
    return found


def load_serializer(
    content_type: str, *, entry_points: Iterable[EntryPoint] | None = None
) -> Serializer:
    """An instance of the serializer for a content type.

    Its entry point is named like the part of the type behind the slash, with ``-`` for whatever
    is not a letter, a digit or one of ``.``, ``_`` and ``-``: ``msgpack`` for
    ``application/msgpack``. So no other plugin need be imported to find it.

    Raises:
        PluginNotFound, PluginUnavailable, PluginIncompatible: as for :func:`load_backend`; the
            last one also if it is for another content type.
    """
    from xqueue_core.payload import Serializer

    name = re.sub(r"[^A-Za-z0-9_.-]", "-", content_type.rpartition("/")[2])
    try:
        loaded = load_plugin(SERIALIZERS, name, entry_points=entry_points)
    except PluginNotFound as error:
        raise PluginNotFound(f"no serializer for {content_type!r}: {error}") from error
    plugin: Serializer = _fitting(loaded, Serializer, name)
    stated = getattr(plugin, "content_type", None)
    if stated != content_type:
        raise PluginIncompatible(
            f"serializer {name!r} is for the content type {stated!r}, and {content_type!r} is "
            f"wanted"
        )
    return plugin


def _fitting(plugin: object, kind: Any, name: str) -> Any:
    """The plugin. Raises PluginIncompatible if it is of another class."""
    if not isinstance(plugin, kind):
        noun = _KINDS.get(kind.__name__, "plugin")
        raise PluginIncompatible(
            f"{noun} {name!r} is a {type(plugin).__qualname__}, which is not a subclass of "
            f"{kind.__module__}.{kind.__name__}"
        )
    return plugin


def load_plugin(
    group: str, name: str, *, entry_points: Iterable[EntryPoint] | None = None
) -> object:
    """An instance of the named plugin: its entry point's class, called without arguments.

    Args:
        group: one of ``GROUPS``.
        name: the entry point's name.
        entry_points: look here instead of at what is installed (for tests).

    Raises:
        PluginNotFound, PluginUnavailable, PluginIncompatible: as for :func:`load_backend`.
    """
    # Imported here: stevedore is needed only when a plugin is loaded, not to list them.
    from stevedore.driver import DriverManager
    from stevedore.extension import Extension

    entry = _the_entry(group, name, list(_entries(group, entry_points)))
    loader = _Loader(entry)
    plugin = loader.imported()
    loader.check_api(plugin)
    loader.probe(getattr(plugin, "requires", {}))
    extension = Extension(name, entry, plugin, loader.made(plugin))
    manager: DriverManager[Any] = DriverManager.make_test_instance(extension, namespace=group)
    # Not `manager.driver`: that is the class again for an instance that is false, say an empty
    # container.
    return manager.extensions[0].obj


def _entries(group: str, given: Iterable[EntryPoint] | None) -> Iterable[EntryPoint]:
    if given is None:
        return importlib.metadata.entry_points(group=group)
    return [entry for entry in given if entry.group == group]


def _the_entry(group: str, name: str, entries: list[EntryPoint]) -> EntryPoint:
    """The one entry point of this name, or an error that says why there is no such one."""
    found = [entry for entry in entries if entry.name == name]
    if not found:
        raise PluginNotFound(_not_found(_NOUNS.get(group, "plugin"), name, entries))
    if len(found) > 1:
        claims = " and ".join(sorted(f"{_owner(entry)} ({entry.value})" for entry in found))
        raise PluginUnavailable(
            f"{_NOUNS.get(group, 'plugin')} {name!r} is claimed by {claims}; uninstall all but one"
        )
    return found[0]


def _not_found(noun: str, name: str, entries: list[EntryPoint]) -> str:
    names = sorted({entry.name for entry in entries})
    near = difflib.get_close_matches(name.lower(), names, n=1)
    text = f"no {noun} named {name!r} is installed"
    if near:
        text += f"; did you mean {near[0]!r}?"
    elif name in _extras(_OURS) - {"all", "dev"}:
        # An extra brings what a plugin needs, not the plugin: installing it would not help.
        version = importlib.metadata.version(_OURS)
        text = f"this version of {_OURS} ({version}) has no {noun} named {name!r}"
    return f"{text} (installed: {', '.join(names) or 'none'})"


def _owner(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"


def _extras(distribution: str) -> set[str]:
    """Names of a distribution's extras; none if it is not installed."""
    try:
        metadata = importlib.metadata.metadata(distribution)
    except importlib.metadata.PackageNotFoundError:
        return set()
    return set(metadata.get_all("Provides-Extra") or ())


class _Loader:
    """Takes one entry point to a checked instance; every failure names plugin and fix."""

    def __init__(self, entry: EntryPoint) -> None:
        self._entry = entry
        self._distribution = entry.dist.name if entry.dist else _OURS
        noun = _NOUNS.get(entry.group, "plugin")
        self._label = f"{noun} {entry.name!r} of {_owner(entry)}"

    def imported(self) -> Any:
        """What the entry point names."""
        try:
            return self._entry.load()
        except ModuleNotFoundError as error:
            raise PluginUnavailable(self._missing(error)) from error
        # A plugin is somebody else's code: whatever its import raises is told as its fault.
        except Exception as error:
            raise PluginUnavailable(
                f"{self._label} cannot be imported: {type(error).__name__}: {error}"
            ) from error

    def _missing(self, error: ModuleNotFoundError) -> str:
        missing = error.name or "a module"
        own = self._entry.module
        if own == missing or own.startswith(f"{missing}."):
            return (
                f"{self._label} names the module {own!r}, which does not exist: its installation "
                f"is damaged; run: pip install --force-reinstall {self._distribution}"
            )
        if self._entry.name in _extras(self._distribution):
            return f"{self._label} needs {missing!r}: {self._fix(self._entry.name)}"
        return f"{self._label} needs {missing!r}; install the distribution that provides it"

    def _fix(self, extra: str) -> str:
        return f"pip install '{self._distribution}[{extra}]'"

    def check_api(self, plugin: Any) -> None:
        """Refuse a plugin made for another version of the contract, or that names none."""
        from xqueue_core.abc import API

        if not callable(plugin):
            raise PluginIncompatible(f"{self._label} is not a class: {self._entry.value}")
        version = getattr(plugin, "api", None)
        if version == API:
            return
        stated = "no version" if version is None else f"version {version!r}"
        newer = isinstance(version, int) and version > API
        culprit = _OURS if newer else self._distribution
        raise PluginIncompatible(
            f"{self._label} states {stated} of the plugin API, this {_OURS} has version {API}; "
            f"run: pip install --upgrade {culprit}"
        )

    def probe(self, requires: Mapping[str, str]) -> None:
        """Import each leaf module that the plugin needs; a bare folder does not count."""
        for module, extra in requires.items():
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError as error:
                raise PluginUnavailable(
                    f"{self._label} needs {module!r}: {self._fix(extra)}"
                ) from error
            except Exception as error:
                raise PluginUnavailable(
                    f"{self._label} needs {module!r}, whose import fails with "
                    f"{type(error).__name__}: {error}; try: {self._fix(extra)} --force-reinstall"
                ) from error
            # Any folder of that name in the path passes as a namespace package.
            if getattr(found, "__file__", None) is None and hasattr(found, "__path__"):
                raise PluginUnavailable(
                    f"{self._label} needs {module!r}, but finds only the folder "
                    f"{next(iter(found.__path__), '?')} of that name: {self._fix(extra)}"
                )

    def made(self, plugin: Any) -> object:
        """An instance of the plugin."""
        if inspect.isabstract(plugin):
            missing = ", ".join(sorted(plugin.__abstractmethods__))
            raise PluginIncompatible(f"{self._label} does not define: {missing}")
        try:
            return plugin()
        except Exception as error:
            raise PluginUnavailable(
                f"{self._label} cannot be made: {type(error).__name__}: {error}"
            ) from error
