"""The application: declares task types, submits tasks, opens connections."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from xqueue_core.around import LifespanMaker, Middleware, check_lifespan, check_middleware
from xqueue_core.client.call import Call, make_call, make_task
from xqueue_core.client.client import Client
from xqueue_core.client.declares import Declares
from xqueue_core.client.declaring import unknown_type
from xqueue_core.client.elsewhere import on_any_loop
from xqueue_core.client.options import TaskOptions
from xqueue_core.client.sync.app import SyncApp
from xqueue_core.client.tasks import Tasks
from xqueue_core.connect import INLINE, BackendCache, Connection, check_names, connect
from xqueue_core.handle import Handle, any_json
from xqueue_core.ids import check_type, make_id, split_id
from xqueue_core.loading import loading
from xqueue_core.payload import encode_json
from xqueue_core.tested import Tested

if TYPE_CHECKING:
    from typing import Self

    from xqueue_core.abc import Role
    from xqueue_core.settings import Settings
    from xqueue_core.views import Stats

P = ParamSpec("P")
R = TypeVar("R")


class XQueue(Declares, Tested):
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
        ConfigError: ``accept_without`` names no ability; middleware or lifespan are not of that
            form.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        accept_without: Collection[str] = (),
        middleware: Iterable[Middleware] = (),
        lifespan: LifespanMaker | None = None,
        **settings: Any,
    ) -> None:
        self._overrides = {**settings, **({} if url is None else {"url": url})}
        self._accept_without = check_names(accept_without)
        self.middleware = check_middleware(middleware)
        self.lifespan = check_lifespan(lifespan)
        super().__init__()
        self._backends = BackendCache()
        self._settings: Settings | None = None
        self._place: str | None = None  # where the command line has found it: "module:attr"
        self._lanes: dict[str, str] = {}  # of types that only the broker knows
        self._client = Client(self.connect)

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
    async def submit(self, name: str, /, **arguments: Any) -> Handle[Any]:
        """Submit a task by the name of its type, which this app or another has declared.

        If this app declares the type, that is the same as ``submit`` of its handler. Else the
        task goes to the lane in which the broker knows the type, with default options: the type's
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
        if spec is None:
            return await self._client.submit(await self._foreign(name, arguments))
        id = make_id(name, None, None, self._client.uuid)
        return await self._client.submit(make_call(spec, spec.options, id, (), arguments))

    async def _foreign(self, name: str, arguments: dict[str, Any]) -> Call[Any]:
        """A call of a type that only the broker knows: its worker will check the arguments."""
        check_type(name)
        if name not in self._lanes:
            stats: Stats = await self._client.session.call(_stats)
            self._lanes.update(
                (type_, lane) for lane, one in stats.lanes.items() for type_ in one.types
            )
        if name not in self._lanes:
            raise unknown_type(name, {*self._declarations, *self._lanes})
        id = make_id(name, None, None, self._client.uuid)
        return Call(
            make_task(id, self._lanes[name], encode_json(arguments), TaskOptions()), any_json
        )

    @on_any_loop
    async def submit_many(self, calls: Iterable[Call[R]]) -> list[Handle[R]]:
        """Submit many tasks in few calls to the broker; the handles come in their order.

        Raises:
            What ``submit`` of a handler raises, for the first call that was not accepted; a note
            says how many were. Submitting the same calls again is safe.
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

    def connect(self, role: Role | None = None) -> AbstractAsyncContextManager[Connection]:
        """A connection of its own on the running event loop, open within the context.

        Args:
            role: what it will be used for; by default a client's part.

        Raises:
            ConfigError: settings or plugins are wrong.
            Unsupported: the broker lacks what ``accept_without`` does not name.
            Unavailable: the broker does not answer.
        """
        if self._testing is not None:
            return self._testing.connect(role)
        settings = self.settings()
        if settings.url.startswith(INLINE):
            from xqueue_core.inline import connect_inline

            return connect_inline(self, role)
        return connect(settings, self._backends, self._accept_without, role)

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


async def _stats(connection: Connection) -> Stats:
    stats: Stats = await connection.faces.needed("view").stats()
    return stats
