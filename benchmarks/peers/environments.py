"""An environment for each peer in ``.peers/``, with what its folder pins; and its command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.catalogue import Peer

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLACE = ROOT / ".peers"


class NotInstalled(Exception):
    """A peer's environment could not be made; the text says why."""


def ready(peer: Peer) -> None:
    """Make the environment, unless it is made of these very files. Raises NotInstalled."""
    source, place = HERE / peer.folder, PLACE / peer.folder
    made = "".join(path.read_text() for path in sorted(source.iterdir()) if path.is_file())
    stamp = place / "made-of"
    if stamp.exists() and stamp.read_text() == made:
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    MAKERS[peer.language](source, place)
    stamp.write_text(made)


def command(peer: Peer, action: str, url: str, count: int) -> list[str]:
    """The command line that submits to a peer, or has its worker work."""
    place = PLACE / peer.folder
    program = {
        "python": [str(place / "bin/python"), str(HERE / peer.folder / "peer.py")],
        "node": ["node", str(place / "peer.mjs")],
        "go": [str(place / "peer")],
    }[peer.language]
    return [*program, action, url, str(count), *([peer.variant] if peer.variant else [])]


def environ() -> dict[str, str]:
    """The environment of the programs: those in Python count with ``counted.py`` of this tree."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def with_python(source: Path, place: Path) -> None:
    """A virtual environment, filled by the pip of the Python that runs this."""
    said([sys.executable, "-m", "venv", "--without-pip", str(place)], place)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    there = ["--python", str(place / "bin/python")]
    pins = ["--no-compile", "--requirement", str(source / "requirements.txt")]
    said([*pip, *there, "install", *pins], place)


def with_node(source: Path, place: Path) -> None:
    """A copy with ``node_modules`` beside it."""
    shutil.copytree(source, place, dirs_exist_ok=True)
    said(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"], place)


def with_go(source: Path, place: Path) -> None:
    """A copy, and the program built from it."""
    shutil.copytree(source, place, dirs_exist_ok=True)
    said(["go", "mod", "tidy"], place)
    said(["go", "build", "-o", "peer", "."], place)


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "python": with_python,
    "node": with_node,
    "go": with_go,
}


def said(call: list[str], folder: Path) -> None:
    """Run one step. Raises NotInstalled with the end of what it said."""
    if shutil.which(call[0]) is None:
        raise NotInstalled(f"{call[0]} is not in the path")
    try:
        ended = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{' '.join(call[:3])}: not done after {error.timeout:.0f} s") from error
    if ended.returncode:
        raise NotInstalled((ended.stderr or ended.stdout).strip()[-400:])
