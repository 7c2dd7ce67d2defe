"""For tests of code that uses XQueue: ``docs/testing.md`` is the page to read.

:class:`~.rehearsal.Testing` is what ``app.testing()`` gives. :mod:`~.clock` and :mod:`~.loop`
make time that costs none, :mod:`~.broker` is the broker in memory that notes what passes,
:mod:`~.actor` is the production worker on that stage, and :mod:`~.conductor` decides when time
moves and when the worker is done.
"""

from __future__ import annotations

from xqueue_core.testing.ran import Ran, Run
from xqueue_core.testing.rehearsal import Testing
from xqueue_core.testing.submissions import Expected, Submission, Submissions, call

__all__ = ["Expected", "Ran", "Run", "Submission", "Submissions", "Testing", "call"]
