"""The example with Django: its own tests, and the whole of it by hand with a real worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "examples" / "django_site"
CODE = [SITE, ROOT, *ROOT.glob("backends/*")]

pytestmark = pytest.mark.timeout(180)

SIGN_UP = """
import asyncio, django
django.setup()
from django.test import AsyncClient, Client
ann = {"name": "ann", "email": "ann@example.org"}
answer = Client().post("/sign-up", ann)
assert answer.status_code == 202, answer.content
assert Client().post("/sign-up", ann).status_code == 409

async def status():
    from website.jobs import app
    async with app:
        found = await AsyncClient().get(f"/tasks/{answer.json()['task']}")
    return found.json()

print(asyncio.run(status())["state"])
"""
STATUS = """
import asyncio, django
django.setup()
from django.test import Client
from website.jobs import app
print(Client().get("/tasks/welcome:user-1").json())
print(app.sync.handle("welcome:user-1").result(timeout=0.5))
"""


def run(folder: Path, *arguments: str) -> str:
    """What Python prints for these arguments, as the site's developer would run it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, CODE)),
            "DJANGO_SETTINGS_MODULE": "website.settings",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_tests_of_the_site_pass(tmp_path: Path) -> None:
    said = run(tmp_path, str(SITE / "manage.py"), "test", "website")
    ran = re.search(r"Ran (\d+) tests", said)
    assert ran is not None, said
    assert int(ran[1]) == (SITE / "website" / "tests.py").read_text("utf-8").count("def test_")


def test_by_hand_with_a_worker(tmp_path: Path) -> None:
    run(tmp_path, str(SITE / "manage.py"), "migrate", "--verbosity", "0")
    assert run(tmp_path, "-c", SIGN_UP).split() == ["pending"]
    worker = ("-m", "xqueue_core.cli", "worker", "website.worker:app", "--burst")
    run(tmp_path, *worker)
    [mail] = (tmp_path / "mails").iterdir()
    assert "Hello ann!" in mail.read_text("utf-8")
    found, result = run(tmp_path, "-c", STATUS).splitlines()
    assert "'state': 'success'" in found
    assert result == "ann@example.org"
