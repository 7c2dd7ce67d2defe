"""Plugins: each way in which one can be missing or broken is an error that tells the fix."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from support.foreign import Site, site
from xqueue_core import plugins
from xqueue_core.abc import API, Backend, Faces, Role
from xqueue_core.calls import Capabilities
from xqueue_core.errors import PluginIncompatible, PluginNotFound, PluginUnavailable
from xqueue_core.plugins import BACKENDS, PLUGINS, PluginInfo, list_plugins, load_backend

__all__ = ["site"]  # a fixture


class Own(BaseModel):
    """Settings of the backends below."""


class Good(Backend):
    Settings = Own

    def capabilities(self, settings: Any) -> Capabilities:
        raise NotImplementedError

    def open(self, settings: Any, role: Role = Role.CLIENT) -> AbstractAsyncContextManager[Faces]:
        raise NotImplementedError


class Empty(Good):
    """A backend that is false."""

    def __len__(self) -> int:
        return 0


class Newer(Good):
    api = API + 1


class Older(Good):
    api = API - 1


class Needy(Good):
    requires: ClassVar[Mapping[str, str]] = {"xq_no_such_module.leaf": "needy"}


class Shadowed(Good):
    requires: ClassVar[Mapping[str, str]] = {"xq_only_a_folder": "needy"}


class Furnished(Good):
    requires: ClassVar[Mapping[str, str]] = {"json.decoder": "json"}


class Partial(Backend):
    Settings = Own

    def capabilities(self, settings: Any) -> Capabilities:
        raise NotImplementedError


class Raising(Good):
    def __init__(self) -> None:
        raise OSError("no disk")


class Stranger:
    """Has the right version, but is no backend."""

    api = API


class Unversioned:
    """Says nothing of a version."""


def entry(name: str, target: str, group: str = BACKENDS) -> EntryPoint:
    return EntryPoint(name=name, value=target, group=group)


def local(attribute: str) -> list[EntryPoint]:
    """One entry point, `demo`, that names something in this module."""
    sys.modules["xq_test_plugins"] = sys.modules[__name__]
    return [entry("demo", f"xq_test_plugins:{attribute}")]


# -- loading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Good", "Empty", "Furnished"])
def test_a_backend_is_loaded(name: str) -> None:
    backend = load_backend("demo", entry_points=local(name))
    assert type(backend).__name__ == name
    assert isinstance(backend, Backend)


def test_a_distribution_installed_a_moment_ago_is_seen(site: Site) -> None:
    with pytest.raises(PluginNotFound):
        load_backend("fresh")
    site.install("xq-fresh", "[xqueue.backends]\nfresh = unit.test_plugins:Good\n")
    found = [info for info in list_plugins(BACKENDS) if info.name == "fresh"]
    assert found == [PluginInfo(BACKENDS, "fresh", "unit.test_plugins:Good", "xq-fresh", "1.2")]


def test_listing_imports_nothing(site: Site) -> None:
    module = "raise RuntimeError('imported')"
    site.install("xq-boom", "[xqueue.backends]\nboom = xq_boom:B\n", module=module)
    assert "boom" in [info.name for info in list_plugins(BACKENDS)]
    assert "xq_boom" not in sys.modules
    assert "boom" not in [info.name for info in list_plugins(PLUGINS)]


def test_listing_is_by_name_and_tells_what_is_unknown() -> None:
    entries = [entry("b", "m:B"), entry("a", "m:A"), entry("c", "m:C", PLUGINS)]
    assert list_plugins(BACKENDS, entry_points=entries) == [
        PluginInfo(BACKENDS, "a", "m:A", "", ""),
        PluginInfo(BACKENDS, "b", "m:B", "", ""),
    ]


@pytest.mark.parametrize("group", plugins.GROUPS)
def test_a_plugin_of_every_group_states_its_version(group: str) -> None:
    sys.modules["xq_test_plugins"] = sys.modules[__name__]
    entries = [entry("demo", "xq_test_plugins:Unversioned", group)]
    with pytest.raises(PluginIncompatible, match="states no version of the plugin API"):
        plugins.load_plugin(group, "demo", entry_points=entries)


# -- missing ---------------------------------------------------------------------------------


def test_an_unknown_name_tells_the_nearest_and_all() -> None:
    entries = [entry("redis", "r:R"), entry("sqlite", "s:S"), entry("redys", "r:R", PLUGINS)]
    with pytest.raises(PluginNotFound) as caught:
        load_backend("Reddis", entry_points=entries)
    assert str(caught.value) == (
        "no backend named 'Reddis' is installed; did you mean 'redis'? (installed: redis, sqlite)"
    )
    with pytest.raises(PluginNotFound, match=r"no backend named 'x' is installed .installed: none"):
        load_backend("x", entry_points=[])


def test_an_extra_without_a_plugin_is_not_advised(site: Site) -> None:
    """Its installation would not bring the plugin: this version has none of that name."""
    site.install("xqueue-core", "", extras="kafka all dev")
    with pytest.raises(PluginNotFound) as caught:
        load_backend("kafka", entry_points=[entry("sqlite", "s:S"), entry("memory", "m:M")])
    assert str(caught.value) == (
        "this version of xqueue-core (1.2) has no backend named 'kafka' (installed: memory, sqlite)"
    )
    for name in ("dev", "other"):
        with pytest.raises(PluginNotFound, match=rf"^no backend named '{name}' is installed \("):
            load_backend(name, entry_points=[])


def test_a_name_claimed_twice_names_both_distributions(site: Site) -> None:
    site.install("xq-one", "[xqueue.backends]\ntwin = xq_one:B\n")
    site.install("xq-two", "[xqueue.backends]\ntwin = xq_two:B\n")
    assert [info.distribution for info in list_plugins(BACKENDS) if info.name == "twin"] == [
        "xq-one",
        "xq-two",
    ]
    with pytest.raises(PluginUnavailable) as caught:
        load_backend("twin")
    text = str(caught.value)
    assert "xq-one 1.2 (xq_one:B) and xq-two 1.2 (xq_two:B)" in text
    assert "uninstall" in text


# -- broken ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "complaint", "cause"),
    [
        ("raise RuntimeError('boom')", r"cannot be imported: RuntimeError: boom", RuntimeError),
        ("x = (", r"cannot be imported: SyntaxError", SyntaxError),
        ("", r"names the module 'xq_bad', which does not exist.*--force-rein", ImportError),
        ("X = 1", r"cannot be imported: AttributeError", AttributeError),
        ("import xq_absent.x", r"needs 'xq_absent'; install the distr", ModuleNotFoundError),
    ],
)
def test_a_plugin_whose_import_fails(
    site: Site, module: str, complaint: str, cause: type[Exception]
) -> None:
    site.install("xq-bad", "[xqueue.backends]\nbad = xq_bad:B\n", module=module)
    with pytest.raises(PluginUnavailable, match=complaint) as caught:
        load_backend("bad")
    assert "backend 'bad' of xq-bad 1.2" in str(caught.value)
    assert isinstance(caught.value.__cause__, cause)


def test_a_missing_module_that_an_extra_of_the_same_name_brings(site: Site) -> None:
    entry_points = "[xqueue.backends]\nbad = xq_bad:B\n"
    site.install("xq-bad", entry_points, module="import xq_absent", extras="bad")
    with pytest.raises(PluginUnavailable, match=r"'xq_absent': pip install 'xq-bad\[bad\]'"):
        load_backend("bad")


def test_a_missing_extra() -> None:
    with pytest.raises(PluginUnavailable) as caught:
        load_backend("demo", entry_points=local("Needy"))
    assert "'xq_no_such_module.leaf': pip install 'xqueue-core[needy]'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_bare_folder_is_no_module(site: Site) -> None:
    (site.folder / "xq_only_a_folder").mkdir()
    with pytest.raises(PluginUnavailable, match=r"finds only the folder .*xqueue-core\[needy\]"):
        load_backend("demo", entry_points=local("Shadowed"))
    # The leaf of a package that a bare folder hides.
    (site.folder / "xq_no_such_module").mkdir()
    with pytest.raises(PluginUnavailable, match=r"pip install 'xqueue-core\[needy\]'"):
        load_backend("demo", entry_points=local("Needy"))


def test_an_extra_whose_import_fails(site: Site) -> None:
    (site.folder / "xq_only_a_folder.py").write_text("raise ValueError('numbers')")
    with pytest.raises(PluginUnavailable, match=r"import fails with ValueError: numbers; try: pip"):
        load_backend("demo", entry_points=local("Shadowed"))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Newer", r"states version 2 of the plugin API.*version 1; .*--upgrade xqueue-core$"),
        ("Older", r"states version 0 of the plugin API.*version 1; "),
        ("Unversioned", r"states no version of the plugin API"),
        ("Partial", r"does not define: open$"),
        ("Stranger", r"is not a subclass of xqueue_core\.abc\.Backend"),
        ("API", r"is not a class: xq_test_plugins:API"),
    ],
)
def test_a_plugin_that_does_not_fit(name: str, complaint: str) -> None:
    with pytest.raises(PluginIncompatible, match=complaint):
        load_backend("demo", entry_points=local(name))


def test_an_old_plugin_is_to_be_upgraded_itself(site: Site) -> None:
    module = "class B:\n    api = 0\n"
    site.install("xq-bad", "[xqueue.backends]\nbad = xq_bad:B\n", module=module)
    with pytest.raises(PluginIncompatible, match=r"pip install --upgrade xq-bad$"):
        load_backend("bad")


def test_a_backend_that_cannot_be_made() -> None:
    with pytest.raises(PluginUnavailable, match="cannot be made: OSError: no disk") as caught:
        load_backend("demo", entry_points=local("Raising"))
    assert isinstance(caught.value.__cause__, OSError)


def test_groups_are_those_of_the_design() -> None:
    assert plugins.GROUPS == (
        "xqueue.backends",
        "xqueue.notifiers",
        "xqueue.plugins",
        "xqueue.serializers",
    )
    for group in plugins.GROUPS:
        assert {info.name for info in list_plugins(group)} == {
            found.name for found in importlib.metadata.entry_points(group=group)
        }
