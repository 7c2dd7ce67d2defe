"""Run every test and print the matrix of backend, event loop and cases.

``python tests/run.py [arguments of pytest]``; the exit code is 0 only if everything passed and
nothing was skipped.
Reports go to the folder named by ``CONFORMANCE_DIR``, by default ``.matrix``.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
THIRD_PARTY = ROOT / "tests" / "third_party" / "run.py"
#: Run beside the others: the kit's cases wait most of their time, and so do tests of processes.
BESIDE = {name: str(ROOT / "tests" / name) for name in ("contract", "unit")}


def main(arguments: list[str]) -> int:
    """Run pytest and the foreign distribution side by side, then show what the reports say.

    Without arguments pytest runs in several parts, side by side too.
    """
    folder = Path(os.environ.get("CONFORMANCE_DIR", ROOT / ".matrix"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    for old in (*folder.glob("*.json"), *folder.glob("*.xml")):
        old.unlink()
    whole = not arguments
    beside = {"third party": [sys.executable, str(THIRD_PARTY)]}
    if whole:
        beside |= {name: pytest(folder, name, [path]) for name, path in BESIDE.items()}
        arguments = [f"--ignore={path}" for path in BESIDE.values()]
    others = Others(folder, beside)
    others.start()
    codes = [_start(pytest(folder, "tests", arguments)).wait()]
    codes += others.ended()
    reports = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    print(matrix(reports))
    if whole and not reports:
        print("no conformance report was written", file=sys.stderr)
        codes.append(1)
    if whole and any(not report["ok"] for report in reports):
        codes.append(1)
    for results in sorted(folder.glob("*.xml")):
        for name, reason in skipped(results):
            print(f"skipped, which counts as a failure: {name} ({reason})", file=sys.stderr)
            codes.append(1)
    # A signal's code is negative.
    return max(map(abs, codes))


def pytest(folder: Path, name: str, arguments: list[str]) -> list[str]:
    """A run of pytest whose results go to a file of this name."""
    plugin = ["-p", "xqueue_core.conformance", "--conformance-dir", str(folder)]
    # Several run at once, and none needs what another remembers of the last time.
    plugin += ["-p", "no:cacheprovider"]
    # The kit's cases record properties, which the default form of the file refuses.
    junit = ["-o", "junit_family=xunit1", f"--junit-xml={folder / name}.xml"]
    return [sys.executable, "-m", "pytest", *plugin, *arguments, *junit]


class Others(threading.Thread):
    """Runs these commands, by name, one after the other, beside the tests.

    What they say is shown when the tests have ended.
    """

    def __init__(self, folder: Path, commands: dict[str, list[str]]) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._commands = commands
        self._codes: list[int] = []

    def run(self) -> None:
        """One after the other: more at once would be too much for two processors."""
        for name, command in self._commands.items():
            with self._said(name).open("wb") as said:
                process = _start(command, said, CONFORMANCE_DIR=str(self._folder))
                stop = atexit.register(process.kill)  # the tests were interrupted
                self._codes.append(process.wait())
                atexit.unregister(stop)

    def ended(self) -> list[int]:
        """Their exit codes, when all have ended and what they said was shown."""
        self.join()
        for name in self._commands:
            print(
                f"== {name}", self._said(name).read_text("utf-8", "replace"), sep="\n", flush=True
            )
        return self._codes + [1] * (len(self._commands) - len(self._codes))

    def _said(self, name: str) -> Path:
        return self._folder / f"{name.replace(' ', '-')}.txt"


def skipped(results: Path) -> list[tuple[str, str]]:
    """The tests that pytest did not run, or only to see them fail, and why."""
    if not results.exists():
        return []  # pytest did not get that far, which its exit code tells
    return [
        (f"{case.get('classname')}.{case.get('name')}", one.get("message", ""))
        for case in ElementTree.parse(results).iter("testcase")
        for one in case.iter("skipped")
    ]


def _start(
    command: list[str], said: IO[bytes] | None = None, **variables: str
) -> subprocess.Popen[bytes]:
    # The core is importable before pytest reads its settings: `-p` needs it at once.
    path = os.pathsep.join(
        [
            str(ROOT),
            *map(str, sorted(ROOT.glob("backends/*"))),
            *filter(None, [os.environ.get("PYTHONPATH")]),
        ]
    )
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    both = subprocess.STDOUT if said else None
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=both)


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
