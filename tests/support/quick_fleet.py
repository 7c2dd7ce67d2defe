"""``xqueue`` with a supervisor that makes up its mind in seconds: ``python quick_fleet.py ...``."""

from __future__ import annotations

from xqueue_core.cli import fleet, main

if __name__ == "__main__":
    quick: tuple[float, ...] = (1.0, 2.0)
    fleet.Fleet.__init__.__defaults__ = quick
    main()
