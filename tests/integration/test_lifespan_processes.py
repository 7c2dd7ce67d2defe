"""An app's lifespan in worker processes: exit codes, and what the log says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support import lifespan_app
from support.processes import cli, notes
from support.workers import until
from xqueue_core import State

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.mark.parametrize(
    ("how", "loop", "code", "said"),
    [
        ("fails at entry", "trio", 1, "no database"),
        ("takes its time", "asyncio", 0, ""),
        ("fails at exit", "uvloop", 1, "cannot close"),
        ("hangs", "trio", 1, "was not left within 0.5 s"),
        ("blocks", "asyncio", 1, "the app's lifespan did not end"),
    ],
)
async def test_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, loop: str, code: int, said: str
) -> None:
    monkeypatch.setenv(lifespan_app.HOW, how)
    log = tmp_path / "handlers.log"
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    grace = "3" if how == "takes its time" else "0.5"
    async with lifespan_app.make(url) as app:
        handle = await app.submit("job")
        place = ("worker", "support.lifespan_app:app", "--loop", loop, "--grace", grace)
        with cli(url, log, *place) as process:
            if how == "fails at entry":
                assert await process.ended() == code
                assert await handle.state() is State.PENDING
                async with app.connect() as connection:
                    assert list(await connection.faces.needed("view").workers()) == []
            else:
                assert await handle.result(20) == "state"
                await until("it ran", lambda: notes(log) == ["ran"])
                process.send()
                assert await process.ended() == code
                assert ("left" in notes(log)) == (code == 0)
            assert said in process.log()


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("signals", "blocked", "grace", "left"),
    [(2, 60, "60", False), (1, 60, "1", False), (1, 2.5, "30", True)],
    ids=["a second signal", "long after the first", "it comes to an end"],
)
async def test_a_signal_while_its_start_blocks_the_loop(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loop: str,
    signals: int,
    blocked: float,
    grace: str,
    left: bool,
) -> None:
    """No broker is asked for anything any more."""
    monkeypatch.setenv(lifespan_app.HOW, "blocks at entry")
    monkeypatch.setenv(lifespan_app.SECONDS, str(blocked))
    log = tmp_path / "handlers.log"
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    place = ("worker", "support.lifespan_app:app", "--loop", loop, "--grace", grace)
    with cli(url, log, *place) as process:
        await until("it is being entered", lambda: notes(log) == ["entering"])
        for _ in range(signals):
            process.send()
            await asyncio.sleep(0.5)
        assert await process.ended(8) == 0
        said = process.log()
        assert "entering the app's lifespan" in said
        assert "serves lanes" not in said
        assert "broker: " not in said
        assert ("this process ends without it" in said) != left
        assert ("left" in notes(log)) == left
