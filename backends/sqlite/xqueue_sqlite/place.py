"""Where a database may lie, and that it stays there."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

from xqueue_core.errors import BrokerGone, ConfigError
from xqueue_sqlite.failures import system_failure

logger = logging.getLogger("xqueue.sqlite")

#: Where the system lists what is mounted.
MOUNTS = Path("/proc/mounts")

# File systems on which another host may hold the same file. SQLite's shared memory and locks
# reach no further than one host, so two hosts would damage it.
_NETWORK = re.compile(
    r"nfs[34]?|cifs|smb\w*|afs|coda|ceph|glusterfs|lustre|ocfs2|gfs2|gpfs|beegfs|orangefs|davfs"
    r"|fuse\.(sshfs|s3fs|gcsfuse|rclone|davfs2?|glusterfs|ceph\S*|juicefs|moosefs|mount-s3|goofys)"
)


def prepare(path: str, mounts: Path = MOUNTS, *, make: bool = True) -> str:
    """The file's absolute path with links resolved; the file is made if there is none.

    Without ``make`` it is not made.

    Raises:
        ConfigError: as :func:`located`.
        Unavailable: the file cannot be made for now: the disk is full, for example.
    """
    real = located(path, mounts)
    logger.info("database %s", real)
    if make:
        _make(real)
    return real


def located(path: str, mounts: Path = MOUNTS) -> str:
    """The file's absolute path with links resolved, if a database may lie there. Makes nothing.

    Raises:
        ConfigError: the folder is missing, the file or the folder is not writable, the path is
            no file, or it lies on a network file system.
    """
    if not path or path.startswith(":"):
        raise ConfigError(f"{path!r} is no path of a file; without a file use memory://")
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        raise ConfigError(f"{real}: there is no folder {folder}; make it, or name another file")
    if os.path.isdir(real):
        raise ConfigError(f"{real} is a folder; name a file in it")
    kind = filesystem(real, mounts)
    if is_network(kind):
        raise ConfigError(
            f"{real} lies on a network file system ({kind}), where SQLite cannot keep it safe; "
            "name a file on a local disk, or use a broker that several hosts can reach"
        )
    _check_rights(real, folder)
    return real


def is_network(kind: str) -> bool:
    """True if several hosts may share a file system of this type."""
    return _NETWORK.fullmatch(kind) is not None


def filesystem(path: str, mounts: Path = MOUNTS) -> str:
    """The type of the file system that holds this absolute path, or "" if unknown."""
    best, kind = "", ""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, point, found, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point the later one is seen.
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def _check_rights(path: str, folder: str) -> None:
    hint = "run as another user, or name another file"
    if not allowed(folder, os.W_OK | os.X_OK):
        # SQLite keeps two more files beside it, and the bell is a third.
        raise ConfigError(f"{path}: this user may not write in the folder {folder}; {hint}")
    if os.path.exists(path) and not allowed(path, os.R_OK | os.W_OK):
        raise ConfigError(f"{path}: this user may not read and write this file; {hint}")


def allowed(path: str, mode: int) -> bool:
    """True if this process may do that (``os.R_OK`` and so on) with a file or folder."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _make(path: str) -> None:
    # Only ever a file of our own making is opened and closed here: closing any handle of a
    # file drops all of this process's locks on it, also those of open connections.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise system_failure(error, f"{path} cannot be made") from error


class Identity(NamedTuple):
    """Which file a path named when it was opened."""

    path: str
    device: int
    inode: int

    @classmethod
    def of(cls, path: str) -> Identity:
        """The identity of the file at this path."""
        status = os.stat(path)
        return cls(path, status.st_dev, status.st_ino)

    def check(self) -> None:
        """Raise BrokerGone if the path names another file by now, or none.

        An open file that was removed can still be written to, and all of it would be lost.
        """
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != (self.device, self.inode):
            raise BrokerGone(
                f"{self.path} was removed or replaced while it was open: workers end by that, "
                "and every other process that uses it must be started again"
            )
