"""What ``make demo`` shows: XQueue at work over the files of a folder.

Every file is a task: hashed, measured and compressed, at most four at one time, by real worker
processes. Some files meet an injected fault, so that a retry is seen. Kill all of it whenever
you like and start it again: it goes on where it was.

Read ``examples/files.py`` first: that is the application. This is the program around it.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import files
from demo_parts import folder, history, report, run, workers
from demo_parts.names import shown, to_uri
from demo_parts.screen import Screen, make_console, make_screen, say
from rich.console import Console

from xqueue_core import Handle, ResultExpired, State, TaskError, XQueueError, as_completed

#: Seconds after which a killed worker's files are given to another: short, to show it soon.
LEASE = 4.0
#: Seconds that files under way have to be finished when the demo is stopped.
GRACE = 5.0


def main() -> int:
    """Run the demo: 0 if every file was done, 1 if not, 2 if it could not begin."""
    options = arguments()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        check_folder(options.dir)
        options.state.mkdir(parents=True, exist_ok=True)
        with locked(options.state):
            return asyncio.run(interruptible(options))
    except (OSError, XQueueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except workers.WorkersGone as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="XQueue at work over the files of a folder.")
    parser.add_argument("--dir", type=Path, default=Path(), help="the folder; by default this one")
    parser.add_argument("--url", help="the broker; by default an SQLite file in --state")
    parser.add_argument("--state", type=Path, default=Path(".demo"), help="where its files are")
    parser.add_argument("--workers", type=int, default=2, help="worker processes: 1 or more")
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("--workers must be 1 or more")
    options.state, options.dir = options.state.resolve(), options.dir.resolve()
    return options


def check_folder(path: Path) -> None:
    """Raise an OSError that says what is wrong, if the folder cannot be listed."""
    if not path.is_dir():
        kind = "is not a folder" if path.exists() else "does not exist"
        raise NotADirectoryError(f"the folder {shown(str(path))} {kind}")
    os.scandir(path).close()


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the state folder: two demos at once would share one history."""
    with (state / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"another demo is at work in {state}") from None
        yield


async def interruptible(options: argparse.Namespace) -> int:
    """The demo, ended in good order by Ctrl-C or SIGTERM."""
    play = asyncio.ensure_future(demo(options))
    got: list[int] = []

    def stop(number: int) -> None:
        got.append(number)
        play.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await play
    except asyncio.CancelledError:
        print("stopped; run it again to go on", file=sys.stderr)
        return 128 + got[0]


async def demo(options: argparse.Namespace) -> int:
    """Go on with the folder's unfinished run, or begin one."""
    console = make_console()
    url = options.url or f"sqlite:///{quote(str(options.state / 'xqueue.db'))}"
    target = run.Target(options.dir, url)
    listing = folder.Listing()
    work = run.unfinished(target, options.state)
    if work is None:
        listing = folder.list_files(options.dir, options.state)
        work = run.begin(target, options.state, listing)
    configure(url, f"demo-{target.key}", options)
    announce(console, work, listing)
    if work.names:
        timing = await perform(console, work, options.workers)
        report.print_largest(console, work)
        report.print_summary(console, work, timing)
    else:
        say(console, "there is nothing to do")
    return 1 if report.print_failures(console, work, listing.unreadable) else 0


