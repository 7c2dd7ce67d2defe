"""The demo's application: one task type, which hashes, measures and compresses one file.

This is all that XQueue asks of an application. ``examples/demo.py`` submits the tasks, and
``xqueue worker`` runs them::

    xqueue worker examples/files.py
"""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from asyncio import CancelledError
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from demo_parts import history
from demo_parts.names import to_path

from xqueue_core import Context, RetryPolicy, XQueue

#: How many files are worked on at one time, in all workers together.
LIMIT = 4
#: Bytes read at one time.
CHUNK = 256 * 1024

app = XQueue()


@dataclass(slots=True, frozen=True)
class Digest:
    """What is found out about a file."""

    sha256: str
    size: int  # bytes
    lines: int
    entropy: float  # bits per byte: 0 for one byte repeated, 8 for noise
    compressed: int  # bytes


class InjectedFault(OSError):
    """A fault made on purpose: the demo announces it, so that a retry can be seen."""


@app.task(
    max_concurrency=LIMIT,
    max_retry=3,
    process_timeout=600,
    # A file that is gone or forbidden will be so next time; any other error may pass.
    retry=RetryPolicy(base=0.5, cap=5, no_retry=(FileNotFoundError, PermissionError)),
)
def digest(ctx: Context, file: str) -> Digest:
    """Read a file once, and find out all about it.

    A plain function: it runs in a thread, so that heartbeats go on while it computes.

    Args:
        file: the file as a URI, for a file's name may be any bytes and a payload is text.
    """
    path = to_path(file)
    faulty = "fault" in ctx.headers and not history.started(ctx)
    with history.attempt(ctx, path):
        if faulty:
            raise InjectedFault("injected fault: the disk did not answer")
        with open_file(path) as opened:
            return measure(ctx, opened)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file; never what a link points to, and never a pipe, which might block."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)

    return open(path, "rb", opener=opener)


def measure(ctx: Context, file: BinaryIO) -> Digest:
    """One pass over the file; it ends early once the worker has to stop."""
    sha, packer, seen = hashlib.sha256(), zlib.compressobj(), Counter[int]()
    total = os.fstat(file.fileno()).st_size
    size = lines = compressed = 0
    while chunk := file.read(CHUNK):
        if ctx.canceled:
            raise CancelledError
        sha.update(chunk)
        seen.update(chunk)
        size += len(chunk)
        lines += chunk.count(b"\n")
        compressed += len(packer.compress(chunk))
        if size < total:
            ctx.progress_nowait(done=size, total=total)
    compressed += len(packer.flush())
    return Digest(sha.hexdigest(), size, lines, entropy(seen), compressed)


def entropy(seen: Counter[int]) -> float:
    """Shannon entropy of the counted bytes, in bits per byte."""
    total = seen.total()
    return sum(n / total * math.log2(total / n) for n in seen.values())
