"""``xqueue worker``."""

from __future__ import annotations

import click

from xqueue_core.cli.apps import check_shared, configure, find_app
from xqueue_core.cli.logs import configure_logging


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(one.strip() for one in value.split(",") if one.strip())


@click.command()
@click.argument("app", required=False)
@click.option("--url", help="The broker: `scheme://...`.")
@click.option("--concurrency", type=int, help="Slots of one process.")
@click.option("--threads", type=int, help="Threads for plain functions.")
@click.option("--lanes", callback=_names, help="Lanes to serve, with commas; by default all.")
@click.option("--types", callback=_names, help="Task types to serve; by default all.")
@click.option("--processes", type=int, help="Worker processes.")
@click.option("--loop", type=click.Choice(["asyncio", "uvloop"]), help="Event loop of handlers.")
@click.option("--grace", type=float, help="Seconds for tasks to finish at a stop.")
@click.option("--name", help="The readable part of the worker's id.")
@click.option("--burst", is_flag=True, help="End when nothing is left to do.")
@click.option("--log-level", help="Least severe level logged.")
@click.option("--supervised", is_flag=True, hidden=True)
def worker(app: str | None, **flags: object) -> None:
    """Run the tasks of APP, `module:attr` or `file.py[:attr]`.

    SIGTERM or SIGINT drains: nothing more is fetched, what runs may finish within the grace
    time, the rest is handed back. A second one hands everything back at once.

    Exit codes: 0 stopped, 1 an error, 2 wrong usage or configuration, 75 the process must be
    replaced because code in it cannot be stopped (without --processes it replaces itself).
    """
    name, burst = flags.pop("name"), bool(flags.pop("burst"))
    supervised = bool(flags.pop("supervised"))
    found = find_app(app)
    configure(found, flags)
    settings = found.settings()
    configure_logging(settings.log_level)
    if settings.processes > 1 and not supervised:
        from xqueue_core.cli.supervisor import supervise

        why = f"{settings.processes} processes would not see each other's tasks"
        check_shared(found, why, ", or --processes 1")
        click.get_current_context().exit(supervise(settings.processes, settings.grace))
    from xqueue_core.cli.running import run

    label = name if isinstance(name, str) else None
    click.get_current_context().exit(run(found, name=label, burst=burst, supervised=supervised))
