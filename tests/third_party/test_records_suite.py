"""The suite of ``Records`` passes on foreign stores as well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from third_party.foreign_stores import KINDS

ROOT = Path(__file__).resolve().parents[2]
SUITE = ("test_records.py", "test_records_log.py", "test_records_model.py")
#: Folders in which the plugin and the foreign distribution are found.
PATHS = (ROOT, *ROOT.glob("backends/*"), ROOT / "tests", ROOT / "tests/third_party/logfile")


@pytest.mark.timeout(180)
def test_foreign_stores_pass_the_suite_of_records() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "third_party.foreign_stores"),
            *(str(ROOT / "tests/unit" / name) for name in SUITE),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    # Not ours by mistake: each test ran on every foreign store.
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 50 * len(KINDS)
