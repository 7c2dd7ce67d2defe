"""A handler that keeps the event loop from running for a minute, with leases of 15 s.

``python -m soak.blocked [--seconds 60]``: by ``time.sleep``, by a spin of plain Python, and by a
call that holds the interpreter's lock, one worker process each. The first two keep their lease;
the third stops its whole process, so another worker runs the task. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from support.history.scene import scene

WAYS = ("sleep", "spin", "lock")


async def blocked(seconds: int, lease: float, folder: Path) -> bool:
    """Block, and see what became of it."""
    fine = True
    async with scene(folder, lease=lease, heartbeat=min(1.0, lease / 10)) as stage:
        with ExitStack() as stack:
            workers = [
                stack.enter_context(stage.worker("--concurrency", "1", "--types", "block"))
                for _ in WAYS
            ]
            for one in workers:
                await stage.serving(one)
            handles = {}
            for how in WAYS:
                marker = str(folder / how)
                handles[how] = await stage.submit("block", how=how, seconds=seconds, marker=marker)
            for handle in handles.values():
                await handle.wait(4 * seconds + 60.0)
            report = await stage.report()
        for how, handle in handles.items():
            info = await handle.info()
            starts = len(stage.starts(handle.id))
            right = (starts, info.losses) == ((2, 1) if how == "lock" else (1, 0))
            fine = fine and right
            verdict = "as it should" if right else "WRONG"
            print(f"{how:<6} {info.state}, started {starts} x, losses {info.losses}: {verdict}")
        print(report)
    return fine and report.ok


def main(arguments: list[str]) -> int:
    """Run by the command line's wishes; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m soak.blocked", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--lease", type=float, default=15.0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="xqueue-soak-") as folder:
        fine = asyncio.run(blocked(given.seconds, given.lease, Path(folder)))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
