"""A script that starts its worker when it is imported: its children must not start more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, os, threading
from support.apps import make_app
from xqueue_core.worker import Worker

with open(os.environ["LOADED"], "a") as file:
    file.write(f"{__name__}\\n")
app = make_app(os.environ["SCRIPT_URL"], children=1)

@app.task(isolation="process")
async def where() -> int:
    return os.getpid()

async def main():
    await Worker(app).run()

"""

STARTS = {
    "run": "asyncio.run(main())\n",
    "made": "worker = Worker(app)\nasyncio.run(worker.run())\n",
    "in a thread": (
        "one = threading.Thread(target=asyncio.run, args=(main(),))\none.start()\none.join()\n"
        "if __name__ != '__main__': raise SystemExit('no worker')\n"
    ),
}


@pytest.mark.parametrize("how", STARTS)
def test_a_script_without_a_guard_ends_with_the_reason(how: str, tmp_path: Path) -> None:
    script, loaded = tmp_path / "unguarded.py", tmp_path / "loaded"
    script.write_text(SCRIPT + STARTS[how])
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(one for one in sys.path if one),
            "SCRIPT_URL": f"sqlite:///{tmp_path / 'tasks.db'}",
            "LOADED": str(loaded),
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert "this module starts a worker when it is imported by a child of isolation=" in errors
    assert "put that below `if __name__ == '__main__':`" in errors
    assert "ConfigError: isolation='process': a child process cannot load" in errors
    assert process.returncode == (0 if how == "in a thread" else 1)
    assert loaded.read_text().splitlines().count("__main__") == 1
    assert len(loaded.read_text().splitlines()) <= 4
