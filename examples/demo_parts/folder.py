"""Which files the demo works on."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

#: Folders that hold no work of their owner's.
SKIPPED = {".git", ".venv", ".demo"}


@dataclass(slots=True)
class Listing:
    """The files of a folder, their paths relative to it; and what else was met."""

    tracked: bool = False  # only those that git tracks
    files: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # links, pipes and the like
    unreadable: list[str] = field(default_factory=list)  # folders, each with the reason


def list_files(folder: Path, state: Path) -> Listing:
    """The regular files that git tracks below the folder; without git, all there are.

    Links are not followed. ``state`` is the demo's own folder, which is left out.
    """
    tracked = _tracked(folder)
    if tracked is not None:
        listing = Listing(tracked=True)
        for name in tracked:
            _sort_in(listing, folder, name)
    else:
        listing = Listing()
        _walk(listing, folder, state)
    listing.files.sort()
    return listing


def _tracked(folder: Path) -> list[str] | None:
    """What git tracks there; None if it tracks nothing, or there is no git."""
    try:
        git = subprocess.run(
            ["git", "ls-files", "-z"], cwd=folder, capture_output=True, timeout=60, check=False
        )
    except OSError:
        return None
    # A file in conflict is listed more than once.
    names = dict.fromkeys(os.fsdecode(name) for name in git.stdout.split(b"\0") if name)
    return list(names) if git.returncode == 0 and names else None


def _walk(listing: Listing, folder: Path, state: Path) -> None:
    def unreadable(error: OSError) -> None:
        listing.unreadable.append(f"{error.filename}: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(place)
        listing.left_out += [
            str((here / one).relative_to(folder)) for one in folders if (here / one).is_symlink()
        ]
        folders[:] = [one for one in folders if one not in SKIPPED and here / one != state]
        for name in names:
            _sort_in(listing, folder, str((here / name).relative_to(folder)))


def _sort_in(listing: Listing, folder: Path, name: str) -> None:
    try:
        regular = stat.S_ISREG(os.lstat(folder / name).st_mode)
    except OSError:
        regular = True  # its task will tell what is wrong with it
    (listing.files if regular else listing.left_out).append(name)
