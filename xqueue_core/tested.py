"""An app that can be put on a broker in memory for a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from datetime import datetime

    from xqueue_core.app import XQueue
    from xqueue_core.testing import Testing


class Tested:
    """What an app offers to tests; the rest is loaded when one begins."""

    _testing: Testing | None = None  # the one that is active

    def testing(
        self,
        *,
        now: datetime | None = None,  # noqa: PT028 - it is no test
        raise_errors: bool = True,  # noqa: PT028 - it is no test
    ) -> Testing:
        """Put this app on a broker in memory for a test: ``with app.testing() as t:``.

        Whatever the settings say, nothing leaves the process: ``t.submitted(handler)`` says what
        was submitted, ``t.run_all()`` runs it, on a clock that does not make anybody wait. Within
        a coroutine also ``async with``, and ``await t.run_all()``.

        Args:
            now: what the clock shows at the beginning, with a time zone; by default the time.
            raise_errors: what fails for good is raised by the call that ran it.

        Raises:
            ConfigError: ``now`` has no time zone; or, when it is entered, the settings are wrong
                or the app is being tested already.
        """
        from xqueue_core.testing import Testing

        return Testing(cast("XQueue", self), now=now, raise_errors=raise_errors)
