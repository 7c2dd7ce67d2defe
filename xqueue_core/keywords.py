"""The keywords of ``XQueue(...)``: whoever misspells one is told at once.

The settings themselves are in :mod:`xqueue_core.settings`, which loads pydantic and is therefore
not looked at before they are needed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from xqueue_core.errors import UnknownSetting
from xqueue_core.foreign_options import setting_hint

#: Names of all settings of an app; those of a backend or plugin are a mapping by its name.
SETTINGS: Final = frozenset(
    (
        "url",
        "semaphore_url",
        "notifier_url",
        "view_url",
        "namespace",
        "durability",
        "plugins",
        "app",
        "concurrency",
        "min_concurrency",
        "threads",
        "children",
        "tasks_per_child",
        "processes",
        "min_processes",
        "prefetch",
        "lanes",
        "types",
        "loop",
        "log_level",
        "grace",
        "lease",
        "heartbeat",
        "lease_wait",
        "event_retention",
        "dedupe_horizon",
        "max_payload",
    )
)
#: The other keywords, to tell the nearest.
_OTHERS = ("accept_without", "middleware", "lifespan")


def check_keywords(given: Mapping[str, Any]) -> None:
    """Raises UnknownSetting for a keyword that is no setting.

    A mapping may be the section of any plugin: which there are is not looked up here.
    """
    for name, value in given.items():
        if value is None or name in SETTINGS or isinstance(value, Mapping):
            continue
        if hint := setting_hint(name, value):
            raise UnknownSetting(f"XQueue has no keyword {name!r}, {hint}")
        near = difflib.get_close_matches(name.lower(), sorted({*SETTINGS, *_OTHERS}), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"of a plugin it would be {name}={{...}}"
        raise UnknownSetting(f"unknown setting {name!r} (keyword argument); {hint}")
