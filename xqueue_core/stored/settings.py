"""Settings shared by backends built over ``Records`` and ``Bell``.

Imported by a backend's settings model only, so that importing the backend loads no pydantic.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from xqueue_core.stored.options import StoredOptions

_YEAR = 366 * 86_400.0


class StoredSettings(BaseModel):
    """Base of such a backend's ``Settings``: the fields are those of :class:`StoredOptions`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str = Field(
        default="xqueue",
        pattern=r"^[a-z0-9-]{1,32}$",
        description="Keeps apps apart that share a store: 1 to 32 of a-z, 0-9 and `-`.",
    )
    durability: Literal["process", "power"] = Field(
        default="process",
        description="What a submit survives: the death of a process, or a power cut.",
    )
    event_retention: float = Field(
        default=86_400.0,
        ge=0,
        le=_YEAR,
        allow_inf_nan=False,
        description="Seconds that events are kept.",
    )
    dedupe_horizon: float = Field(
        default=86_400.0,
        gt=0,
        le=_YEAR,
        allow_inf_nan=False,
        description="Seconds in which a repeated id or key is recognised.",
    )
    client_retry: float = Field(
        default=60.0,
        gt=0,
        le=86_400.0,
        allow_inf_nan=False,
        description="Longest time in seconds over which a client repeats one put.",
    )

    def options(self) -> StoredOptions:
        """These settings as the options of ``xqueue_core.stored.faces``."""
        return StoredOptions(
            namespace=self.namespace,
            durability=self.durability,
            event_retention=self.event_retention,
            dedupe_horizon=self.dedupe_horizon,
            client_retry=self.client_retry,
        )
