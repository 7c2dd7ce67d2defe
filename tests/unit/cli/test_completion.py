"""Completion in shells, through what the shells themselves would run."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.cli import Place, data, refused, run

ROOT = Path(__file__).parents[3]


def environ(**more: str) -> dict[str, str]:
    code = [
        str(ROOT),
        str(ROOT / "tests"),
        *map(str, ROOT.glob("backends/*")),
        *map(str, ROOT.glob("plugins/*")),
    ]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(code), **more}


def completed(place: Place, *words: str, seconds: str = "20") -> list[str]:
    """What is offered for the last of the words, if there are these seconds to find out."""
    line = ["xqueue", *words]
    done = subprocess.run(
        [sys.executable, "-m", "xqueue_core.cli"],
        cwd=place.folder,
        env=environ(
            _XQUEUE_COMPLETE="bash_complete",
            COMP_WORDS=" ".join(line),
            COMP_CWORD=str(len(line) - 1),
            _XQUEUE_COMPLETE_SECONDS=seconds,
        ),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [one.partition(",")[2] for one in done.stdout.splitlines() if one]


def test_commands_and_options(place: Place) -> None:
    assert {"task", "top"} <= set(completed(place, "t"))
    assert completed(place, "task", "sh") == ["show"]
    assert completed(place, "nonsense", "sh") == []
    assert "--json" in completed(place, "task", "show", "--")


def test_names_that_the_broker_knows(place: Place) -> None:
    id = place.submit("greet", name="you")
    place.submit("broken")
    place.beat("w~1")
    assert completed(place, "task", "show", "") != []
    assert completed(place, "task", "show", "greet:") == [id]
    assert completed(place, "task", "show", id[:-2]) == [id]
    assert completed(place, "lanes", "pause", "g") == ["greet"]
    assert completed(place, "task", "list", "--type", "") == ["broken", "greet"]
    assert completed(place, "submit", "b") == ["broken"]
    assert completed(place, "workers", "stop", "") == ["w~1"]
    assert completed(place, "lanes", "pause", "--url", "sqlite:///none.db", "g") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_ask_in_their_way(place: Place, shell: str) -> None:
    id = place.submit("greet", name="you")
    done = subprocess.run(
        [sys.executable, "-m", "xqueue_core.cli"],
        cwd=place.folder,
        env=environ(
            _XQUEUE_COMPLETE=f"{shell}_complete",
            _XQUEUE_COMPLETE_SECONDS="20",
            COMP_WORDS=f"xqueue task show {id[:9]}",
            COMP_CWORD=id[:9] if shell == "fish" else "3",
        ),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert id in done.stdout.replace(",", "\n").splitlines()
    assert done.stderr == ""


def test_what_goes_wrong_is_silent_and_makes_nothing(place: Place) -> None:
    assert completed(place, "lanes", "pause", "") == []
    assert completed(place, "lanes", "pause", "--app", "none.py", "") == []
    (place.folder / "loud.py").write_text("print('lane-of-mine')\n1 / 0\n")
    assert completed(place, "lanes", "pause", "--app", "loud.py", "") == []
    assert not list(place.folder.glob("*.db*"))
    (place.folder / "xqueue.toml").write_text("nonsense = 1\n")
    assert completed(place, "lanes", "pause", "") == []


def test_a_broker_that_does_not_answer_is_not_awaited(place: Place) -> None:
    place.submit("greet", name="you")
    (place.folder / "slow.py").write_text("import time\ntime.sleep(30)\n")
    began = time.monotonic()
    assert completed(place, "lanes", "pause", "--app", "slow.py", "", seconds="soon") == []
    with sqlite3.connect(place.file, isolation_level=None) as db:
        db.execute("pragma locking_mode = exclusive")
        db.execute("begin exclusive")
        assert completed(place, "lanes", "pause", "", seconds="0.5") == []
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(place: Place, shell: str) -> None:
    text = run("completion", shell).stdout
    assert f"_XQUEUE_COMPLETE={shell}_complete" in text
    found = data("completion", shell)
    assert set(found) == {"shell", "variable", "install", "script"}
    assert found["script"].strip() == text.strip()


def shell_of(place: Place, shell: str) -> dict[str, str]:
    """The environment of a shell that finds a command `xqueue`, and its script in `script`."""
    (place.folder / "script").write_text(run("completion", shell).stdout)
    command = place.folder / "xqueue"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m xqueue_core.cli "$@"\n')
    command.chmod(0o755)
    path = f"{place.folder}{os.pathsep}{os.environ['PATH']}"
    return environ(_XQUEUE_COMPLETE_SECONDS="20", PATH=path, HOME=str(place.folder))


@pytest.mark.parametrize(("shell", "answer"), [("fish", "plain,{}"), ("zsh", "plain\n{}\n_")])
def test_what_the_script_of_a_shell_asks_for(place: Place, shell: str, answer: str) -> None:
    """As the script does it, for the shell itself may not be there."""
    id = place.submit("greet", name="you")
    script = run("completion", shell).stdout
    assert f"_XQUEUE_COMPLETE={shell}_complete" in script
    words = {
        "fish": {"COMP_WORDS": f"xqueue task show {id[:9]}", "COMP_CWORD": id[:9]},
        "zsh": {"COMP_WORDS": f"xqueue task show {id[:9]}", "COMP_CWORD": "3"},
    }
    done = subprocess.run(
        [sys.executable, "-m", "xqueue_core.cli"],
        cwd=place.folder,
        env=environ(
            _XQUEUE_COMPLETE=f"{shell}_complete", _XQUEUE_COMPLETE_SECONDS="20", **words[shell]
        ),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip() == answer.format(id)


def test_bash_completes_an_id_that_has_a_colon(place: Place) -> None:
    id = place.submit("greet", name="you")
    # As bash does it: words are split by COMP_WORDBREAKS, and what is offered begins behind it.
    token = id.partition(":")[2]
    ask = f"""
    breaks=$COMP_WORDBREAKS
    source ./script
    [[ $COMP_WORDBREAKS == "$breaks" ]] || exit 9
    COMP_LINE="xqueue  task show {id[:10]}"
    COMP_WORDS=(xqueue task show greet : {token[:4]}); COMP_CWORD=5
    _xqueue_completion ./xqueue {token[:4]} :
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", ask],
        cwd=place.folder,
        env=shell_of(place, "bash"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, token), done.stderr


