"""The task of a schedule, for one that an operator wants now."""

from __future__ import annotations

import difflib

from xqueue_core.app import XQueue
from xqueue_core.cli.exits import NotFound
from xqueue_core.client.call import Call
from xqueue_core.errors import ConfigError


def call_of(app: XQueue, name: str) -> Call[object]:
    """A call as the schedule makes it, to be submitted once.

    Raises:
        ConfigError: the app declares no schedules.
        NotFound: it declares none of this name.
    """
    if not app.schedules:
        raise ConfigError(
            "no app that declares schedules was given: name it with --app, or set XQUEUE_APP"
        )
    one = app.schedules.get(name)
    if one is None:
        near = difflib.get_close_matches(name, app.schedules, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join(repr(other) for other in sorted(app.schedules))
        raise NotFound(f"the app declares no schedule {name!r}{hint} (known: {known})")
    return Call(one.task_now(app._client.uuid), one.spec.decode_result)
