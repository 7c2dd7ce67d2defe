"""What a worker serves, and where: told by its options and the app's settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from xqueue_core.errors import ConfigError

if TYPE_CHECKING:
    from xqueue_core.handlers import HandlerSpec
    from xqueue_core.settings import Settings
    from xqueue_core.worker.options import WorkerOptions

logger = logging.getLogger("xqueue.worker")


def served(handlers: Mapping[str, HandlerSpec], options: WorkerOptions) -> dict[str, HandlerSpec]:
    """The handlers that a worker with these options runs.

    Raises ConfigError if there are none, or the annotations of one name what there is not: by now
    everything that they may refer to has been defined.
    """
    lanes = {spec.lane for spec in handlers.values()}
    for what, wanted, known in (
        ("lane", options.lanes, lanes),
        ("type", options.types, set(handlers)),
    ):
        unknown = sorted(set(wanted or ()) - known)
        if unknown:
            raise ConfigError(
                f"no handler declares {what} {', '.join(map(repr, unknown))} "
                f"(declared: {', '.join(sorted(known)) or 'none'})"
            )
    found = {
        name: spec
        for name, spec in handlers.items()
        if (options.types is None or name in options.types)
        and (options.lanes is None or spec.lane in options.lanes)
    }
    if not handlers:
        raise ConfigError("there is no handler to run: declare one with @app.task")
    if not found:
        raise ConfigError("no handler is left to run: name others in types and lanes, or none")
    for spec in found.values():
        spec.binding.resolved()
    return found


def where(settings: Settings) -> str:
    """Where limits live, for people."""
    from xqueue_core.settings import masked

    return masked(settings.semaphore_url or settings.url)


def hello(worker: str, lanes: Sequence[str], options: WorkerOptions, settings: Settings) -> None:
    """Say what a worker serves."""
    from xqueue_core.settings import masked

    least, most = options.min_concurrency, options.concurrency
    logger.info(
        "worker %s (pid %d) serves lanes %s on %s, %s slots",
        worker,
        os.getpid(),
        ", ".join(lanes),
        masked(settings.url),
        str(most) if least is None else f"{least} to {most}",
    )
