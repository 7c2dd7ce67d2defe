"""The pages of ``docs/reference`` say what the code says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

import xqueue_core
from website.reference import COMMAND, FOLDER, PAGES, write, written
from website.reference import interface as interface_page
from website.reference.texts import docstring, table
from xqueue_core.cli.group import xqueue
from xqueue_core.conformance.cases import all_cases
from xqueue_core.plugins import BACKENDS, NOTIFIERS, PLUGINS, list_plugins, load_plugin
from xqueue_core.settings.model import FIELDS


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == written(name), f"run {COMMAND}"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


def test_only_pages_that_differ_are_written(tmp_path: Path) -> None:
    assert [path.name for path in write(tmp_path)] == list(PAGES)
    (tmp_path / "errors.md").write_text("old", encoding="utf-8")
    assert [path.name for path in write(tmp_path)] == ["errors.md"]


def test_every_name_of_the_package_has_its_place() -> None:
    assert set(xqueue_core.__all__) - interface_page.shown() == set()


def test_every_setting_is_there() -> None:
    page = written("settings.md")
    missing = [name for name in FIELDS if f"| `{name}` |" not in page]
    assert missing == []
    assert "| `busy_timeout` | number | `5` | above 0 to 60 |" in page


def test_every_section_is_there_with_all_of_its_settings() -> None:
    page = written("settings.md")
    for group in (BACKENDS, NOTIFIERS, PLUGINS):
        for info in list_plugins(group):
            plugin: Any = load_plugin(group, info.name)
            name = getattr(plugin.Settings, "section", info.name)
            _, _, section = page.partition(f"\n## {name}\n")
            section = section.partition("\n## ")[0]
            fields = plugin.Settings.model_fields
            assert [one for one in fields if f"| `{one}` |" not in section] == [], info.name
            assert info.name == name or f"`{info.name}://`" in section
    assert "| `port` | whole number | `9700` | from 0 to 65535 |" in page
    assert "| list of numbers | `[0.005, 0.01," in page


def test_every_error_is_there() -> None:
    page = written("errors.md")
    errors = [
        name
        for name in xqueue_core.__all__
        if isinstance(one := getattr(xqueue_core, name), type)
        and issubclass(one, xqueue_core.XQueueError)
    ]
    assert len(errors) > 15
    assert [name for name in errors if f"\n## {name}\n" not in page] == []


def test_every_command_is_there_with_its_options() -> None:
    page = written("commands.md")
    context = click.Context(xqueue)
    for name in xqueue.list_commands(context):
        assert f"\n## xqueue {name}\n" in page
    assert "\n## xqueue task why\n" in page
    assert "| `--unique-key` | `TEXT` |" in page


def test_every_case_is_there() -> None:
    page = written("cases.md")
    assert [case.id for case in all_cases() if f"\n| {case.id} | " not in page] == []


class Example:
    """One line of :class:`~a.b.Thing`.

    Longer, with ``code``.

    Args:
        name: what it is
            and more.
        *rest: more.

    Raises:
        KeyError, ValueError: it is wrong.
        And in other words.
    """


def test_a_docstring_as_markdown() -> None:
    assert docstring(Example) == (
        "One line of `Thing`.\n\nLonger, with `code`.\n\n"
        "**Args**\n\n- `name`: what it is\n  and more.\n- `*rest`: more.\n\n"
        "**Raises**\n\n- `KeyError`, `ValueError`: it is wrong.\nAnd in other words."
    )


def test_a_bar_does_not_end_a_cell() -> None:
    assert table(("a",), [("x | y\nz",)]) == "| a |\n| --- |\n| x \\| y z |\n"
