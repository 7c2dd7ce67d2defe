"""``python -m xqueue_core.cli``."""

from xqueue_core.cli import main

if __name__ == "__main__":
    main()
