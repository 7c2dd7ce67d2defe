"""Serializers, notifiers and plugins of foreign distributions, as an installer leaves them."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from support.apps import make_app
from support.foreign import Site, site
from xqueue_core import XQueue
from xqueue_core.errors import (
    ConfigError,
    InvalidTask,
    PluginFailed,
    PluginIncompatible,
    PluginNotFound,
    PluginUnavailable,
    UnknownSetting,
)
from xqueue_core.plugins import load_hooked, load_notifier, load_serializer

__all__ = ["site"]  # a fixture

# -- serializers -------------------------------------------------------------------------------

REVERSED = """
import json
from xqueue_core.payload import Serializer

class Reversed(Serializer):
    api = 1
    content_type = "application/x-reversed"

    def encode(self, arguments):
        return json.dumps(arguments).encode()[::-1]

    def decode(self, data, names):
        return json.loads(data[::-1])

class Fussy(Reversed):
    content_type = "application/fussy"

    def encode(self, arguments):
        if arguments["text"] == "wrong kind":
            return "text"
        return super().encode(arguments)

    def decode(self, data, names):
        return [] if b"dlrow" in data else super().decode(data, names)

class Newer(Reversed):
    api = 2

class Needy(Reversed):
    requires = {"xq_absent.leaf": "needy"}

class Bare:
    api = 1
    content_type = "application/bare"
"""
ENTRIES = """[xqueue.serializers]
x-reversed = xq_forms:Reversed
fussy = xq_forms:Fussy
newer = xq_forms:Newer
needy = xq_forms:Needy
bare = xq_forms:Bare
other = xq_forms:Reversed
"""


@pytest.fixture
def forms(site: Site) -> Site:
    """A distribution with serializers."""
    site.install("xq-forms", ENTRIES, module=REVERSED, extras="needy")
    return site


def test_a_serializer_is_chosen_by_its_content_type(forms: Site) -> None:
    app = make_app()

    @app.task(content_type="application/x-reversed")
    async def job(text: str, n: int = 3) -> str:
        return text * n

    call = job.call("hello")
    assert call.task.content_type == "application/x-reversed"
    assert json.loads(call.task.payload[::-1]) == {"text": "hello"}
    with app.testing() as t:
        job.sync.submit("ab", n=2)
        (ran,) = t.run_all()
        assert ran.how == "success"
        assert t.submitted(job)[0].arguments == {"text": "ab", "n": 2}
    with pytest.raises(InvalidTask, match=r"Expected `int`, got `str`"):
        job.call("x", n="no")  # type: ignore[arg-type]


def test_whatever_a_serializer_does_is_a_fault_of_the_task(forms: Site) -> None:
    app = make_app()

    @app.task(content_type="application/fussy")
    async def job(text: str) -> None: ...

    for value, said in (
        ("wrong kind", "made str, not bytes"),
        ("world", "gave no names and values"),
        ({1, 2}, "cannot be encoded as application/fussy: Object of type set"),
    ):
        with pytest.raises(InvalidTask, match=said):
            job.call(value)  # type: ignore[arg-type]
    spec = app.handlers["job"]
    with pytest.raises(InvalidTask, match="this is no application/fussy: Extra data"):
        spec.arguments(b"nonsense"[::-1] + b"1", "application/fussy")
    with pytest.raises(InvalidTask, match="no serializer for 'application/other'"):
        spec.arguments(b"", "application/other")  # what is not declared is not loaded either


@pytest.mark.parametrize(
    ("content_type", "error", "said"),
    [
        ("application/x-reversd", PluginNotFound, "did you mean 'x-reversed'"),
        ("application/newer", PluginIncompatible, "xq-forms 1.2 states version 2"),
        ("application/needy", PluginUnavailable, r"pip install 'xq-forms\[needy\]'"),
        ("application/bare", PluginIncompatible, r"not a subclass of xqueue_core.payload.Serial"),
        ("application/other", PluginIncompatible, "'application/x-reversed', and .*other' is w"),
        ("nonsense", ConfigError, "is a media type"),
        (5, ConfigError, "is a media type"),
    ],
)
def test_a_serializer_that_cannot_be_used(
    forms: Site, content_type: str, error: type[Exception], said: str
) -> None:
    app = XQueue()
    with pytest.raises(error, match=said):

        @app.task(content_type=content_type)
        async def job() -> None: ...

    assert not app.handlers


def test_a_serializer_claimed_twice(forms: Site) -> None:
    forms.install("xq-more", "[xqueue.serializers]\nx-reversed = xq_more:R\n")
    with pytest.raises(PluginUnavailable, match=r"xq-forms 1.2 .* and xq-more 1.2"):
        load_serializer("application/x-reversed")


# -- notifiers ---------------------------------------------------------------------------------

PAPER = """
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from pydantic import BaseModel
from xqueue_core.abc import Notifier, NotifierPlugin

