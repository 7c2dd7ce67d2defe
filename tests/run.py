"""Run every test and print the matrix of backend, event loop and cases.

``python tests/run.py [arguments of pytest]``; the exit code is 0 only if everything passed and
nothing was skipped.
Reports go to the folder named by ``CONFORMANCE_DIR``, by default ``.matrix``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
THIRD_PARTY = ROOT / "tests" / "third_party" / "run.py"


def main(arguments: list[str]) -> int:
    """Run pytest, then the foreign distribution, then show what the reports say."""
    folder = Path(os.environ.get("CONFORMANCE_DIR", ROOT / ".matrix"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    for old in folder.glob("*.json"):
        old.unlink()
    plugin = ["-p", "xqueue_core.conformance", "--conformance-dir", str(folder)]
    results = folder / "pytest.xml"
    results.unlink(missing_ok=True)
    # The kit's cases record properties, which the default form of the file refuses.
    junit = ["-o", "junit_family=xunit1", f"--junit-xml={results}"]
    tests = [sys.executable, "-m", "pytest", *plugin, *arguments, *junit]
    codes = [_ran(tests), _ran([sys.executable, str(THIRD_PARTY)], CONFORMANCE_DIR=str(folder))]
    reports = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    print(matrix(reports))
    whole = not arguments
    if whole and not reports:
        print("no conformance report was written", file=sys.stderr)
        codes.append(1)
    if whole and any(not report["ok"] for report in reports):
        codes.append(1)
    for name, reason in skipped(results):
        print(f"skipped, which counts as a failure: {name} ({reason})", file=sys.stderr)
        codes.append(1)
    # A signal's code is negative.
    return max(map(abs, codes))


def skipped(results: Path) -> list[tuple[str, str]]:
    """The tests that pytest did not run, or only to see them fail, and why."""
    if not results.exists():
        return []  # pytest did not get that far, which its exit code tells
    return [
        (f"{case.get('classname')}.{case.get('name')}", one.get("message", ""))
        for case in ElementTree.parse(results).iter("testcase")
        for one in case.iter("skipped")
    ]


def _ran(command: list[str], **variables: str) -> int:
    # The core is importable before pytest reads its settings: `-p` needs it at once.
    path = os.pathsep.join(
        [
            str(ROOT),
            *map(str, sorted(ROOT.glob("backends/*"))),
            *filter(None, [os.environ.get("PYTHONPATH")]),
        ]
    )
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def matrix(reports: list[dict[str, Any]]) -> str:
    """A line for each backend and event loop, with what failed or did not run."""
    lines = [
        f"{'backend':<18} {'loop':<8} {'passed':>6} {'failed':>6} {'not run':>7} "
        f"{'not chosen':>10} {'left out':>8}"
    ]
    for report in reports:
        failed = [one["id"] for one in report["results"] if not one["passed"]]
        passed = len(report["results"]) - len(failed)
        lines.append(
            f"{report['backend']:<18} {report['loop']:<8} {passed:>6} {len(failed):>6} "
            f"{len(report['missing']):>7} {len(report['not_chosen']):>10} "
            f"{len(report['left_out']):>8}"
        )
        if report["partial"]:
            lines.append(f"    partial: {report['partial']}")
        if failed:
            lines.append(f"    failed: {', '.join(failed)}")
        if report["not_chosen"]:
            lines.append(f"    not chosen: {', '.join(report['not_chosen'])}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
