"""The plugin's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class OpenTelemetrySettings(BaseModel):
    """Section ``[opentelemetry]``, or ``XQUEUE_OPENTELEMETRY__TRACE=link`` and so on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trace: Literal["child", "link"] = Field(
        default="child",
        description="Whether an attempt is in its producer's trace, or in one of its own.",
    )
    create_spans: bool = Field(
        default=True,
        description="Whether each task of `submit_many` has a span of its own in the producer.",
    )
