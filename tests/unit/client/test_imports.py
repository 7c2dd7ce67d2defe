"""What importing the package loads, and that making an app reads nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import xqueue_core

#: Run in a fresh interpreter, in a folder whose settings are all wrong.
CHILD = """
import sys
from xqueue_core import Context, Handle, RetryPolicy, State, XQueue, as_completed

app = XQueue(concurrency="none", nonsense={"a": 1})

@app.task
async def handler(ctx: Context, path: str) -> str: ...

handler.options(priority=3).call("a.png")
heavy = {"pydantic", "pydantic_settings", "stevedore", "anyio", "click", "rich", "cronsim"}
print(sorted(heavy & set(sys.modules)))
"""


def test_importing_and_declaring_loads_nothing_heavy_and_reads_nothing(tmp_path: Path) -> None:
    (tmp_path / "xqueue.toml").write_text("this is no TOML", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(xqueue_core.__file__).parents[1]), "XQUEUE_URL": "wrong"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_every_public_name_is_there() -> None:
    for name in xqueue_core.__all__:
        assert getattr(xqueue_core, name) is not None
    assert set(xqueue_core.__all__) <= set(dir(xqueue_core))
    assert not hasattr(xqueue_core, "nonsense")
