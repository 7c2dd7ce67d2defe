"""What a library keeps between two calls: nothing that belongs to one of them."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

import services
from support.redis_links import linked
from xqueue_core.calls import Beat, Put, Settle, Settled, Want
from xqueue_core.errors import Refused
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import Success, Task
from xqueue_redis.address import Address
from xqueue_redis.calling import Way, run
from xqueue_redis.connection import Link
from xqueue_redis.failures import error_code
from xqueue_redis.queue import RedisQueue
from xqueue_redis.scripts import CALL, MAIN, Scripts, assembled, header, names, source

#: A declaration outside of functions: the names, and what they are set to.
_DECLARED = re.compile(r"^local (?!function)([\w, ]+?)(?: = (.*))?$", re.MULTILINE)
_FUNCTION = re.compile(r"^local function (\w+)", re.MULTILINE)
_ASSIGNED = re.compile(r"^ *(?!local )([\w.\[\], ]+?) = ", re.MULTILINE)


def above(name: str) -> list[str]:
    """What happens once of a script: its libs, and itself down to its main part."""
    own = source(name)
    libs = [source(f"lib/{lib}") for lib in header(own).get("libs", "").split()]
    return [*libs, own.partition(f"{MAIN}\n")[0] if MAIN in own else ""]


def declared(text: str, *, by_call: bool) -> list[str]:
    found = []
    for names_, value in _DECLARED.findall(text):
        if value.endswith(CALL) == by_call:
            found += names_.split(", ")
    return found


# -- the rules --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_what_is_set_once_never_changes(name: str) -> None:
    texts = [*above(name), source(name)]
    once = {one for text in above(name) for one in declared(text, by_call=False)}
    for text in texts:
        for names_ in _ASSIGNED.findall(text):
            changed = {re.split(r"[.\[]", one.strip())[0] for one in names_.split(", ")}
            assert not changed & once, f"{name}: {names_} is set without {CALL}"
        for one in once:
            grown = re.search(rf"\btable\.(insert|remove|sort)\({one}\b", text)
            assert not grown, f"{name}: {one} grows without {CALL}"


@pytest.mark.parametrize("name", names())
def test_what_belongs_to_a_call_has_a_name_of_its_own(name: str) -> None:
    """One that is declared twice would be set where nobody sees it."""
    texts = above(name)
    by_call = {one for text in texts for one in declared(text, by_call=True)}
    every = Counter(one for text in texts for one in declared(text, by_call=False))
    every.update(one for text in texts for one in declared(text, by_call=True))
    every.update(
        one for text in texts for one in re.findall(r"^local function (\w+)", text, re.MULTILINE)
    )
    assert not {one for one in by_call if every[one] > 1}
    assert not by_call or {"P", "now"} <= by_call or "base" not in header(source(name))["libs"]


@pytest.mark.parametrize("name", names())
def test_a_library_has_no_trace_of_the_marks(name: str) -> None:
    library = Scripts().get(name).library
    assert CALL not in library
    assert f"{MAIN}\n" not in library


def test_the_name_tells_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    one, moved = Scripts().get("put"), Scripts("key").get("put")
    assert one.function.startswith("xqueue_put_")
    assert one.library.startswith(f"#!lua name={one.function}\n")
    assert one.function != moved.function


# -- on a server ------------------------------------------------------------------------------

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=["redis7", "redis8", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[services.Server]:
    with services.redis(request.param) as server:
        yield server


class Space:
    """A namespace, and the only worker in it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.queue = RedisQueue(link, StoredOptions())
        self.call = 0

    async def put(self, *ids: str) -> None:
        answers = await self.queue.put([Task(id=f"t:{id}", lane="l") for id in ids])
        assert {one.put for one in answers} == {Put.NEW}

    async def take(self, most: int = 9) -> list[tuple[str, int]]:
        await self.queue.extend(Beat(worker="w", answered=self.call), [])
        self.call += 1
        leased = await self.queue.lease([Want("l", most)], most, self.call, "w", 0.0)
        return [(one.task.id, one.token) for one in leased.deliveries]

    async def end(self, taken: list[tuple[str, int]]) -> None:
        ends = [Settle(id, token, Success()) for id, token in taken]
        assert set(await self.queue.settle(ends)) == {Settled.APPLIED}

    async def counted(self) -> dict[str, int]:
        flat = await self.link.command("HGETALL", f"{self.link.prefix}counts")
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        return {name.decode().rpartition("/")[2]: int(n) for name, n in found.items() if int(n)}


def space(server: services.Server, namespace: str) -> Space:
    address = Address(hosts=(("127.0.0.1", server.port),))
    return Space(Link(address, namespace, Scripts()))


async def test_namespaces_in_turn_see_nothing_of_each_other(server: services.Server) -> None:
    one, two = space(server, "one"), space(server, "two")
    try:
        for n in range(3):
            await one.put(f"{n}", f"x{n}")
            await two.put(f"{n}")
        assert await one.counted() == {"accepted": 6, "pending": 6}
        assert await two.counted() == {"accepted": 3, "pending": 3}
        first, second = await one.take(), await two.take()
        assert [id for id, _ in first] == ["t:0", "t:x0", "t:1", "t:x1", "t:2", "t:x2"]
        assert [id for id, _ in second] == ["t:0", "t:1", "t:2"]
        await one.end(first)
        await two.end(second)
        assert await one.counted() == {"accepted": 6, "success": 6}
        assert await two.counted() == {"accepted": 3, "success": 3}
    finally:
        await one.link.close()
        await two.link.close()


