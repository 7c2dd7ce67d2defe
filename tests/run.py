"""Run every test and print the matrix of backend, event loop and cases.

``python tests/run.py [arguments of pytest]``; the exit code is 0 only if everything passed and
nothing was skipped.
Reports go to the folder named by ``CONFORMANCE_DIR``, by default ``.matrix``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
THIRD_PARTY = ROOT / "tests" / "third_party" / "run.py"
GUIDE = ROOT / "tests" / "third_party" / "guide.py"
#: The parts of a whole run by lane: lanes run side by side, the parts of one after the other.
#: ``tests/NAME`` is the part of this name, without what is a part itself; ``rest`` is all else.
#: There are three, for two processors: most parts wait for something half of their time, and the
#: kit's defects nearly all of it.
LANES = (("contract", "e2e"), ("integration", "simulation"), ("unit/conformance", "unit", "typing"))
#: The parts that the lanes share in the end, so that none runs alone for long; long ones first.
SHARED = ("faults", "contract/redis", "rest", "third party", "author's guide")
#: What must have the machine for itself: how soon work goes on after a kill is counted in seconds.
ALONE = ("soak",)
REST = "rest"
#: Characters that are repeated at the end of what was said of each failure.
LAST_WORDS = 2_000
#: What the many processes that tests start import.
CODE = ("xqueue_core", "backends", "plugins", "tests")

Lane = dict[str, list[str]]


def main(arguments: list[str]) -> int:
    """Run pytest, the foreign distribution and the author's guide side by side, then show reports.

    Without arguments pytest runs in several parts, side by side too.
    """
    folder = Path(os.environ.get("CONFORMANCE_DIR", ROOT / ".matrix"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    for old in (*folder.glob("*.json"), *folder.glob("*.xml")):
        old.unlink()
    compile_code()
    whole = not arguments
    if whole:
        lanes, shared, alone = everything(folder)
        ended = SideBySide(folder, lanes, shared).run() | SideBySide(folder, [alone]).run()
    else:
        theirs = {"third party": [sys.executable, str(THIRD_PARTY)]}
        lanes = [{"tests": pytest(folder, "tests", arguments)}, theirs]
        ended = SideBySide(folder, lanes, live="tests").run()
    codes = list(ended.values())
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
    # Again, for they may be far above.
    for results in sorted(folder.glob("*.xml")):
        for name, message in failed(results):
            print(f"failed: {name}\n{message}", file=sys.stderr)
    for name, code in ended.items():
        if code:
            print(f"FAILED: {name} (exit code {code})", file=sys.stderr)
    # A signal's code is negative.
    return max(map(abs, codes))


def compile_code() -> None:
    """Write bytecode where it is missing or old.

    Where PYTHONDONTWRITEBYTECODE is set nobody else does, and each of the many processes that
    tests start would compile all it imports: a third of the time that it takes to start.
    """
    # A file that cannot be compiled is told by who imports it.
    command = [sys.executable, "-m", "compileall", "-q", *(str(ROOT / one) for one in CODE)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)


def everything(folder: Path) -> tuple[list[Lane], Lane, Lane]:
    """The commands of a whole run's parts: by lane, what the lanes share, and what is alone."""
    special = {
        "third party": [sys.executable, str(THIRD_PARTY)],
        "author's guide": [sys.executable, str(GUIDE)],
    }
    names = {name for lane in (*LANES, SHARED, ALONE) for name in lane} - {*special, REST}
    places = {name: str(ROOT / "tests" / name) for name in names}
    # So that a new folder is not forgotten.
    rest = [str(ROOT / "tests"), *(f"--ignore={place}" for place in places.values())]
    arguments = {REST: rest}
    for name, place in places.items():
        within = (other for other in places.values() if other.startswith(place + os.sep))
        arguments[name] = [place, *(f"--ignore={other}" for other in within)]
    *lanes, shared, alone = (
        {name: special.get(name) or pytest(folder, name, arguments[name]) for name in lane}
        for lane in (*LANES, SHARED, ALONE)
    )
    return lanes, shared, alone