def configure(url: str, namespace: str, options: argparse.Namespace) -> None:
    """Settings for the app here and in the workers, by the environment as in real life."""
    if (
        options.url is None
    ):  # without a broker of the user's, nothing that is configured here matters
        for name in [name for name in os.environ if name.startswith("XQUEUE_")]:
            del os.environ[name]
    os.environ.update(
        XQUEUE_URL=url,
        XQUEUE_NAMESPACE=namespace,
        XQUEUE_LEASE=str(LEASE),
        XQUEUE_GRACE=str(GRACE),
        # Together more than the limit, so that it is the limit that holds them; and of two or
        # more none so many that it could take all.
        XQUEUE_CONCURRENCY=str(1 + files.LIMIT // options.workers),
    )


def announce(console: Console, work: run.Run, listing: folder.Listing) -> None:
    """Say what is going to happen."""
    say(console, f"run {work.id} in {shown(str(work.target.folder))}")
    if work.resumed:
        done = len(work.names) - len(work.missing)
        say(console, f"goes on: {done} of {len(work.names)} files were recorded before")
    else:
        kind = "files that git tracks" if listing.tracked else "files"
        say(console, f"{len(work.names)} {kind}, at most {files.LIMIT} at one time")
    if listing.left_out:
        say(console, f"left out: {len(listing.left_out)} that are no regular files (links, ...)")
    if not work.resumed and work.faults:
        say(console, f"{len(work.faults)} will meet an injected fault once, and be tried again")


async def perform(console: Console, work: run.Run, count: int) -> report.Timing:
    """Have every file without a row done, and recorded."""
    before = len(work.rows)
    history.mend(work.results_file)
    tail = history.Tail(work.history_file, history.mend(work.history_file))
    running = history.Running()
    async with files.app:
        if work.resumed:
            await name_in_flight(console, work)
        began = time.monotonic()
        who, working = await who_works(work, count)
        async with working:
            handles = await submit(work)
            there = sum(handle.duplicate for handle in handles)
            say(console, f"{len(handles)} submitted, {there} of them were there already")
            with make_screen(console, len(work.names), before) as screen:
                showing = asyncio.create_task(show(screen, tail, running))
                await record(work, handles, screen)
                showing.cancel()
            took = time.monotonic() - began
    running.feed(tail.new())
    return report.Timing(took, len(work.rows) - before, running.peak, files.LIMIT, who)


async def name_in_flight(console: Console, work: run.Run) -> None:
    """Name the files that a worker had when all was killed: they alone may start once more."""

    async def held(name: str) -> bool:
        try:
            state = await files.app.handle(f"digest:{work.token(name)}").state()
        except ResultExpired:  # it never was submitted
            return False
        return state is State.PROCESSING

    names = work.missing
    flags = await asyncio.gather(*map(held, names))
    flying = [name for name, flag in zip(names, flags, strict=True) if flag]
    if flying:
        say(console, f"{len(flying)} were in flight, and start again when their leases end:")
        for name in flying:
            say(console, f"  in flight: {shown(name)}")


async def who_works(work: run.Run, count: int) -> tuple[str, AbstractAsyncContextManager[None]]:
    """Worker processes; where the broker lives in this process, a worker within it."""
    async with files.app.connect() as connection:
        shared = connection.capabilities.shared
    if not shared:
        return "a worker in this process", workers.embedded(files.app)

    def died(pid: int) -> None:
        history.note(work.history_file, work.id, "exit", pid=pid)

    log = work.state / "worker.log"
    running = workers.processes(count, Path(files.__file__), log, GRACE, died)
    return f"{count} worker processes", running


async def submit(work: run.Run) -> list[Handle[files.Digest]]:
    """Submit every file without a row. One that was submitted before is the same task still."""
    headers = {"run": work.id, "history": to_uri(work.history_file)}
    faults = work.faults
    return await files.app.submit_many(
        files.digest.options(
            id=work.token(name), headers=headers | ({"fault": "1"} if name in faults else {})
        ).call(file=to_uri(work.path(name)))
        for name in work.missing
    )


async def record(work: run.Run, handles: list[Handle[files.Digest]], screen: Screen) -> None:
    """Write a row for each file as its task ends."""
    paths = {
        handle.id: str(work.path(name)) for handle, name in zip(handles, work.missing, strict=True)
    }
    async for handle in as_completed(handles):
        row = await read_row(work.id, paths[handle.id], handle)
        work.record(row)
        screen.row(row.digest is not None)


async def read_row(id: str, path: str, handle: Handle[files.Digest]) -> run.Row:
    """What the queue's store says about a task that has ended."""
    digest, error = None, ""
    try:
        digest = asdict(await handle.result())
    except TaskError as raised:
        error = str(raised)
    info = await handle.info()
    if info.failure is not None:
        error = f"{info.failure.type}: {info.failure.message}"
    starts = [one for one in info.history if one.started_at]
    return run.Row(
        run=id,
        path=path,
        id=handle.id,
        state=info.state.value,
        error=error,
        digest=digest,
        attempts=info.attempt,
        waited=max(0.0, starts[0].started_at - info.accepted_at) if starts else 0.0,
        ran=starts[-1].ended_at - starts[-1].started_at if starts else 0.0,
    )


async def show(screen: Screen, tail: history.Tail, running: history.Running) -> None:
    """Keep the screen up to date with what the workers note."""
    while True:
        running.feed(tail.new())
        screen.show(running.open.values())
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