class Own(BaseModel):
    path: str = ""
    ink: str = "blue"

class Paper(Notifier):
    def __init__(self, path, ink):
        self.path, self.ink = Path(path), ink

    async def publish(self, events):
        with self.path.open("a") as file:
            for event in events:
                file.write(f"{self.ink} {event.id} {event.data['percent']}\\n")

    async def subscribe(self, filter, after=None):
        return
        yield

class PaperPlugin(NotifierPlugin):
    api = 1
    Settings = Own

    @asynccontextmanager
    async def open(self, settings, role):
        yield Paper(settings.path, settings.ink)

class Bare:
    api = 1
"""
NOTIFIERS = "[xqueue.notifiers]\npaper = xq_paper:PaperPlugin\nbare = xq_paper:Bare\n"


@pytest.fixture
def paper(site: Site) -> Site:
    """A distribution with notifiers."""
    site.install("xq-paper", NOTIFIERS, module=PAPER)
    return site


async def _progress(app: XQueue, out: Path) -> None:
    from support.workers import until, working
    from xqueue_core import Context

    @app.task
    async def job(ctx: Context) -> None:
        await ctx.progress(50)

    async with app, working(app) as worker:
        handle = await job.submit()
        await until("it has ended", lambda: _ended(app, handle.id))
        await until("it is published", out.exists)
        assert worker.error is None


async def _ended(app: XQueue, id: str) -> bool:
    return (await app.handle(id).info()).state.final


def test_a_notifier_stands_beside_the_broker(
    paper: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "xqueue")
    out = tmp_path / "out"
    app = make_app(notifier_url=f"paper:///{out}", paper={"ink": "red"})
    asyncio.run(_progress(app, out))
    assert out.read_text().startswith("red job:")
    assert out.read_text().endswith(" 50\n")
    assert any(f"notifier: paper:///{out}" in text for text in caplog.messages)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"notifier_url": "papr://x"}, PluginNotFound, "no backend named 'papr'"),
        ({"notifier_url": "bare://"}, PluginIncompatible, "not a subclass of .*NotifierPlugin"),
        ({"notifier_url": "paper://", "paper": {"inc": 1}}, UnknownSetting, "mean 'ink'"),
        ({"url": "paper://"}, PluginNotFound, "no backend named 'paper'"),
    ],
)
def test_a_notifier_that_cannot_be_used(
    paper: Site, settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    app = XQueue(**{"url": "memory://", **settings})
    with pytest.raises(error, match=said):
        asyncio.run(_opened(app))


async def _opened(app: XQueue) -> None:
    async with app:
        pass


def test_the_command_line_takes_a_notifier_for_no_broker(paper: Site, tmp_path: Path) -> None:
    from xqueue_core.cli.apps import check_shared
    from xqueue_core.cli.files import check_there
    from xqueue_core.connect import BackendCache, broker_urls

    file = tmp_path / "tasks.db"
    app = make_app(f"sqlite:///{file}", notifier_url="paper:///out")
    assert isinstance(app._backends, BackendCache)
    assert broker_urls(app.settings()) == {"url": f"sqlite:///{file}"}
    check_shared(app, "no reason")
    file.touch()
    check_there(app)


def test_a_name_that_is_notifier_and_backend(paper: Site) -> None:
    paper.install("xq-other", "[xqueue.backends]\npaper = xq_other:B\n")
    app = make_app(notifier_url="paper://")
    with pytest.raises(PluginUnavailable, match="xq-paper and xq-other; uninstall one"):
        asyncio.run(_opened(app))
    assert type(load_notifier("paper")).__name__ == "PaperPlugin"


# -- plugins -----------------------------------------------------------------------------------

BELL = """
from contextlib import asynccontextmanager
from pydantic import BaseModel
from xqueue_core.hooks import Hooks, Plugin

