"""Connections: one broker or several, their abilities together, and what is refused."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pydantic
import pytest

from support.client_fakes import FakeNotifier, FakeQueue, FakeView
from xqueue_core import XQueue
from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import ALL_ABILITIES, Ability, Capabilities
from xqueue_core.connect import BackendCache, check_names, connect
from xqueue_core.errors import ConfigError, Unavailable, Unsupported
from xqueue_core.settings import Settings

pytestmark = pytest.mark.anyio


HERE = Path.cwd()


class OwnSettings(pydantic.BaseModel):
    path: str = ""
    namespace: str = "none"
    durability: str = "process"


class FakeBackend(Backend):
    """A backend with given abilities, which notes what it was opened with."""

    def __init__(self, name: str, abilities: frozenset[Ability], semaphore: object) -> None:
        self.name = name
        self.abilities = abilities
        self.semaphore: Any = semaphore
        self.opened: list[OwnSettings] = []
        self.closed = 0

    @property
    def Settings(self) -> type[OwnSettings]:
        return OwnSettings

    def capabilities(self, settings: OwnSettings) -> Capabilities:
        return Capabilities(abilities=self.abilities, max_payload=len(self.name))

    def open(
        self, settings: OwnSettings, role: Role = Role.CLIENT
    ) -> AbstractAsyncContextManager[Faces]:
        self.role = role
        return self._open(settings)

    @asynccontextmanager
    async def _open(self, settings: OwnSettings) -> AsyncIterator[Faces]:
        self.opened.append(settings)
        yield Faces(FakeQueue(), FakeView(), self.semaphore, FakeNotifier())
        self.closed += 1


class Loader:
    """Loads backends by name: ``full`` can do all, ``plain`` has neither limits nor events."""

    def __init__(self) -> None:
        self.loaded: list[FakeBackend] = []

    def __call__(self, name: str) -> FakeBackend:
        lacking = {Ability.LIMITS, Ability.EVENTS} if name == "plain" else set()
        semaphore = None if name == "plain" else object()
        backend = FakeBackend(name, ALL_ABILITIES - lacking, semaphore)
        self.loaded.append(backend)
        return backend


@pytest.fixture
def loader() -> Loader:
    return Loader()


async def test_one_broker_gives_all_faces(loader: Loader) -> None:
    settings = Settings(url="full://", namespace="mine")
    async with connect(settings, BackendCache(loader)) as connection:
        assert connection.capabilities.abilities == ALL_ABILITIES
        assert connection.settings is settings
        assert None not in connection.faces
    (backend,) = loader.loaded
    assert backend.closed == 1
    assert backend.role is Role.CLIENT
    # What the app says for all brokers holds where the broker's own settings say nothing.
    assert backend.opened[0].namespace == "mine"


async def test_a_backend_is_told_what_it_is_opened_for(loader: Loader) -> None:
    async with connect(Settings(url="full://"), BackendCache(loader), role=Role.WORKER):
        assert loader.loaded[0].role is Role.WORKER


async def test_what_is_said_of_one_broker_stands_above_what_is_said_of_all(loader: Loader) -> None:
    settings = Settings(url="full://?namespace=own", namespace="mine")
    async with connect(settings, BackendCache(loader)):
        assert loader.loaded[0].opened[0].namespace == "own"


async def test_faces_come_from_the_brokers_that_are_named(loader: Loader) -> None:
    settings = Settings(url="plain://", semaphore_url="full://", notifier_url="full://")
    async with connect(settings, BackendCache(loader)) as connection:
        plain, full = loader.loaded
        assert (plain.name, full.name) == ("plain", "full")
        assert connection.faces.semaphore is full.semaphore
        assert connection.capabilities.abilities == ALL_ABILITIES
        # Numbers are those of the queue.
        assert connection.capabilities.max_payload == len("plain")
        assert len(full.opened) == 1
    assert (plain.closed, full.closed) == (1, 1)


async def test_what_is_lacking_is_refused_by_name(loader: Loader) -> None:
    cache = BackendCache(loader)
    with pytest.raises(Unsupported, match=r"plain:// lacks EVENTS, LIMITS; .*{'EVENTS', 'LIMITS'}"):
        async with connect(Settings(url="plain://"), cache):
            pytest.fail("it opened")
    assert loader.loaded[0].closed == 0  # an exception passed through, which it does not count
    with pytest.raises(Unsupported, match="lacks EVENTS;"):
        async with connect(Settings(url="plain://"), cache, {"LIMITS"}):
            pytest.fail("it opened")
    async with connect(Settings(url="plain://"), cache, {"LIMITS", "EVENTS", "VIEW"}) as opened:
        assert opened.capabilities.abilities == ALL_ABILITIES - {"LIMITS", "EVENTS"}


async def test_an_ability_without_its_face_does_not_count(loader: Loader) -> None:
    backend = FakeBackend("odd", ALL_ABILITIES, None)
    with pytest.raises(Unsupported, match="lacks LIMITS;"):
        async with connect(Settings(url="odd://"), BackendCache(lambda _: backend)):
            pytest.fail("it opened")


async def test_if_the_second_broker_fails_the_first_is_closed(loader: Loader) -> None:
    class Down(FakeBackend):
        def open(
            self, settings: OwnSettings, role: Role = Role.CLIENT
        ) -> AbstractAsyncContextManager[Faces]:
            raise Unavailable("down")

    closed = []

    class Up(FakeBackend):
        @asynccontextmanager
        async def _open(self, settings: OwnSettings) -> AsyncIterator[Faces]:
            try:
                yield Faces(FakeQueue())
            finally:
                closed.append(self.name)

    def load(name: str) -> Backend:
        return (Down if name == "down" else Up)(name, ALL_ABILITIES, None)

    with pytest.raises(Unavailable):
        async with connect(Settings(url="up://", view_url="down://"), BackendCache(load)):
            pytest.fail("it opened")
    assert closed == ["up"]


async def test_broker_and_absolute_path_are_logged_and_no_password(
    loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "xqueue")
    settings = Settings(url="full:///data.db", view_url="full:////tmp/x?durability=s3cret")
    async with connect(settings, BackendCache(loader)):
        pass
    assert caplog.messages[0] == f"broker: full:///data.db ({HERE / 'data.db'})"
    assert caplog.messages[1].endswith("(/tmp/x)")


async def test_each_broker_is_said_once(loader: Loader, caplog: pytest.LogCaptureFixture) -> None:
    """A worker has two connections."""
    caplog.set_level(logging.INFO, "xqueue")
    cache = BackendCache(loader)
    for _ in range(2):
        async with connect(Settings(url="full:///data.db"), cache):
            pass
        async with connect(Settings(url="full:///other.db"), cache):
            pass
    said = [text for text in caplog.messages if text.startswith("broker: ")]
    assert [text.partition(" (")[0] for text in said] == [
        "broker: full:///data.db",
        "broker: full:///other.db",
    ]


def test_a_backend_is_made_once(loader: Loader) -> None:
    cache = BackendCache(loader)
    assert cache.get("full") is cache.get("full")
    assert cache.get("plain") is not cache.get("full")
    assert len(loader.loaded) == 2


def test_threads_that_ask_at_once_share_one_backend() -> None:
    """Two of them would split memory:// in two: each keeps its tasks with its backend."""
    made = []
    both = threading.Barrier(2, timeout=0.5)

    def load(name: str) -> Any:
        with suppress(threading.BrokenBarrierError):
            both.wait()  # only where both load are both here
        made.append(name)
        return object()

    cache = BackendCache(load)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(cache.get, ["memory", "memory"])
    assert first is second
    assert made == ["memory"]


def test_a_forked_child_makes_its_own_backends(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = BackendCache(loader)
    inherited = cache.get("full")
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    assert cache.get("full") is not inherited
    assert cache.get("full") is cache.get("full")


def test_accept_without_takes_names_of_abilities() -> None:
    assert check_names({"VIEW", Ability.EVENTS}) == {Ability.VIEW, Ability.EVENTS}
    assert check_names("VIEW") == {Ability.VIEW}
    with pytest.raises(ConfigError, match=r"names no ability: COLOUR \(known: ATTEMPTS, CANCEL"):
        XQueue(accept_without={"COLOUR", "VIEW"})  # type: ignore[arg-type]