def pytest(folder: Path, name: str, arguments: list[str]) -> list[str]:
    """A run of pytest whose results go to a file of this name."""
    plugin = ["-p", "xqueue_core.conformance", "--conformance-dir", str(folder)]
    # Several run at once, and none needs what another remembers of the last time.
    plugin += ["-p", "no:cacheprovider"]
    # The kit's cases record properties, which the default form of the file refuses.
    junit = ["-o", "junit_family=xunit1", f"--junit-xml={folder / plain(name)}.xml"]
    return [sys.executable, "-m", "pytest", *plugin, *arguments, *junit]


def plain(name: str) -> str:
    """The name of a part as that of a file."""
    return name.replace(" ", "-").replace("/", "-")


class SideBySide:
    """Runs lanes side by side, and shows what each part has said when it has ended.

    Args:
        folder: where reports go, and what parts say.
        lanes: commands by the name of the part; each lane runs its parts one after the other.
        shared: parts that whichever lane has no others left takes.
        live: the part that is shown as it runs; what the others say follows it.
    """

    def __init__(
        self, folder: Path, lanes: list[Lane], shared: Lane | None = None, *, live: str = ""
    ) -> None:
        self._folder = folder
        self._lanes = lanes
        self._shared = deque((shared or {}).items())
        self._live = live
        self._codes: dict[str, int] = {}
        self._terminal = threading.Lock()  # one part has it at a time
        self._starting = threading.Lock()
        self._over = False
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> dict[str, int]:
        """The exit code of each part, when all have ended.

        If it is interrupted, what runs is killed, and what that has said so far is shown.
        """
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            with ThreadPoolExecutor(len(self._lanes)) as pool:
                try:
                    list(pool.map(self._run, self._lanes))
                finally:
                    self._kill()
        finally:
            signal.signal(signal.SIGTERM, before)
        return self._codes

    def _kill(self) -> None:
        with self._starting:
            self._over = True
            for process in list(self._running.values()):
                process.kill()

    def _run(self, lane: Lane) -> None:
        for name, command in chain(lane.items(), self._others()):
            began = time.monotonic()
            if name == self._live:
                with self._terminal:
                    self._wait(name, command)
            else:
                with self._said(name).open("wb") as said:
                    self._wait(name, command, said)
            self._show(name, time.monotonic() - began)

    def _others(self) -> Iterator[tuple[str, list[str]]]:
        with suppress(IndexError):  # none is left
            while True:
                yield self._shared.popleft()

    def _wait(self, name: str, command: list[str], said: IO[bytes] | None = None) -> None:
        """Run a part to its end, unless all is over."""
        with self._starting:
            if self._over:
                return
            process = _start(command, said, CONFORMANCE_DIR=str(self._folder))
            self._running[name] = process
        self._codes[name] = process.wait()
        del self._running[name]

    def _show(self, name: str, seconds: float) -> None:
        """What a part has said, between lines that name it."""
        code = self._codes.get(name)
        if code is None:
            return
        with self._terminal:
            if name != self._live:
                print(f"== {name}", self._said(name).read_text("utf-8", "replace"), sep="\n")
            how = f"FAILED (exit code {code})" if code else "passed"
            print(f"== {name}: {how}, {seconds:.0f} s", flush=True)

    def _said(self, name: str) -> Path:
        return self._folder / f"{plain(name)}.txt"


def skipped(results: Path) -> list[tuple[str, str]]:
    """The tests that pytest did not run, or only to see them fail, and why."""
    if not results.exists():
        return []  # pytest did not get that far, which its exit code tells
    return [
        (f"{case.get('classname')}.{case.get('name')}", one.get("message", ""))
        for case in ElementTree.parse(results).iter("testcase")
        for one in case.iter("skipped")
    ]


def failed(results: Path) -> list[tuple[str, str]]:
    """The tests that failed, and the end of what pytest said of each."""
    if not results.exists():
        return []
    return [
        (f"{case.get('classname')}.{case.get('name')}", (one.text or "")[-LAST_WORDS:].strip())
        for case in ElementTree.parse(results).iter("testcase")
        for one in chain(case.iter("failure"), case.iter("error"))
    ]


def _start(
    command: list[str], said: IO[bytes] | None = None, **variables: str
) -> subprocess.Popen[bytes]:
    # The core is importable before pytest reads its settings: `-p` needs it at once.
    path = os.pathsep.join(
        [
            str(ROOT),
            *map(str, sorted(ROOT.glob("backends/*"))),
            *map(str, sorted(ROOT.glob("plugins/*"))),
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
