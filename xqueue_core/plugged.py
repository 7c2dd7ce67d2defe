"""The plugins of one app, at work: made, opened, and called so that nothing they do does harm."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from xqueue_core.client.options import LARGEST_HEADERS
from xqueue_core.connect import Made
from xqueue_core.errors import ConfigError
from xqueue_core.holding import Holder, close
from xqueue_core.hooks import Hooks, Place, Running, Site, Submitting, WorkerEvent
from xqueue_core.loading import loading

if TYPE_CHECKING:
    from xqueue_core.abc import TaskView
    from xqueue_core.app import XQueue
    from xqueue_core.calls import Delivery
    from xqueue_core.hooks import Ended, Plugin
    from xqueue_core.task import Task

logger = logging.getLogger("xqueue.plugins")

#: Longest that a plugin may take to open, and to close (seconds).
PATIENCE = 10.0
#: A hook that takes longer blocks (seconds), and how long it is not told of again.
LONG = 0.1
QUIET = 60.0


class PluginCache(Made["Plugin"]):
    """The plugins of one app, each made once in each process, and how often each has failed."""

    def __init__(self, load: Callable[[str], Plugin] | None = None) -> None:
        super().__init__(load)
        self._failures: Counter[tuple[str, str]] = Counter()
        self._silent: dict[tuple[str, str], float] = {}  # until when slow hooks are not told of

    def failures(self) -> Mapping[tuple[str, str], int]:
        """How often each hook has raised, by plugin and hook."""
        with self._lock.own():
            return dict(self._failures)

    def failed(self, plugin: str, hook: str, error: BaseException) -> None:
        """A hook has raised: count it, and say so, but not a thousand times."""
        with self._lock.own():
            self._failures[plugin, hook] += 1
            times = self._failures[plugin, hook]
        try:
            if times == 1:
                trace = (type(error), error, error.__traceback__)
                text = "plugin %r failed in %s(), which changes nothing else: %r"
                logger.error(text, plugin, hook, error, exc_info=trace)
            elif str(times).strip("0") == "1":  # 10, 100, ...
                logger.error("plugin %r has failed in %s() %d times", plugin, hook, times)
        except BaseException:  # noqa: BLE001 - a log handler's fault, or the error's own repr
            return

    def took(self, plugin: str, hook: str, began: float) -> None:
        """A hook has ended: warn if it took long, once a minute."""
        now = perf_counter()
        if now - began <= LONG:
            return
        with self._lock.own():
            due = now >= self._silent.get((plugin, hook), now)
            if due:
                self._silent[plugin, hook] = now + QUIET
        if due:
            text = "plugin %r took %.2f s in %s(): a hook must not block, tasks may run twice"
            logger.warning(text, plugin, now - began, hook)

    def _load_named(self, name: str) -> Plugin:
        from xqueue_core.plugins import load_hooked

        return load_hooked(name)


class _Named(NamedTuple):
    """One hook, and whose it is."""

    plugin: str
    call: Callable[..., Any]


class Plugged:
    """The plugins of an app in one place. Before it is opened, and when it is closed, no hook is
    called.

    Attributes:
        runs, ends, workers: True if any plugin wants to be told.
    """

    def __init__(self, app: XQueue, place: Place, names: Sequence[str]) -> None:
        """Make them, and read their settings. Opens nothing.

        Raises:
            PluginNotFound, PluginUnavailable, PluginIncompatible: one cannot be loaded.
            ConfigError: its settings are wrong.
        """
        self._app = app
        self._cache = app._plugins
        self._place = place
        with loading:
            made = [(name, self._cache.get(name)) for name in names]
            self._wanted = [
                (name, plugin, own_settings(app, name, plugin))
                for name, plugin in made
                if place in plugin.places
            ]
        self._submit: tuple[_Named, ...] = ()
        self._run: tuple[_Named, ...] = ()
        self._ended: tuple[_Named, ...] = ()
        self._worker: tuple[_Named, ...] = ()

    @asynccontextmanager
    async def open(
        self,
        worker: str = "",
        view: TaskView | None = None,
        rush: asyncio.Event | None = None,
    ) -> AsyncIterator[None]:
        """Open all of them on this event loop; within, their hooks are called.

        One that ends before it is asked to is logged, and told nothing more; the others are. When
        ``rush`` is set, they have no more than a second left to close.

        Raises PluginFailed if one cannot be opened.
        """
        holders: list[Holder] = []
        told = False

        def take() -> None:
            if told:
                self._take([(one.name, one.hooks) for one in holders if one.hooks is not None])

        def fell(one: Holder, error: BaseException | None) -> None:
            take()
            if error is not None:
                self._cache.failed(one.name, "open", error)
                logger.error("plugin %r has ended by that: it is told of nothing more", one.name)

        try:
            for name, plugin, settings in self._wanted:
                make = partial(plugin.open, settings, self._site(name, worker, view))
                holders.append(Holder(name, make, fell))
                await holders[-1].open(PATIENCE)
            told = True
            take()
            yield
        finally:
            told = False
            self._take([])
            await close(holders, PATIENCE, self._unclosed, rush)

    def _site(self, name: str, worker: str, view: TaskView | None) -> Site:
        return Site(
            self._place,
            name,
            self._app.settings(),
            lambda: self._app.handlers.keys(),
            worker,
            view,
            self._cache.failures,
        )

    def _unclosed(self, name: str, error: BaseException) -> None:
        self._cache.failed(name, "open", error)

    def _take(self, found: Sequence[tuple[str, Hooks]]) -> None:
        self._submit = _of("submit", found)
        self._run = _of("run", found)
        self._ended = _of("ended", found)
        self._worker = _of("worker", found)

    # -- calling ---------------------------------------------------------------------------------

    @contextmanager
    def submitting(self, tasks: Sequence[Task]) -> Iterator[list[Submitting]]:
        """Around a submit: fill in each ``answer`` within. Raises only what is raised within."""
        batch = [Submitting(task, dict(task.headers)) for task in tasks]
        if not self._submit:
            yield batch
            return
        inside = Inside(self._cache, "submit")
        shown = tuple(batch)  # the list is ours: whatever a hook does, these are submitted
        for hook in self._submit:
            inside.enter(hook.plugin, hook.call, shown)
        for one, task in zip(batch, tasks, strict=True):
            self._keep(one, task)
        raised: BaseException | None = None
        try:
            yield batch
        except BaseException as error:
            raised = error
            for one in batch:
                one.answer = one.answer or error
            raise
        finally:
            inside.leave(raised)
            raised = None  # its traceback holds this frame

    def _keep(self, one: Submitting, task: Task) -> None:
        """The headers that travel: the producer's own, and what was added if that is fit."""
        one.task, own, merged = task, task.headers, None
        try:
            if one.headers != own:
                merged = {**one.headers, **own}
        except Exception as error:  # noqa: BLE001 - a hook may have put anything there
            self._cache.failed("plugins", "headers", error)
        fit = None if merged is None else self.fit(merged)
        if fit is not None:
            one.task = msgspec.structs.replace(task, headers=fit)

    def fit(self, headers: object) -> dict[str, str] | None:
        """A copy of these headers in plain texts, if they are texts and not too many; else None,
        and it is counted."""
        try:
            if not isinstance(headers, Mapping):
                raise TypeError(f"headers are a mapping, not {type(headers).__name__!r}")
            # Not by str(): of Django's SafeString, for one, that is itself, which nobody encodes.
            plain = {str.__str__(key): str.__str__(value) for key, value in headers.items()}
            text = "".join([*plain, *plain.values()])
            text.encode()
            if len(text) > LARGEST_HEADERS:
                raise ValueError(
                    f"{len(text)} characters in headers, and {LARGEST_HEADERS} are allowed"
                )
        except BaseException as error:  # noqa: BLE001 - no texts, no characters, or it raises
            self._cache.failed("plugins", "headers", error)
            return None
        return plain

    def carried(self, run: Running) -> dict[str, str] | None:
        """What hooks have put into a run for the child process; None if nothing, or not fit."""
        try:
            given = run.carried
            if not given:
                return None
        except BaseException as error:  # noqa: BLE001 - a hook may have put anything there
            self._cache.failed("plugins", "headers", error)
            return None
        return self.fit(given)

    @property
    def runs(self) -> bool:
        """True if any is told of runs."""
        return bool(self._run)

    def enter(
        self,
        delivery: Delivery,
        worker: str,
        kind: str,
        place: Place = Place.WORKER,
        carried: dict[str, str] | None = None,
    ) -> tuple[Running, Inside]:
        """Before a handler runs: what is told of it, and what is to be left in the same context."""
        task = delivery.task
        run = Running(
            id=task.id,
            type=task.type,
            lane=task.lane,
            attempt=delivery.attempt,
            max_retry=task.max_retry,
            headers=MappingProxyType(task.headers),  # they are the task's own, and sent on
            accepted_at=delivery.accepted_at,
            worker=worker,
            kind=kind,
            place=place,
            carried={} if carried is None else carried,
        )
        inside = Inside(self._cache, "run")
        for hook in self._run:
            inside.enter(hook.plugin, hook.call, run)
        return run, inside

    @property
    def ends(self) -> bool:
        """True if any is told of ends."""
        return bool(self._ended)

    def ended(self, end: Ended) -> None:
        """A delivery has ended."""
        self._tell(self._ended, "ended", end)

    @property
    def heard(self) -> bool:
        """True if any is told of what workers do."""
        return bool(self._worker)

    def worker(self, event: WorkerEvent) -> None:
        """A worker has done something."""
        self._tell(self._worker, "worker", event)

    def _tell(self, hooks: Sequence[_Named], hook: str, what: object) -> None:
        for plugin, call in hooks:
            began = perf_counter()
            try:
                call(what)
            except BaseException as error:  # noqa: BLE001 - a plugin is somebody else's code
                self._cache.failed(plugin, hook, error)
            self._cache.took(plugin, hook, began)


