"""What a backend built over ``Records`` and ``Bell`` can be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOptions:
    """The options of ``xqueue_core.stored.faces``, named like the settings they come from.

    Attributes:
        namespace: what is kept apart within one store: 1 to 32 of ``a-z``, ``0-9`` and ``-``.
        durability: what a finished call survives: the death of every ``process``, or a loss of
            ``power``.
        event_retention: seconds that events are kept, 0 or more.
        dedupe_horizon: seconds in which a repeated id or unique key is recognised, above 0.
        client_retry: longest time in seconds over which a client repeats one put; ids that
            nobody chose are forgotten after twice this.
    """

    namespace: str = "xqueue"
    durability: str = "process"
    event_retention: float = 86_400.0
    dedupe_horizon: float = 86_400.0
    client_retry: float = 60.0