async def test_a_call_that_raised_half_way_leaves_nothing_to_the_next(
    server: services.Server,
) -> None:
    broken, sound = space(server, "broken"), space(server, "sound")
    script = Scripts().get("put")
    try:
        await broken.put("a")
        await sound.put("a")
        async with Redis(port=server.port) as redis:
            row = await redis.hget("{broken}:t:t:a", "s")
            given: list[Any] = ["t:b", row, "e", "", "t:c", b"\xc1", "e", ""]
            with pytest.raises(ResponseError):
                await redis.fcall(script.function, 1, "{broken}:meta", *given)
        await sound.put("c")
        await broken.put("c")
        assert await sound.counted() == {"accepted": 2, "pending": 2}
        assert await broken.counted() == {"accepted": 2, "pending": 2}
        assert [id for id, _ in await sound.take()] == ["t:a", "t:c"]
        for one in (broken, sound):
            told = await one.link.command("XRANGE", f"{one.link.prefix}events", "-", "+")
            assert b"t:b" not in repr(told).encode()
    finally:
        await broken.link.close()
        await sound.link.close()


_HELD = """#!lua name=held
redis.register_function('held', function()
  collectgarbage() collectgarbage()
  return collectgarbage('count') * 1024 end)"""


async def test_what_a_large_call_had_is_let_go(server: services.Server) -> None:
    """Also one that raised: a library stays, and what it knows is the server's memory."""
    one = space(server, "large")
    try:
        await one.link.command("FUNCTION", "LOAD", "REPLACE", _HELD)
        await one.put("first")
        await one.end(await one.take())
        before = await one.link.command("FCALL", "held", 0)
        await one.put(*(f"{n}" for n in range(250)))
        taken = await one.take(250)
        await one.end(taken)
        bad: list[Any] = [one for n in range(250) for one in (f"t:x{n}", b"\xc1", "e" * 999, "")]
        with pytest.raises(Refused):
            await one.link.run("put", *bad)
        after = await one.link.command("FCALL", "held", 0)
        assert after - before < 50_000
    finally:
        await one.link.close()


async def test_two_that_load_at_once_both_get_their_answer(server: services.Server) -> None:
    async with linked(server, namespace="loads") as link:
        await link.command("FUNCTION", "FLUSH")
        assert await link.run("count") == 1
        await link.command("FUNCTION", "FLUSH")
        found = await asyncio.gather(*(link.run("count") for _ in range(4)))
        assert sorted(found) == [2, 3, 4, 5]


async def test_where_no_change_is_taken_a_library_is_a_script(server: services.Server) -> None:
    async with linked(server, namespace="full") as link:
        await link.run("count")
        await link.command("FUNCTION", "FLUSH")
        await link.command("CONFIG", "SET", "maxmemory", "1")
        try:
            assert await link.run("drain") == 1
        finally:
            await link.command("CONFIG", "SET", "maxmemory", "0")
        assert await link.command("FUNCTION", "LIST") == []
        assert await link.run("count") == 1


@pytest.mark.parametrize("name", names())
async def test_a_script_is_accepted_in_both_forms(server: services.Server, name: str) -> None:
    script = Scripts().get(name)
    async with linked(server, namespace="forms") as link:
        await link.command("FUNCTION", "LOAD", "REPLACE", script.library)
        digest = await link.command("SCRIPT", "LOAD", script.text)
        assert digest.decode() == script.digest


class Forgetful:
    """In place of a connection: to a server that forgets what it is told."""

    def __init__(self, answer: str) -> None:
        self.asked: list[str] = []
        self.answer = answer

    async def ask(self, *command: Any) -> Any:
        self.asked.append(" ".join(command[:2]) if command[0] != "FCALL" else "FCALL")
        if command[0] == "FCALL":
            raise ResponseError("Function not found")
        if command[0] == "FUNCTION" and self.answer:
            raise ResponseError(self.answer)
        return b"loaded"


@pytest.mark.parametrize("answer", ["", "Library 'xqueue_one' already exists"])
async def test_a_library_is_loaded_three_times_at_most(answer: str) -> None:
    wire: Any = Forgetful(answer)
    way = Way()
    with pytest.raises(ResponseError) as caught:
        await run(wire, way, assembled("one", ["return 1"]), "{x}:meta", ["a"])
    assert error_code(caught.value) == "NOSCRIPT"
    assert wire.asked == ["FCALL", *["FUNCTION LOAD", "FCALL"] * 3]


async def test_a_library_that_cannot_be_loaded_is_told() -> None:
    wire: Any = Forgetful("Error compiling function")
    way = Way()
    with pytest.raises(ResponseError, match="compiling"):
        await run(wire, way, assembled("one", ["return 1"]), "{x}:meta", [])
    assert wire.asked == ["FCALL", "FUNCTION LOAD"]
    assert not way.sent
