"""Every command and option of the command line, as click knows them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from website.reference.texts import table
from xqueue_core.cli.exits import Code
from xqueue_core.cli.group import xqueue

INTRO = """# Commands

What each command takes. How they are used together, what they print and what their JSON holds:
[the command line](../cli.md). Every command has `-h` and `--help`; durations are seconds or have
units (`90`, `500ms`, `1h30m`).
"""


def page() -> str:
    """Each command with its arguments and options, then the exit codes."""
    with click.Context(xqueue, info_name="xqueue") as root:
        parts = [INTRO, *_command(root)]
    codes = ((str(int(code)), code.name.lower().replace("_", " ")) for code in Code)
    parts += ["## Exit codes\n", table(("code", "name"), codes)]
    parts.append("What each means: [exit codes](../cli.md#exit-codes).\n")
    return "\n".join(parts)


def _command(context: click.Context) -> Iterator[str]:
    command = context.command
    yield f"## {context.command_path}\n"
    yield f"{_help(command)}\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```\n"
    rows = [_row(option, context) for option in command.params if not _hidden(option)]
    if rows:
        yield table(("name", "value", "default", "meaning"), rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            one = command.get_command(context, name)
            if one is not None and not one.hidden:
                with click.Context(one, info_name=name, parent=context) as inner:
                    yield from _command(inner)


def _help(command: click.Command) -> str:
    """Its help, without the marks by which click keeps lines apart."""
    text = (command.help or "").partition("\f")[0].replace("\b\n", "")
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _hidden(option: click.Parameter) -> bool:
    return isinstance(option, click.Option) and (option.hidden or "--help" in option.opts)


def _row(option: click.Parameter, context: click.Context) -> tuple[str, str, str, str]:
    if isinstance(option, click.Argument):
        needed = "" if option.required else "may be left out"
        return f"`{option.human_readable_name}`", option.type.name, "", needed
    assert isinstance(option, click.Option)
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else _value(option, context)
    return names, value, _default(option), option.help or ""


def _value(option: click.Option, context: click.Context) -> str:
    if isinstance(option.type, click.Choice):
        value = ", ".join(f"`{choice}`" for choice in option.type.choices)
    else:
        value = f"`{option.make_metavar(context)}`"
    return f"{value}; may be repeated" if option.multiple else value


def _default(option: click.Option) -> str:
    default = option.to_info_dict()["default"]
    if option.is_flag or default is None or default in ((), [], ""):
        return ""
    return f"`{default}`"
