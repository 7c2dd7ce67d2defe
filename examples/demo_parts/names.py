"""Names of files, in the forms that a task, an id and a terminal can take."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes


def to_uri(path: Path) -> str:
    """An absolute path as a URI: plain text, whatever bytes the name has."""
    return path.as_uri()


def to_path(uri: str) -> Path:
    """The path that :func:`to_uri` was given."""
    return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))))


def to_token(run: str, name: str) -> str:
    """An id's token for a file of a run: readable, unique, at most 128 characters."""
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[-60:]
    unique = hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()
    return f"{run}-{slug}-{unique}"


def shown(name: str) -> str:
    """A name for people: on one line, with whatever cannot be printed escaped."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
