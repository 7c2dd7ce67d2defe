"""From an empty folder to the first result, as README.md says: within a minute.

``python tests/e2e/first_minute.py [seconds]``: builds the wheel, installs it into a new
environment, writes the page's files into an empty folder, starts a worker, submits, and reads the
result. Prints what each step took. Exit code 0 only if the result is the one on the page, came by
SQLite, and all was done within the time, by default 60 seconds.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.docs_page import commands, snippets
from support.trial import ROOT, Failed, Trial

#: Longest time for all of it (seconds).
MINUTE = 60.0


class Start(NamedTuple):
    """What the page's first section tells a newcomer to do."""

    jobs: str  #: jobs.py
    worker: str  #: the command that starts a worker
    submit: str  #: the program that submits
    printed: str  #: what it prints


def start(page: str) -> Start:
    """Read the page. Raises Failed if it does not begin as this script expects."""
    begin = page.partition("\n## Two minutes\n")[2].partition("\n## ")[0]
    found = list(snippets(begin))
    jobs = [one.text for one in found if one.file == "jobs.py"]
    programs = [one.text for one in found if one.language == "python" and not one.file]
    workers = [
        command.removesuffix("&").strip()
        for one in found
        if one.language == "console"
        for command, _ in commands(one)
    ]
    printed = re.findall(r"^It prints `([^`]+)`", begin, re.MULTILINE)
    each = (jobs, workers, programs, printed)
    if any(len(one) != 1 for one in each):
        counts = dict(zip(Start._fields, map(len, each), strict=True))
        raise Failed(f"read README.md: 'Two minutes' should have one of each, and has {counts}")
    return Start(*(one[0] for one in each))


@contextmanager
def running(trial: Trial, command: str) -> Iterator[subprocess.Popen[str]]:
    """A worker in the background, which is told to end. Raises Failed if it ends otherwise."""
    words = shlex.split(command)
    words[0] = str(trial.bin / words[0])
    said = trial.folder / "worker.log"
    with said.open("w") as output:
        process = subprocess.Popen(
            words, cwd=trial.folder, env=trial.environment, stdout=output, stderr=output, text=True
        )
        try:
            yield process
            if process.poll() is not None:
                raise Failed(f"start a worker: it ended by itself\n{said.read_text()}")
            began = time.monotonic()
            process.terminate()
            code = process.wait(20)
            if code:
                raise Failed(f"end the worker: exit code {code}\n{said.read_text()}")
            trial.say(f"end the worker ({time.monotonic() - began:.1f} s)")
        except subprocess.TimeoutExpired as error:
            raise Failed(f"end the worker: it did not\n{said.read_text()}") from error
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def try_out(trial: Trial, page: Start) -> None:
    """Do what the page says, in the environment that was made. Raises Failed."""
    (trial.folder / "jobs.py").write_text(page.jobs, encoding="utf-8")
    (trial.folder / "submit.py").write_text(page.submit, encoding="utf-8")
    with running(trial, page.worker):
        printed = trial.step("submit, and read the result", trial.python("submit.py"), 60)
    if printed != page.printed:
        raise Failed(f"read the result: the page says {page.printed!r}, it was {printed!r}")
    if not (trial.folder / "xqueue.db").is_file():
        raise Failed("run on SQLite: there is no xqueue.db in the folder")


def main(seconds: float = MINUTE) -> int:
    """Do it all; 1 if anything failed, or took too long."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="xqueue-first-minute-") as folder:
        trial = Trial("first minute", Path(folder))
        try:
            page = start((ROOT / "README.md").read_text(encoding="utf-8"))
            trial.install(trial.wheel())
            try_out(trial, page)
        except Failed as failed:
            print(f"first minute: FAILED to {failed}", file=sys.stderr)
            return 1
        took = time.monotonic() - began
    if took > seconds:
        print(f"first minute: FAILED: it took {took:.1f} s, not {seconds:g}", file=sys.stderr)
        return 1
    print(f"first minute: from an empty folder to {page.printed!r} in {took:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