class Inside:
    """What hooks have entered around one thing. Neither method raises anything."""

    __slots__ = ("_cache", "_entered", "_hook")

    def __init__(self, cache: PluginCache, hook: str) -> None:
        self._cache = cache
        self._hook = hook
        self._entered: list[tuple[str, AbstractContextManager[Any]]] = []

    def enter(self, plugin: str, call: Callable[..., Any], what: object) -> None:
        """Call the hook, and enter what it returns."""
        began = perf_counter()
        try:
            context = call(what)
            if context is not None:
                context.__enter__()
                self._entered.append((plugin, context))
        except BaseException as error:  # noqa: BLE001 - a plugin is somebody else's code
            self._cache.failed(plugin, self._hook, error)
        self._cache.took(plugin, self._hook, began)

    def leave(self, raised: BaseException | None) -> None:
        """Leave it all, the last first; nothing is suppressed by it."""
        kind = None if raised is None else type(raised)
        trace = None if raised is None else raised.__traceback__
        for plugin, context in reversed(self._entered):
            began = perf_counter()
            try:
                context.__exit__(kind, raised, trace)
            except BaseException as error:  # noqa: BLE001 - as above
                if error is not raised:
                    self._cache.failed(plugin, self._hook, error)
            self._cache.took(plugin, self._hook, began)


