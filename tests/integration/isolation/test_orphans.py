"""What a child has started ends with the worker, in whatever order the worker's parts end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.processes import alive
from support.workers import until

pytestmark = pytest.mark.anyio

CHILD = """
import os, subprocess, sys, time
from xqueue_core.worker.isolation.confine import end_with_parent
end_with_parent(int(sys.argv[1]), int(sys.argv[2]))
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), sleeper.pid, flush=True)
sleeper.wait()
"""

# The thread that spawned the child ends first, and what closes the pipe afterwards: so it is,
# sometimes, with the threads and the files of a process that is killed.
PARENT = """
import os, subprocess, sys, threading
read, write = os.pipe()
def spawn():
    global child
    child = subprocess.Popen(
        [sys.executable, "-c", sys.argv[1], str(read), str(os.getpid())],
        pass_fds=[read], start_new_session=True, stdout=subprocess.PIPE,
    )
    os.close(read)
    print(child.stdout.readline().decode(), end="", flush=True)
one = threading.Thread(target=spawn)
one.start()
one.join()
child.wait()
os.close(write)
print("closed", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the test."""
    return "asyncio"


def started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_a_thread_that_ends_before_the_pipe_is_closed() -> None:
    parent = started()
    try:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert parent.stdout.readline() == "closed\n"
        await until("both end", lambda: not any(map(alive, pids)), 5)
    finally:
        parent.kill()
        parent.communicate()
