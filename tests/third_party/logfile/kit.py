"""Runs the conformance kit on this backend: ``python kit.py FOLDER``, for reports in JSON.

Exit code 0 if, in both durability modes, every case that concerns the backend ran and passed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xqueue_logfile import LogBackend, LogRecords, LogSettings  # type: ignore[import-not-found, unused-ignore]

from xqueue_core.conformance import BackendHarness, run
from xqueue_core.stored.clock import host_clock
from xqueue_core.stored.records import ANY, Change, Group


class LogHarness(BackendHarness):
    """One folder for all namespaces; a stored task can be damaged."""

    def __init__(self, folder: str, durability: str) -> None:
        def settings(namespace: str, changes: Mapping[str, Any]) -> LogSettings:
            return LogSettings.model_validate(
                {"path": folder, "namespace": namespace, "durability": durability, **changes}
            )

        # In another process the backend is found by its entry point.
        child = (f"logfile:///{folder}?durability={durability}",)
        super().__init__(LogBackend(), settings, name=f"logfile-{durability}", child=child)
        self._folder = Path(folder)

    async def corrupt(self, namespace: str, id: str) -> None:
        """Put bytes that nobody can decode in the place of a task, where it was listed."""
        records = LogRecords(self._folder / f"{namespace}.log", False, host_clock)
        [row] = await records.load([f"t/{id}"])
        assert row is not None
        await records.swap([Group([Change(row.key, ANY, b"R\xc1", row.bucket, row.order)])])
        records.close()


def main(out: Path) -> int:
    """Run the kit in both modes; 0 if all is well."""
    fine = True
    for durability in ("process", "power"):
        with tempfile.TemporaryDirectory(prefix="xqueue-logfile-") as folder:
            report = run(LogHarness(folder, durability), at_once=4)
        (out / f"{report.backend}-{report.loop}.json").write_text(report.json(), encoding="utf-8")
        fine = fine and report.ok
        for one in report.failed:
            print(f"FAILED {one.id}: {one.message}")
        print(report.summary())
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
