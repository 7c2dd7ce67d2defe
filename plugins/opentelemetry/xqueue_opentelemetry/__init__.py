"""Traces of tasks from their submit to the end of each attempt, by OpenTelemetry."""

from __future__ import annotations

from xqueue_opentelemetry.plugin import OpenTelemetryPlugin

__all__ = ["OpenTelemetryPlugin"]
