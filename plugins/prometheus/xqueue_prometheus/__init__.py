"""Metrics of submits, runs and workers for Prometheus."""

from __future__ import annotations

from xqueue_prometheus.asgi import metrics_app
from xqueue_prometheus.plugin import PrometheusPlugin, registry

__all__ = ["PrometheusPlugin", "metrics_app", "registry"]
