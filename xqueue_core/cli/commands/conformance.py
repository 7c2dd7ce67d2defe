"""``xqueue conformance``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xqueue_core.cli.caller import json_option
from xqueue_core.cli.output import Output
from xqueue_core.cli.urls import check_url

if TYPE_CHECKING:
    from xqueue_core.conformance.harness import Harness
    from xqueue_core.conformance.report import Report, Result


@click.command()
@click.argument("url", required=False)
@click.option("--url", "named", help="The same as the argument.")
@click.option("--only", multiple=True, metavar="CASE", help="Only this case; may be repeated.")
@click.option("--loop", type=click.Choice(["asyncio", "uvloop"]), default="asyncio")
@click.option("--time-scale", type=click.FloatRange(0.1, 1000), default=1.0, help="Stretch waits.")
@click.option("--at-once", type=click.IntRange(1, 64), default=1, help="Cases run at a time; 1.")
@click.option("--proxy", is_flag=True, help="Fail the network too: a proxy before the server.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here.")
@click.option("--badge", type=click.Path(dir_okay=False, path_type=Path), help="Write its JSON.")
@click.option("--list", "listing", is_flag=True, help="List the cases, and run none.")
@click.option(
    "--quiet", is_flag=True, help="Show no case as it ends, and none that was not to run."
)
@json_option
def conformance(
    url: str | None,
    named: str | None,
    only: tuple[str, ...],
    loop: str,
    time_scale: float,
    at_once: int,
    proxy: bool,
    report: Path | None,
    badge: Path | None,
    listing: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run the conformance kit on a broker.

    URL names the broker: its backend must be installed. The kit uses namespaces of its own, so
    what else the broker keeps is not touched. The last line is a badge, in Markdown.

    Exit codes: 0 every case that concerns the backend ran and passed, 1 not so (a part of the kit,
    by --only, is no pass), or the backend could not be opened, 2 wrong usage.
    """
    out = Output(as_json)
    if listing:
        _list(out)
        return
    if None not in (url, named):
        raise click.UsageError("the broker is given twice")
    url = url or named
    if url is None:
        raise click.UsageError("which broker? say for example: xqueue conformance sqlite:///kit.db")
    check_url("URL", url)
    for name, file in (("report", report), ("badge", badge)):  # told before hours of work
        if file is not None and not file.absolute().parent.is_dir():
            raise click.UsageError(f"--{name}: there is no folder {file.absolute().parent}")
    from xqueue_core.conformance.__main__ import harness_for

    found = _run(harness_for(url, time_scale, proxy=proxy), only, loop, at_once, quiet or as_json)
    if report is not None:
        report.write_text(found.json(), encoding="utf-8")
    from xqueue_core.conformance.badge import badge_data, badge_line

    if badge is not None:
        badge.write_text(json.dumps(badge_data(found)), encoding="utf-8")

    out.show(found.data(), found.text(brief=quiet or bool(only)), badge_line(found))
    if advice := found.advice():
        out.note(advice)
    click.get_current_context().exit(0 if found.ok else 1)


def _list(out: Output) -> None:
    from xqueue_core.cli.output import Table
    from xqueue_core.conformance.cases import all_cases

    cases = [{"id": one.id, "doc": one.doc} for one in all_cases()]
    rows = [tuple(one.values()) for one in cases]
    out.show({"cases": cases}, Table(("case", "says"), rows))


def _run(harness: Harness, only: tuple[str, ...], loop: str, at_once: int, quiet: bool) -> Report:
    from xqueue_core.conformance.run import run, try_to_open

    # What the engine says about handlers that fail as a case wants is not the report's business.
    logger, nowhere = logging.getLogger("xqueue"), logging.NullHandler()
    logger.addHandler(nowhere)
    try:
        try_to_open(harness, loop)
        return run(
            harness,
            loop=loop,
            only=only,
            at_once=at_once,
            progress=None if quiet else _show,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    finally:
        logger.removeHandler(nowhere)


def _show(result: Result) -> None:
    word = "passed" if result.passed else "FAILED"
    click.echo(f"{word} {result.id} {result.seconds:.2f} s", err=True)
