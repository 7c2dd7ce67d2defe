"""``xqueue worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from xqueue_core.cli.apps import check_shared, configure, find_app
from xqueue_core.cli.awaiting import OPTION, MayWait, Wait, find_broker
from xqueue_core.cli.completing import files
from xqueue_core.cli.logs import configure_logging
from xqueue_core.cli.params import DURATION
from xqueue_core.cli.signals import heeded, leave
from xqueue_core.cli.urls import url_option
from xqueue_core.cli.words import Mouth, Word
from xqueue_core.errors import ConfigError

if TYPE_CHECKING:
    from xqueue_core.app import XQueue


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(one.strip() for one in value.split(",") if one.strip())


def _range(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[int | None, int] | None:
    """``N``, or ``LEAST-MOST`` for a number that follows the load."""
    if value is None:
        return None
    least, dash, most = value.partition("-")
    try:
        found = (int(least), int(most)) if dash else (None, int(least))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a number nor a range such as 1-8", context, option
        ) from None
    if found[0] is not None and found[0] > found[1]:
        raise click.BadParameter(f"{value!r} ends before it begins", context, option)
    return found


@click.command(cls=MayWait, short_help="Run tasks.")
@click.argument("app", required=False, shell_complete=files)
@click.option("--app", "named", shell_complete=files, help="The same as the argument.")
@url_option
@click.option("--concurrency", callback=_range, help="Slots of one process: `N`, or `LEAST-MOST`.")
@click.option("--threads", type=int, help="Threads for plain functions.")
@click.option("--children", type=int, help="Child processes for isolated tasks.")
@click.option("--lanes", callback=_names, help="Lanes to serve, with commas; by default all.")
@click.option("--types", callback=_names, help="Task types to serve; by default all.")
@click.option("--processes", callback=_range, help="Worker processes: `N`, or `LEAST-MOST`.")
@click.option(
    "--loop", type=click.Choice(["asyncio", "uvloop", "trio"]), help="Event loop of handlers."
)
@click.option("--grace", type=DURATION, help="How long tasks may take to finish at a stop.")
@click.option("--name", help="The readable part of the worker's id.")
@click.option(
    OPTION,
    type=Wait(),
    metavar="[DURATION]",
    help="Wait at the start until the broker answers, so long at most.",
)
@click.option("--burst", is_flag=True, help="End when nothing is left to do.")
@click.option("--log-level", help="Least severe level logged.")
@click.option("--json", "as_json", is_flag=True, help="Log lines of JSON.")
@click.option("--supervised", is_flag=True, hidden=True)
@click.option("--words-fd", type=int, hidden=True)
def worker(app: str | None, **flags: Any) -> None:
    """Run the tasks of APP, `module:attr` or `file.py[:attr]`.

    SIGTERM, SIGINT or SIGHUP drains: nothing more is fetched, what runs may finish within the
    grace time, the rest is handed back. A second one hands everything back at once.

    With a range, slots or processes follow the load.

    A broker that does not answer at the start ends it, unless --wait-for-broker is given: without
    a duration it waits for ever. What no wait would heal, as a wrong password, ends it at once.

    Exit codes: 0 stopped, 1 an error, 2 wrong usage or configuration, 69 no broker at the start,
    75 the process must be replaced because code in it cannot be stopped (without --processes it
    replaces itself).
    """
    named = flags.pop("named")
    if None not in (app, named):
        raise click.UsageError("the app is given twice")
    mouth = Mouth(flags.pop("words_fd"))

    def go() -> None:
        mouth.last(Word.STOPPED)
        leave()

    with heeded(go):  # until there is something in hand
        try:
            code = _worker(app or named, flags, mouth)
        except ConfigError:
            mouth.last(Word.USAGE)
            raise
        click.get_current_context().exit(code)


def _tell_unused(app: XQueue, *, supervised: bool) -> None:
    """Warn of sections that do nothing. What a supervised process would say, its supervisor has."""
    from xqueue_core.plugged import tell_unused, unused

    if supervised:
        for text in unused(app):
            app._backends.unsaid(text)
    tell_unused(app)


def _worker(app: str | None, flags: dict[str, Any], mouth: Mouth) -> int:
    name, burst, as_json = flags.pop("name"), flags.pop("burst"), flags.pop("as_json")
    longest = flags.pop("wait_for_broker")
    parent = None
    if flags.pop("supervised"):
        from xqueue_core.cli.parent import Parent

        parent = Parent()
        parent.start()
    for flag in ("concurrency", "processes"):
        least, most = flags.pop(flag) or (None, None)
        flags |= {flag: most, f"min_{flag}": least}
    found = find_app(app)
    configure(found, flags)
    settings = found.settings()
    configure_logging(settings.log_level, as_json)
    _tell_unused(found, supervised=parent is not None)
    if (settings.min_processes or 1) > settings.processes:
        raise ConfigError(
            f"min_processes {settings.min_processes} is more than processes {settings.processes}"
        )
    if settings.processes > 1 and parent is None:
        from xqueue_core.cli.loops import loops
        from xqueue_core.cli.supervisor import supervise

        why = f"{settings.processes} processes would not see each other's tasks"
        check_shared(found, why, ", or --processes 1")
        loops(settings.loop)  # one that is missing would end every child
        find_broker(found, longest)
        return supervise(settings.processes, settings.grace, settings.min_processes)
    from xqueue_core.cli.running import run

    return run(found, name=name, burst=burst, longest=longest, parent=parent, mouth=mouth)
