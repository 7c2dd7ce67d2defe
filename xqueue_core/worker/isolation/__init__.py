"""Runs handlers in child processes, which can be killed: ``@app.task(isolation="process")``.

:mod:`~.children` is what the executor sees. Behind it a thread of its own, :mod:`~.post`, does
all input and output: it serves a :mod:`~.pool` of :mod:`~.process` objects. :mod:`~.child` is
what runs on the other side of the :mod:`~.wire`, :mod:`~.confine` what bounds it, and
:mod:`~.home` tells it where the app is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xqueue_core.worker.isolation.children import Children

__all__ = ["Children"]


def __getattr__(name: str) -> Any:
    if name != "Children":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Not at once: a child process, which imports this package, too, needs none of it.
    from xqueue_core.worker.isolation.children import Children

    globals()[name] = Children
    return Children
