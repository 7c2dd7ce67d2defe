"""The working folder of these tests leaves the import system whole."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from support.cli import Place
from support.modules import forgotten


def imported_by_c(name: str) -> object:
    """A module as an extension module imports it."""
    load = ctypes.pythonapi.PyImport_ImportModule
    load.restype, load.argtypes = ctypes.py_object, [ctypes.c_char_p]
    return load(name.encode())


def test_c_code_may_import_what_nobody_has_imported_yet(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.folder / "only_c_needs_it.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(str(place.folder))
    assert getattr(imported_by_c("only_c_needs_it"), "answer", None) == 42


def test_modules_of_the_folder_are_forgotten_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "mine_alone").mkdir()
    (tmp_path / "mine_alone" / "part.py").write_text("")
    path, known = [*sys.path], {*sys.modules}
    with forgotten(tmp_path):
        sys.path.insert(0, str(tmp_path))
        imported_by_c("mine_alone.part")
        assert "mine_alone.part" in sys.modules
    assert sys.path == path
    assert known <= {*sys.modules}
    assert not {"mine_alone", "mine_alone.part"} & {*sys.modules}