def plugged(app: XQueue, place: Place) -> Plugged | None:
    """The plugins that the app's settings name, for one place; None if there are none.

    Raises ConfigError as :class:`Plugged` does.
    """
    names = app.settings().plugins
    if not names:
        return None
    found = Plugged(app, place, names)
    return found if found._wanted else None


def tell_unused(app: XQueue) -> None:
    """Warn, once in a process, of sections of plugins that the settings do not name."""
    if app.settings().sections and app._testing is None:
        for text in unused(app):
            if app._backends.unsaid(text):
                logger.warning("%s", text)


def unused(app: XQueue) -> list[str]:
    """What is told of each section of a plugin that the settings do not name."""
    with loading:
        from xqueue_core.settings import unused_sections

        return [str(one) for one in unused_sections(app.settings())]


def own_settings(app: XQueue, name: str, plugin: Plugin) -> Any:
    """A plugin's own settings. Raises ConfigError if they are wrong."""
    from xqueue_core.settings import backend_settings

    try:
        return backend_settings(app.settings(), "", plugin.Settings, section=name)
    except ConfigError as error:
        error.add_note(f"plugin {name!r}")
        raise


def _of(name: str, found: Sequence[tuple[str, Hooks]]) -> tuple[_Named, ...]:
    """This hook of those that override it."""
    return tuple(
        _Named(plugin, getattr(hooks, name))
        for plugin, hooks in found
        if getattr(type(hooks), name) is not getattr(Hooks, name)
    )
