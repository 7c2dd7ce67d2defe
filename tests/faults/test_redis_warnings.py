"""Servers of Redis that are not as they should be: what is said, and what to do about it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

import services
from services import Server
from support.redis_links import linked, made
from xqueue_core.abc import Role
from xqueue_core.errors import ConfigError, Unavailable
from xqueue_core.findings import Finding, Level
from xqueue_redis import RedisBackend, safety

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that keeps nothing."""
    with services.redis() as started:
        yield started


async def examined(server: Server, **changes: object) -> dict[str, Finding]:
    settings = made(server.url, **changes)
    return {one.check: one async for one in RedisBackend().examine(settings, 5)}


@pytest.mark.parametrize("password", ["", "s3cret"])
async def test_tls_asked_of_a_port_that_does_not_speak_it_is_told(password: str) -> None:
    with services.redis(password=password) as server:
        plain = f"127.0.0.1:{server.port}"
        async with asyncio.timeout(4):
            with pytest.raises(ConfigError, match=rf"{plain} does not speak TLS.*redis://"):
                async with linked(f"rediss://{plain}"):
                    pass
        async with linked(server, namespace="plain") as link:
            clients = (await link.command("CLIENT", "LIST")).decode()
            assert clients.count("id=") == 1, "nothing is left open"


async def test_tls_asked_of_what_says_nothing_takes_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable, match=r"no answer in 1\.5 s"):
            async with linked(f"rediss://127.0.0.1:{port}", timeout=1.5):
                pass


@pytest.mark.parametrize("lacking", ["FCALL", "FUNCTION"])
async def test_one_without_functions_is_refused_with_what_to_do(lacking: str) -> None:
    with services.redis(rename_command=f"{lacking} ") as server:
        with pytest.raises(ConfigError, match=f"{lacking}.*since 7.0.*proxy"):
            async with linked(server):
                pass
        found = await examined(server)
        assert found["scripts"].level is Level.ERROR
        assert "proxy" in found["scripts"].advice


async def test_of_an_old_one_its_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "OLDEST", (99, 0))
    older = pytest.raises(ConfigError, match=r"7\.0\.\d+ is older than .*upgrade")
    with services.redis(rename_command="FCALL ") as server, older:
        async with linked(server):
            pass


async def test_doctor_names_consumer_groups_of_others(server: Server) -> None:
    async with linked(server, namespace="watched") as link:
        await link.command("HSET", f"{link.prefix}lanes", "mail", "")
        await link.command("XGROUP", "CREATE", f"{link.prefix}r:mail:0", "x", "0", "MKSTREAM")
        found = await examined(server, namespace="watched")
        assert found["groups"].level is Level.OK
        await link.command("XGROUP", "CREATE", f"{link.prefix}r:mail:0", "theirs", "$")
        found = await examined(server, namespace="watched")
        assert found["groups"].level is Level.WARNING
        assert found["groups"].detail.endswith("r:mail:0 theirs")
        assert "XGROUP DESTROY {watched}:r:mail:0 theirs" in found["groups"].advice


async def test_the_openings_of_a_worker_warn_once(caplog: pytest.LogCaptureFixture) -> None:
    with services.redis(save="3600 1") as server:
        settings = made(server.url, allow=("unverified-tls",))
        backend = RedisBackend()
        async with backend.open(settings, Role.WORKER), backend.open(settings, Role.WORKER):
            assert caplog.text.count("snapshots alone") == 1
            assert caplog.text.count("whoever answers is trusted") == 1
