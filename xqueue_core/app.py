"""The application: declares task types, submits tasks, opens connections."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Never, ParamSpec, TypeVar

from xqueue_core.around import LifespanMaker, Middleware, check_lifespan, check_middleware
from xqueue_core.client.call import Call, make_call, make_task
from xqueue_core.client.client import Client
from xqueue_core.client.declares import Declares
from xqueue_core.client.declaring import keywords_only
from xqueue_core.client.elsewhere import on_any_loop
from xqueue_core.client.lanes import ByName, located, unknown
from xqueue_core.client.options import TaskOptions
from xqueue_core.client.plugs import of_client
from xqueue_core.client.sync.app import SyncApp
from xqueue_core.client.tasks import Tasks
from xqueue_core.connect import INLINE, BackendCache, Connection, check_names, connect
from xqueue_core.erring import Errs
from xqueue_core.errors import ConfigError
from xqueue_core.foreign import APP, DECLARING, tells
from xqueue_core.handle import Handle, any_json
from xqueue_core.ids import check_type, make_id, split_id
from xqueue_core.keywords import check_keywords
from xqueue_core.loading import loading
from xqueue_core.payload import encode_json
from xqueue_core.plugged import PluginCache
from xqueue_core.tested import Tested

if TYPE_CHECKING:
    from typing import Self

    from xqueue_core.abc import Role
    from xqueue_core.calls import Ability, AbilityName
    from xqueue_core.hooks import Plugin
    from xqueue_core.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


@tells(APP, DECLARING)
class XQueue(Declares, Errs, Tested):
    """One application: its task types, its broker.

    Making one reads nothing and connects to nothing. Connections are opened at the first use,
    one for each event loop, and closed by ``async with app:`` or :meth:`aclose`.

    Args:
        url: the broker, for example ``sqlite:///jobs.db``, ``memory://`` or, to run each task
            within its submit, ``inline://``; by default what is configured, and without
            configuration ``sqlite:///xqueue.db``.
        accept_without: names of abilities that the broker may lack; one that lacks another is
            refused when it is opened.
        middleware: ``async def mw(ctx, call_next)``, the outermost first: run by workers around
            each handler. What one returns or raises stands for what the handler does.
        lifespan: an ``@asynccontextmanager`` function of the app, entered by each worker before
            it leases anything and left after its last task; what it yields is ``ctx.state``.
        settings: further settings, as in ``xqueue.toml``.

    Raises:
        UnknownSetting: a keyword is no setting. A mapping may be a plugin's section: that there is
            no such plugin shows when the settings are read, at the first use.
        ConfigError: ``accept_without`` names no ability; middleware or lifespan are not of that
            form.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        accept_without: Collection[Ability | AbilityName] | AbilityName = (),
        middleware: Iterable[Middleware] = (),
        lifespan: LifespanMaker | None = None,
        **settings: Any,
    ) -> None:
        check_keywords(settings)
        self._overrides = {**settings, **({} if url is None else {"url": url})}
        self._accept_without = check_names(accept_without)
        self.middleware = check_middleware(middleware)
        self.lifespan = check_lifespan(lifespan)
        super().__init__()
        self._backends = BackendCache()
        self._plugins = PluginCache()
        self._settings: Settings | None = None
        self._make = True  # databases that are not there; the command line says otherwise
        self._place: str | None = None  # where the command line has found it: "module:attr"
        #: Where types that only the broker knows were first seen; they may have moved since.
        self._lanes: dict[str, str] = {}
        self._client = Client(self.connect, plugged=partial(of_client, self))

    # -- declaring --------------------------------------------------------------------------------

    def include(self, tasks: Tasks, prefix: str = "", lane: str | None = None) -> None:
        """Take over the types and schedules of a library, those it declares later included.

        From then on its handlers submit to this app, and workers of this app run them.

        Args:
            tasks: what the library has declared them on.
            prefix: put before the names of its types, of their own lanes and of its schedules.
            lane: where all of its tasks queue, in place of the lanes that it declares.

        Raises:
            ConfigError: a name is taken, and by whom; with prefix it is no name; the lane has
                another limit; or ``tasks`` is no :class:`Tasks`. Nothing was included then.
        """
        Tasks.include_in(self, tasks, prefix, lane, sys._getframe(1))

    @property
    def _home(self) -> Client:
        return self._client

    # -- submitting -------------------------------------------------------------------------------

    @on_any_loop
    async def submit(self, name: str, /, *args: Never, **arguments: Any) -> Handle[Any]:
        """Submit a task by the name of its type, which this app or another has declared.

        If this app declares the type, that is the same as ``submit`` of its handler. Else the
        task goes to the lane that the type has by then, with default options: the type's
        own priority, retries, time-outs, headers, times to keep, key and limit per key do not
        apply. Its arguments are sent as JSON and checked by the worker alone, where those that do
        not fit fail the task. What belongs to the handler applies as ever: the lane's limit, the
        policy of retries, isolation, middleware.

        Raises:
            UnknownType: nobody has declared it; the message names the known types.
            InvalidTask, PayloadTooLarge, ConfigError, Unsupported, Unavailable, Unknown: as
                ``submit`` of a handler.
        """
        spec = self._declarations.get(name)
        if args:
            raise keywords_only(name, spec)
        if spec is None:
            return await self._client.submit(await self._foreign(name, arguments))
        id = make_id(name, None, None, self._client.uuid)
        return await self._client.submit(make_call(spec, spec.options, id, (), arguments))

    async def _foreign(self, name: str, arguments: dict[str, Any]) -> Call[Any]:
        """A call of a type that only the broker knows: its worker will check the arguments."""
        check_type(name)
        lane = self._lanes.get(name)
        if lane is None:
            call = self._client.session.call
            lane = (await call(partial(located, types=[name]))).get(name)
            if lane is None:
                raise await call(partial(unknown, name=name, known=list(self._declarations)))
            self._lanes[name] = lane
        id = make_id(name, None, None, self._client.uuid)
        task = make_task(id, lane, encode_json(arguments), TaskOptions(), kind=ByName)
        return Call(task, any_json)

    @on_any_loop
    async def submit_many(self, calls: Iterable[Call[R]]) -> list[Handle[R]]:
        """Submit many tasks in few calls to the broker; the handles come in their order.

        However many there are, it goes on while the broker answers: the 30 s of each task begin
        when its turn comes. A broker that does not answer is waited for 30 s, not 30 s for each.

        Raises:
            What ``submit`` of a handler raises, for the first call that was not accepted; a note
            says how many were, how many were not, of how many it is unknown, and for how long
            submitting the same calls again is safe.
        """
        return await self._client.submit_many(calls)

    def handle(self, id: str) -> Handle[Any]:
        """The handle of any task, from anywhere. Raises InvalidTask if it is not an id."""
        type_, _ = split_id(id)
        spec = self._declarations.get(type_)
        return self._client.handle(id, any_json if spec is None else spec.decode_result)

    @property
    def sync(self) -> SyncApp:
        """The same for plain code, without ``await``: see ``docs/plain-code.md``."""
        return SyncApp(self)

    # -- connections ------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """The settings, read at the first call.

        Raises:
            UnknownSetting: a keyword, or a key of the file, is not known.
            ConfigError: a value is wrong.
        """
        if self._testing is not None:
            return self._testing.settings
        if self._settings is None:
            with loading:
                from xqueue_core.settings import load_settings

                self._settings = load_settings(self._overrides)
        return self._settings

    def plugin(self, name: str) -> Plugin:
        """The plugin of this name as this app uses it in this process: for what it offers itself.

        Raises:
            ConfigError: the settings do not name it, or it cannot be loaded.
        """
        names = self.settings().plugins
        if name not in names:
            raise ConfigError(
                f"this app does not use a plugin {name!r}: add it, XQUEUE_PLUGINS={name} or "
                f"plugins = [{name!r}] (used: {', '.join(names) or 'none'})"
            )
        with loading:
            return self._plugins.get(name)

    def connect(self, role: Role | None = None) -> AbstractAsyncContextManager[Connection]:
        """A connection of its own on the running event loop, open within the context.

        Args:
            role: what it will be used for; by default a client's part.

        Raises:
            ConfigError: settings or plugins are wrong, or an annotation of a handler names what
                there is not.
            NoDatabase: there is none, and its settings say that none is to be made.
            Unsupported: the broker lacks what ``accept_without`` does not name.
            Unavailable: the broker does not answer.
        """
        if role != "view":  # who only looks at tasks can do so whatever their handlers are like
            for spec in list(self._declarations.values()):
                spec.check_types()
        if self._testing is not None:
            return self._testing.connect(role)
        settings = self.settings()
        if settings.url.startswith(INLINE):
            from xqueue_core.inline import connect_inline

            return connect_inline(self, role)
        return connect(settings, self._backends, self._accept_without, role, make=self._make)

    async def __aenter__(self) -> Self:
        """Open the connection of this event loop now, so that what is wrong shows now."""
        await self._opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @on_any_loop
    async def _opened(self) -> None:
        await self._client.session.opened()

    async def aclose(self) -> None:
        """Send what still waits, and close the connection of this event loop."""
        await self._client.close()