class Own(BaseModel):
    tone: str = "a"

class BellHooks(Hooks):
    pass

class Bell(Plugin):
    api = 1
    Settings = Own

    @asynccontextmanager
    async def open(self, settings, site):
        rung.append((settings.tone, site.place.value, site.name))
        yield BellHooks()

class Odd(Bell):
    @asynccontextmanager
    async def open(self, settings, site):
        yield object()

class Bare:
    api = 1

class Newer(Bell):
    api = 2

rung = []
"""
PLUGINS = """[xqueue.plugins]
loud-bell = xq_bell:Bell
odd = xq_bell:Odd
bare = xq_bell:Bare
newer = xq_bell:Newer
"""


@pytest.fixture
def bell(site: Site) -> Site:
    """A distribution with plugins."""
    site.install("xq-bell", PLUGINS, module=BELL)
    return site


def test_a_plugin_that_is_named_is_opened(bell: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XQUEUE_PLUGINS", "loud-bell")
    monkeypatch.setenv("XQUEUE_LOUD_BELL__TONE", "c")
    asyncio.run(_opened(make_app()))
    import xq_bell  # type: ignore[import-not-found]

    assert xq_bell.rung == [("c", "client", "loud-bell")]


def test_a_plugin_that_is_not_named_is_not_even_imported(bell: Site) -> None:
    asyncio.run(_opened(make_app()))
    assert "xq_bell" not in sys.modules


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"plugins": ["loud-bel"]}, PluginNotFound, "did you mean 'loud-bell'"),
        ({"plugins": ["bare"]}, PluginIncompatible, r"not a subclass of xqueue_core.hooks.Plugin"),
        ({"plugins": ["newer"]}, PluginIncompatible, r"xq-bell 1.2 states version 2"),
        ({"plugins": ["odd"]}, PluginFailed, r"'odd' gave 'object' when it was opened"),
        ({"plugins": ["odd", "odd"]}, ConfigError, "a name stands there twice"),
        (
            {"plugins": ["loud-bell"], "loud_bell": {"tune": 1}},
            UnknownSetting,
            "'loud_bell.tune'.*did you mean 'tone'",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used(
    bell: Site, settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    from xqueue_core.worker import Worker

    app = make_app(**settings)

    @app.task
    async def job() -> None: ...

    with pytest.raises(error, match=said):
        asyncio.run(_opened(app))
    with pytest.raises(error, match=said):
        asyncio.run(Worker(app).run())


def test_a_plugin_claimed_twice(bell: Site) -> None:
    bell.install("xq-more", "[xqueue.plugins]\nloud-bell = xq_more:B\n")
    with pytest.raises(PluginUnavailable, match=r"xq-bell 1.2 .* and xq-more 1.2"):
        load_hooked("loud-bell")


@pytest.mark.parametrize(
    ("name", "module"),
    [("prometheus", "prometheus_client"), ("opentelemetry", "opentelemetry")],
)
def test_a_plugin_of_ours_without_its_extra(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in [one for one in sys.modules if one.startswith((f"xqueue_{name}", module))]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    said = rf"plugin '{name}' of xqueue-core .* pip install 'xqueue-core\[{name}\]'"
    with pytest.raises(PluginUnavailable, match=said):
        load_hooked(name)
