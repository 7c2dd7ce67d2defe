"""Every snippet of the documentation does what it says; see ``support.docs_page`` for how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import docs_page
from support.docs_page import Snippet, Wrong, commands, printed, snippets

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])


def run(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a page in an empty folder, in a process of its own."""
    folder.mkdir()
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    code = [str(ROOT), *map(str, ROOT.glob("backends/*"))]
    return subprocess.run(
        [sys.executable, "-W", "error", str(docs_page.__file__), str(page)],
        cwd=folder,
        env={
            **os.environ,
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": os.pathsep.join(code),
            "PYTHONWARNINGS": "error",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=170,
        check=False,
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_of_the_page_runs(page: Path, tmp_path: Path) -> None:
    done = run(page, tmp_path / "page")
    assert done.returncode == 0, done.stdout


# -- the runner itself -------------------------------------------------------------------------

FINE = """
`jobs.py`:

```python
answer = 42
```

```python
import asyncio
from jobs import answer

async def later() -> int:
    await asyncio.sleep(0)
    return answer

assert await later() == 42
```

```python
assert asyncio.run(later()) == answer
```

`some/more.txt`:

```text
hello
```

```console
$ cat some/more.txt
hello
$ sleep 100 &
$ python -c 'import jobs; print("it is", jobs.answer, \\
    "of course")'
it is ... of course
```

```toml
a = 1
```

```text
rm -rf /
```
"""


def test_a_page_that_is_right(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(FINE, encoding="utf-8")
    done = run(page, tmp_path / "page")
    assert (done.returncode, done.stdout) == (0, "")


#: Ends with 4 when it is told to end.
STUBBORN = "trap 'exit 4' TERM; touch ready; while true; do sleep 0.01; done"


@pytest.mark.parametrize(
    ("snippet", "complaint"),
    [
        ("```python\nassert 1 == 2\n```", "AssertionError"),
        ("```python\nawait None\n```", "TypeError"),
        ("```python\nraise SystemExit(0)\n```", "SystemExit"),
        ("`job.py`:\n\n```python\n1 / 0\n```", "ZeroDivisionError"),
        ("```console\n$ false\n```", "exit code 1"),
        ("```console\n$ false | cat; exit 3\n```", "exit code 3"),
        ("```console\n$ echo one\ntwo\n```", "the page says"),
        (
            f"```console\n$ {STUBBORN} &\n$ until [ -e ready ]; do sleep 0.01; done\n```",
            "exit code 4",
        ),
        ("```console\necho one\n```", "begins with"),
        ("```toml\na = \n```", "TOMLDecodeError"),
        ("```json\n{\n```", "JSONDecodeError"),
        ("```bash\ntrue\n```", "the language 'bash' is none of"),
        ("```\ntrue\n```", "the language '' is none of"),
        ("```python\npass\n", "has no end"),
    ],
)
def test_a_page_that_is_wrong(tmp_path: Path, snippet: str, complaint: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{snippet}\n", encoding="utf-8")
    done = run(page, tmp_path / "page")
    assert done.returncode == 1, done.stdout
    assert complaint in done.stdout
    assert "line " in done.stdout


def test_snippets_know_their_lines_and_files() -> None:
    text = "a\n\n`x.py`:\n\n```python\npass\n```\n\n`x.py`: more\n\n  ````text\n  ```\n  ````\n"
    assert list(snippets(text)) == [
        Snippet(6, "python", "pass\n", "x.py"),
        Snippet(12, "text", "```\n", ""),
    ]


def test_commands_and_what_they_print() -> None:
    console = Snippet(1, "console", "$ a \\\n  b\n1\n2\n$ c\n", "")
    assert list(commands(console)) == [("a   b", "1\n2\n"), ("c", "")]
    with pytest.raises(Wrong):
        list(commands(Snippet(1, "console", "", "")))


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("", "anything", True),
        ("a\nb", "a  b\n", True),
        ("a b", "a b c", False),
        ("a ... c", "a b c", True),
        ("...", "", True),
        ("a.c", "abc", False),
    ],
)
def test_what_was_printed_is_compared(expected: str, output: str, same: bool) -> None:
    assert printed(expected, output) is same
