"""Rows that are not a task's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from xqueue_core.stored import layout
from xqueue_core.stored.records import Row

#: Reads a first row of each kind, and says which classes msgspec looked at for that.
FIRST = """
import sys
from xqueue_core.stored import layout, queue, semaphore
from xqueue_core.stored.listing import _Cursor
from xqueue_core.stored.records import Row

row, looked = Row("k", 1, b"\\x90", "", 0), []

def profile(frame, event, argument):
    if event == "call" and "msgspec" in frame.f_code.co_filename:
        looked.append(frame.f_code.co_name)

class New(layout.msgspec.Struct):
    pass

sys.setprofile(profile)
layout.msgspec.msgpack.Decoder(New)
assert looked, "this does not see it"
looked.clear()
for kind in list(layout._READERS):
    layout.unpack(row, kind)
_Cursor.parse(_Cursor().text)
print(looked)
"""


def test_threads_may_read_their_first_rows_at_once(tmp_path: Path) -> None:
    """All is prepared by then: msgspec crashes where two threads look at one class at once."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_damaged_one_counts_as_absent() -> None:
    for body in (b"", b"Rubbish", b"\xc1"):
        assert layout.unpack(Row("lane/a", 1, body, layout.LANES, 0), layout.LaneRow) is None
    assert layout.unpack(None, layout.LaneRow) is None
