"""A clean environment in an empty folder, for scripts that try what a newcomer does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """A step failed; the message is what to show."""


class Trial:
    """One clean environment, and an empty folder to work in.

    Args:
        name: what is tried, in front of each line that is printed.
        place: an empty folder for both.
    """

    def __init__(self, name: str, place: Path) -> None:
        self.name = name
        self.folder = place / "folder"
        self.folder.mkdir()
        self._place = place
        self.bin = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
        kept = {
            name: value
            for name, value in os.environ.items()
            # What the caller can import, or has configured, must not be seen in here.
            if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} and name[:7] != "XQUEUE_"
        }
        path = os.pathsep.join([str(self.bin), kept.get("PATH", "")])
        self.environment = {**kept, "PATH": path, "XDG_CACHE_HOME": str(place / "cache")}

    def say(self, text: str) -> None:
        """Print one line."""
        print(f"{self.name}: {text}", flush=True)

    def step(self, title: str, command: list[str], seconds: float, **variables: str) -> str:
        """Run a command; its output is shown only if it fails. Raises Failed."""
        started = time.monotonic()
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={**self.environment, **variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{title}: not done after {seconds:g} s\n{error.output or ''}") from error
        if done.returncode:
            raise Failed(f"{title}: exit code {done.returncode}\n{done.stdout.strip()}")
        self.say(f"{title} ({time.monotonic() - started:.1f} s)")
        return done.stdout.strip()

    def python(self, *arguments: str) -> list[str]:
        """A command of the environment's Python. Warnings are errors, as in all tests."""
        return [str(self.bin / "python"), "-W", "error", *arguments]

    def wheel(self, source: Path = ROOT) -> str:
        """Build the wheel of a source tree, by the tools of this environment. Raises Failed."""
        wheels = self._place / "wheels"
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        build += ["--no-build-isolation", "--wheel-dir", str(wheels), str(source)]
        before = {*wheels.glob("*.whl")}
        title = f"build the wheel of {'the repository' if source == ROOT else source.name}"
        self.step(title, build, 120)
        [made] = {*wheels.glob("*.whl")} - before
        return str(made)

    def install(self, *what: str) -> None:
        """Make the environment, and install wheels with their dependencies. Raises Failed."""
        self.step("make an environment", [sys.executable, "-m", "venv", str(self.bin.parent)], 120)
        pip = [str(self.bin / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
        pins = ["--quiet", "--constraint", str(ROOT / "constraints.txt")]
        self.step("install with pip", [*pip, *pins, *what], 300)