@contextmanager
def bash(place: Place) -> Iterator[Callable[[str, str], str]]:
    """A bash on a terminal: types the first text, and gives what it shows up to the second."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=place.folder,
        env={**shell_of(place, "bash"), "TERM": "dumb", "PS1": "$ ", "COLUMNS": "500"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)

    def typed(text: str, until: str) -> str:
        os.write(ours, text.encode())
        shown = ""
        while until not in shown:  # the test's time-out is the deadline
            shown += os.read(ours, 65536).decode(errors="replace")
        return shown

    try:
        yield typed
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_real_bash(place: Place) -> None:
    id = place.submit("greet", name="you")
    with bash(place) as typed:
        typed("bind 'set bell-style none'; source ./script; echo rea''dy\n", "ready\r\n")
        typed("xqueue worker jo\t", "jobs.py ")
        typed("\x15xqueue stats --app jo\t", "jobs.py ")
        typed(f"\x15xqueue task show {id[:12]}\t", id[12:])
        assert f"xqueue task show {id}" in typed("\x01echo \n", f"\nxqueue task show {id}")
        typed("xqueue lanes pa\t", "pause ")
        typed("gr\t", "greet ")
        typed('\x15echo "[$COMP_WORDBREAKS]"\n', ":]\r\n")


def test_completion_called_wrongly(place: Place) -> None:
    refused("completion", "tcsh", code=2, says="'tcsh' is not one of")
    refused("completion", code=2, says="Missing argument")
