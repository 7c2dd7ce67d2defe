"""The plugin's settings."""

from __future__ import annotations

from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: Upper bounds of the histograms' buckets (seconds).
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class PrometheusSettings(BaseModel):
    """Section ``[prometheus]``, or ``XQUEUE_PROMETHEUS__PORT=9700`` and so on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int = Field(
        default=9700,
        ge=0,
        le=65_535,
        description="First port a worker offers its metrics on: 1 to 65535; 0 for none.",
    )
    ports: int | None = Field(
        default=None,
        ge=1,
        le=1_024,
        description="How many ports are tried, from the first on; by default `processes`.",
    )
    address: str = Field(
        default="127.0.0.1", description="Address it listens at: `0.0.0.0` is every one."
    )
    depth: bool = Field(
        default=True, description="Whether a worker asks the broker how much waits."
    )
    depth_every: float = Field(
        default=10.0, ge=0.1, le=3_600, description="Seconds that an answer is used: 0.1 to 3600."
    )
    depth_timeout: float = Field(
        default=2.0, gt=0, le=30, description="Longest wait for an answer: to 30 seconds."
    )
    buckets: tuple[float, ...] = Field(
        default=BUCKETS,
        min_length=1,
        max_length=50,
        description="Upper bounds of the histograms' buckets in seconds, growing.",
    )

    @field_validator("buckets")
    @classmethod
    def _growing(cls, buckets: tuple[float, ...]) -> tuple[float, ...]:
        if any(one >= other for one, other in pairwise(buckets)) or buckets[0] <= 0:
            raise ValueError("above 0, and each above the one before")
        return buckets
