"""streaQ: bulk submits in its pipeline, results dropped at once."""

from __future__ import annotations

from streaq import Worker

from benchmarks.peers.counted import Counted, chunks, main


def made(url: str, counted: Counted | None = None) -> tuple[Worker, object]:
    worker = Worker(redis_url=url, concurrency=100, anyio_kwargs={"use_uvloop": True})

    @worker.task(ttl=0, silent=True)
    async def noop() -> None:
        if counted:
            counted.ran()

    return worker, noop


def submit(url: str, count: int) -> None:
    import anyio

    worker, noop = made(url)

    async def all_of_them() -> None:
        async with worker:
            for size in chunks(count, 1_000):
                await worker.enqueue_many([noop.enqueue() for _ in range(size)])

    anyio.run(all_of_them, backend_options={"use_uvloop": True})


def work(url: str, counted: Counted) -> None:
    made(url, counted)[0].run_sync()


main(submit, work)
