"""``xqueue`` whose supervisor and guardian wait 1 s beyond the grace time, not 20."""

from __future__ import annotations

from xqueue_core.cli import main, supervisor

if __name__ == "__main__":
    supervisor.PATIENCE = 1.0
    main()
