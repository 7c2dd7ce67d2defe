"""Installs the wheel and a foreign backend into a clean environment, and tries them there.

``python tests/third_party/run.py``: exit code 0 only if the backend was found by its entry
point, passed the whole conformance kit and ran tasks through a worker. Reports of the kit go to
the folder named by ``CONFORMANCE_DIR``, by default to a temporary one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.trial import ROOT, Failed, Trial  # noqa: E402 - it must be found first

FOREIGN = HERE / "logfile"

LIST = """
import sys
import xqueue_core
assert xqueue_core.__file__.startswith(sys.prefix), "the wheel is tested, not the source tree"
from xqueue_core.plugins import BACKENDS, list_plugins
found = {plugin.name: plugin for plugin in list_plugins(BACKENDS)}
assert found["logfile"].distribution == "xqueue-logfile", found
assert "xqueue_logfile" not in sys.modules, "listing must not import a plugin"
print(*(f"{plugin.name} ({plugin.distribution} {plugin.version})" for plugin in found.values()))
"""

APP = """
import os
from xqueue_core import XQueue

app = XQueue()

@app.task(max_retry=1)
async def double(number: int) -> list[int]:
    return [2 * number, os.getpid()]
"""

SUBMIT = """
import asyncio
from app import app, double

async def main() -> None:
    async with app:
        await app.submit_many(double.options(id=f"t{n}").call(n) for n in range(25))

asyncio.run(main())
"""

READ = """
import asyncio, os
from app import app

async def main() -> None:
    async with app:
        answers = [await app.handle(f"double:t{n}").result(timeout=10) for n in range(25)]
    assert [double for double, _ in answers] == [2 * n for n in range(25)], answers
    workers = {pid for _, pid in answers}
    assert len(workers) == 1 and os.getpid() not in workers, workers
    print("25 results, all by one worker in another process")

asyncio.run(main())
"""


def install(trial: Trial) -> None:
    """Build both wheels and install them, with their dependencies, into a new environment."""
    trial.install(*(trial.wheel(source) for source in (ROOT, FOREIGN)))


def try_out(trial: Trial, reports: Path) -> None:
    """List the plugins, run the kit, run tasks: each in processes of the new environment."""
    print(trial.step("list the backends", trial.python("-c", LIST), 30))
    kit = trial.python(str(FOREIGN / "kit.py"), str(reports))
    print(trial.step("run the conformance kit", kit, 400))
    for name, text in {"app.py": APP, "submit.py": SUBMIT, "read.py": READ}.items():
        (trial.folder / name).write_text(text, encoding="utf-8")
    url = "logfile:///queue"
    trial.step("submit in one process", trial.python("submit.py"), 60, XQUEUE_URL=url)
    worker = [str(trial.bin / "xqueue"), "worker", "--burst", "app.py"]
    trial.step("work in another", worker, 60, XQUEUE_URL=url)
    print(trial.step("read in a third", trial.python("read.py"), 60, XQUEUE_URL=url))


def main() -> int:
    """Do it all; 1 if anything failed."""
    with tempfile.TemporaryDirectory(prefix="xqueue-third-party-") as folder:
        trial = Trial("third party", Path(folder))
        reports = Path(os.environ.get("CONFORMANCE_DIR") or folder).resolve()
        try:
            reports.mkdir(parents=True, exist_ok=True)
            install(trial)
            try_out(trial, reports)
        except Failed as failed:
            print(f"third party: FAILED to {failed}", file=sys.stderr)
            return 1
    print("third party: a foreign backend is found, passes the kit and runs tasks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
