"""Real servers for tests, each with a port and a folder of its own.

::

    with services.redis("redis7", aof=True) as server:
        ...  # server.url, server.kill(), server.restart()

The programs come from the path, or are fetched into ``.services`` without any rights beyond
those of this user: see :mod:`services.programs`. A server that cannot be had is an error, never
a reason to leave a test out. ``python -m services redis7 redis8 valkey`` fetches and tries them.
"""

from services.programs import KINDS, Program, program
from services.server import Server, redis, sentinel

__all__ = ["KINDS", "Program", "Server", "program", "redis", "sentinel"]
