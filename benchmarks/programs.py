"""Runs a program that counts what it does and prints what it found as one line of JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import rate


class ProgramFailed(Exception):
    """A program ended with an error, too late, or without its figures."""


@dataclass(frozen=True, slots=True)
class Run:
    """How many tasks a program did, between which moments, with how much CPU."""

    count: int
    first_ns: int  # CLOCK_MONOTONIC
    last_ns: int
    cpu: float  # seconds of the process, between the two

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.last_ns - self.first_ns) / 1e9

    @property
    def rate(self) -> float:
        """Tasks per second."""
        return rate(self.count, self.first_ns, self.last_ns)

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per task."""
        return self.cpu * 1e6 / self.count


def run(
    command: Sequence[str],
    env: Mapping[str, str],
    timeout: float,
    folder: Path | None = None,
) -> Run:
    """Run a program to its end. Raises ProgramFailed with the end of what it said."""
    try:
        ended = subprocess.run(
            command, env=env, cwd=folder, timeout=timeout, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramFailed(f"{command[-3:]}: not done after {timeout:.0f} s") from error
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip()[-2_000:]
        raise ProgramFailed(f"{command[-3:]}: exit code {ended.returncode}\n{said}")
    return parsed(ended.stdout)


def parsed(output: str) -> Run:
    """The last line that is a JSON object. Raises ProgramFailed if none has the figures."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                return Run(**json.loads(line))
            except (TypeError, ValueError) as error:
                raise ProgramFailed(f"not the figures of a run: {line[:200]}") from error
    raise ProgramFailed(f"no line of figures in {output[-200:]!r}")
