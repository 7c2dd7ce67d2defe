"""Celery: one worker process, the pool by variant; results, events and gossip off."""

from __future__ import annotations

from celery import Celery

from benchmarks.peers.counted import Counted, main, variant


def made(url: str, counted: Counted | None = None) -> tuple[Celery, object]:
    app = Celery("peer", broker=url)
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=64,
        worker_disable_rate_limits=True,
        task_serializer="json",
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        worker_redirect_stdouts=False,
    )

    @app.task(name="noop")
    def noop() -> None:
        if counted:
            counted.ran()

    return app, noop


def submit(url: str, count: int) -> None:
    """There is no bulk call that saves round trips: one by one, on one connection."""
    app, noop = made(url)
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            noop.apply_async(producer=producer)


def work(url: str, counted: Counted) -> None:
    app, _ = made(url, counted)
    app.worker_main(
        [
            "worker",
            f"--pool={variant() or 'threads'}",
            *("--concurrency=100", "--loglevel=WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
    )


main(submit, work)
