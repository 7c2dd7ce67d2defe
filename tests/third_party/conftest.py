"""Lets the tests import the foreign distribution as if it were installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "logfile"))
