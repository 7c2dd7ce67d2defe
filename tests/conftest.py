"""What every test may rely on: no settings and no caches from the machine it runs on."""

from __future__ import annotations

import os
import signal
import tempfile

import hypothesis
import pytest

# The same examples in every run: a failure that comes and goes helps nobody. The database is
# off for the same reason.
hypothesis.settings.register_profile("xqueue", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("xqueue")

_cache = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


def pytest_configure(config: pytest.Config) -> None:
    """Isolate the run, and every process it starts, before anything of XQueue is imported."""
    for name in [name for name in os.environ if name.startswith("XQUEUE_")]:
        del os.environ[name]
    # stevedore keeps what it knows of entry points on disk, and misses what is newer.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As shells start what is to run in the background; tests send it all the same.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tempfile.TemporaryDirectory(prefix="xqueue-cache-")
    config.stash[_cache] = folder
    os.environ["XDG_CACHE_HOME"] = folder.name


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cache folder."""
    folder = config.stash.get(_cache, None)
    if folder is not None:
        folder.cleanup()
