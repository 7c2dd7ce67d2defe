"""The clocks of a store that lives on this host."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path

from xqueue_core.stored.records import Now

#: Reads the store's clocks. Tests give another one.
Clock = Callable[[], Now]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def host_clock() -> Now:
    """The host's clocks, the same in every process of one boot.

    ``steady`` counts through a suspend on Linux; elsewhere it may stand still meanwhile.
    ``epoch`` is the id of the boot. Where the system has none it is the host's own id, so that
    after a reboot ``steady`` starts again from 0 in the same epoch.
    """
    return Now(time.time(), _steady(), boot_id())


def _monotonic() -> float:
    return time.monotonic()


if sys.platform == "linux":

    def _steady() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # pragma: no cover
    _steady = _monotonic


@cache
def boot_id() -> str:
    """An id of the present boot of this host."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return _boot_session() or f"host-{uuid.getnode():012x}"


def _boot_session() -> str:
    """What macOS has in its place, else ""."""
    if platform.system() != "Darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    return done.stdout.strip()
