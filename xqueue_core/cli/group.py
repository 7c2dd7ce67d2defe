"""All commands, and what becomes of their errors."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from xqueue_core.cli.exits import Code, code_of
from xqueue_core.cli.lazy import Entry, Lazy
from xqueue_core.errors import XQueueError

_HERE = "xqueue_core.cli.commands"

COMMANDS = {
    "worker": Entry("xqueue_core.cli.worker:worker", "Run tasks."),
    "submit": Entry(f"{_HERE}.submit:submit", "Submit a task by its type's name."),
    "task": Entry(f"{_HERE}.task:task", "Look at tasks, wait for them, cancel, replay."),
    "lanes": Entry(f"{_HERE}.lanes:lanes", "Look at lanes; pause, resume and limit them."),
    "dead": Entry(f"{_HERE}.dead:dead", "Look at tasks that failed; replay them."),
    "schedules": Entry(f"{_HERE}.schedules:schedules", "Look at recurring schedules; run one now."),
    "workers": Entry(f"{_HERE}.workers:workers", "Look at workers; quiet and stop them."),
    "purge": Entry(f"{_HERE}.purge:purge", "Forget tasks that have ended; cancel others."),
    "top": Entry(f"{_HERE}.top:top", "Watch lanes and workers."),
    "stats": Entry(f"{_HERE}.stats:stats", "Show how many tasks there are, by lane and type."),
    "plugins": Entry(f"{_HERE}.plugins:plugins", "List what is installed, importing none of it."),
    "config": Entry(f"{_HERE}.config:config", "Show every setting, and where it is from."),
    "doctor": Entry(f"{_HERE}.doctor:doctor", "See whether everything is in order."),
    "conformance": Entry(
        f"{_HERE}.conformance:conformance", "Run the conformance kit on a broker."
    ),
    "completion": Entry(f"{_HERE}.completion:completion", "Print the completion for a shell."),
}


class Main(Lazy):
    """The group of all commands."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **more: Any,
    ) -> click.Context:
        """Read the options before the command; one that is wrong is told in one line."""
        try:
            return super().make_context(info_name, args, parent, **more)
        except click.UsageError as error:
            raise click.exceptions.Exit(_misused(error)) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what went wrong is told in one line, and by the exit code."""
        try:
            with _short_warnings():
                return super().invoke(ctx)
        except (XQueueError, TimeoutError) as error:
            _tell(error)
            ctx.exit(code_of(error))
        except click.UsageError as error:
            ctx.exit(_misused(error))
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read it is gone: click knows what to do
                raise
            _tell(error)
            _drop_output()
            ctx.exit(Code.ERROR)
        except KeyboardInterrupt:
            ctx.exit(Code.INTERRUPTED)


def _misused(error: click.UsageError) -> int:
    """Tell of wrong usage in one line; the exit code. A group called by itself shows its help."""
    from xqueue_core.cli.output import echo, printable

    if type(error).__name__ == "NoArgsIsHelpError":  # of later releases of click
        error.show()
        return error.exit_code
    text = " ".join(error.format_message().split()) if error.message else error.format_message()
    where = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
    echo(printable(f"Error: {text.rstrip('.')}{where}"), err=True)
    return error.exit_code


def _drop_output() -> None:
    """What is left in the buffer would fail once more, at the interpreter's end, with its code."""
    with suppress(OSError, ValueError):  # also where it is no file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _tell(error: Exception) -> None:
    """One line, or several where our own message has them; with nothing a terminal would obey."""
    from xqueue_core.cli.output import echo, printable
    from xqueue_core.errors import TaskError

    # What a handler said is one line whatever it contains.
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    lines = [text] if isinstance(error, TaskError) else text.splitlines()
    echo("Error: " + "\n".join(map(printable, lines)), err=True)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Within, what is wrong with the environment's settings is told once, in one line each."""
    told: set[str] = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], *where: Any, **named: Any
        ) -> None:
            # By name: importing the class would import all that settings need.
            if category.__name__ != "SettingsWarning":
                others(message, category, *where, **named)
            # What a supervised process would say, its supervisor has said.
            elif str(message) not in told and "--supervised" not in sys.argv:
                told.add(str(message))
                click.echo(f"Warning: {message}", err=True)

        warnings.showwarning = show
        yield


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from xqueue_core.cli.versions import xqueue_version

    click.echo(f"xqueue {xqueue_version()}")
    ctx.exit()


xqueue = Main("xqueue", COMMANDS, "XQueue: a task queue with the same guarantees on every broker.")
xqueue.context_settings = {"help_option_names": ["-h", "--help"]}
xqueue.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version,
        help="Print the version and exit.",
    )
)
