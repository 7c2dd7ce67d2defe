"""On which file system a path lies."""

from __future__ import annotations

import re
from pathlib import Path

#: Where Linux lists what is mounted.
MOUNTS = Path("/proc/mounts")
#: Beginnings of the names of file systems that several hosts may share.
NETWORK = ("nfs", "cifs", "smb", "afs", "ceph", "gluster", "lustre", "gfs", "ocfs", "fuse.sshfs")


def filesystem(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that holds an absolute path; "" if that cannot be told."""
    best, kind = "", ""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, point, found, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)
        inside = f"{path}/".startswith(f"{point.rstrip('/')}/")
        # Of two mounts on one point the later one is seen.
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def is_network(kind: str) -> bool:
    """True if several hosts may share a file system of this type."""
    return kind.startswith(NETWORK)
