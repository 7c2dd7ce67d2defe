"""Every snippet of the documentation does what it says; see ``support.docs_page`` for how."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import services
from support import docs_page
from support.docs_page import Snippet, Tally, Wrong, commands, printed, snippets

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])


#: What the virtual environment of `make setup` has beside XQueue: the products that
#: docs/coming-from tells of. They need other versions than we do, so they have one of their own.
THEIRS = Path(sys.prefix) / "theirs" / "bin" / "python"


#: Where pages say that a server of Redis is: one that names it gets a server of its own.
REDIS = "redis://localhost"


@contextmanager
def served(page: Path, folder: Path) -> Iterator[Path]:
    """The page, with a real server where it names one."""
    text = page.read_text(encoding="utf-8")
    if REDIS not in text:
        yield page
        return
    with services.redis("redis7", aof=True) as server:
        copy = folder / page.name
        copy.write_text(text.replace(REDIS, server.url), encoding="utf-8")
        yield copy


def run(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a page in an empty folder, in a process of its own."""
    code = [str(ROOT), *map(str, ROOT.glob("backends/*")), *map(str, ROOT.glob("plugins/*"))]
    return start(
        [sys.executable, "-W", "error", str(docs_page.__file__), str(page)],
        folder,
        PYTHONPATH=os.pathsep.join(code),
        PYTHONWARNINGS="error",
    )


def start(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a new folder, with the scripts of its interpreter in the path."""
    folder.mkdir()
    path = [str(Path(command[0]).parent), os.environ.get("PATH", "")]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join(path), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=290,
        check=False,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_of_the_page_runs(
    page: Path, tmp_path: Path, counted: Callable[[Tally], None]
) -> None:
    with served(page, tmp_path) as whole:
        done = run(whole, tmp_path / "page")
    assert done.returncode == 0, done.stdout
    counted(Tally.said(done.stdout))


def titles(page: Path) -> list[str]:
    """Whose snippets a page has beside ours."""
    found = snippets(page.read_text(encoding="utf-8"))
    return sorted({snippet.title for snippet in found if snippet.title})


def run_theirs(page: Path, title: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the snippets of a page that are another product's, with an interpreter that has it."""
    assert THEIRS.exists(), f"`make setup` installs what {page.name} tells of: {THEIRS}"
    command = [str(THEIRS), str(docs_page.__file__), str(page), title]
    return start(command, folder, PYTHONPATH="")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["celery", "dramatiq", "taskiq"])
def test_the_other_sides_snippets_run_on_its_broker_in_memory(
    name: str, tmp_path: Path, counted: Callable[[Tally], None]
) -> None:
    theirs(name, tmp_path, counted)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["arq", "rq"])
def test_the_other_sides_snippets_are_declared_for_it_needs_redis_to_run(
    name: str, tmp_path: Path, counted: Callable[[Tally], None]
) -> None:
    theirs(name, tmp_path, counted)


def theirs(name: str, folder: Path, counted: Callable[[Tally], None]) -> None:
    """Run the other side of a page of docs/coming-from; it has one."""
    page = ROOT / "docs" / "coming-from" / f"{name}.md"
    [title] = titles(page)
    done = run_theirs(page, title, folder / "page")
    assert done.returncode == 0, done.stdout
    tally = Tally.said(done.stdout)
    assert tally.run > 0
    counted(tally)


def test_every_other_side_is_run() -> None:
    assert {page.stem for page in PAGES if titles(page)} == {
        "arq",
        "celery",
        "dramatiq",
        "rq",
        "taskiq",
    }


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
    assert (done.returncode, done.stdout) == (0, "snippets: 4 run, 2 read, 1 shown\n")


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
        (
            "```console\n$ echo $$ > pid; kill -STOP $$ &\n"
            "$ until [ -s pid ]; do sleep 0.01; done\n$ true; kill -9 $(cat pid)\n```",
            "exit code -9",
        ),
        ("```console\necho one\n```", "begins with"),
        ("```toml\na = \n```", "TOMLDecodeError"),
        ("```json\n{\n```", "JSONDecodeError"),
        ("```bash\ntrue\n```", "the language 'bash' is none of"),
        ("```\ntrue\n```", "the language '' is none of"),
        ("```python hl_lines=1\npass\n```", "the language 'python hl_lines=1' is none of"),
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


TITLED = """
```python title="Other"
import sys
answer = 42
```

```python
assert "answer" not in globals()
```

```python title="Other"
assert answer == 42
```
"""


@pytest.mark.parametrize(("arguments", "count"), [([], 1), (["Other"], 2), (["Third"], 0)])
def test_what_has_a_title_is_run_by_itself(
    tmp_path: Path, arguments: list[str], count: int
) -> None:
    page = tmp_path / "page.md"
    page.write_text(TITLED, encoding="utf-8")
    done = start(
        [sys.executable, str(docs_page.__file__), str(page), *arguments], tmp_path / "page"
    )
    assert (done.returncode, Tally.said(done.stdout)) == (0, Tally(run=count)), done.stdout


KILLED = """
```console
$ sleep 100 &
$ echo $$ > pid; while true; do sleep 0.01; done &
$ until [ -s pid ]; do sleep 0.01; done
$ kill -9 $(cat pid)
```
"""


def test_a_page_may_kill_what_it_runs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(KILLED, encoding="utf-8")
    done = run(page, tmp_path / "page")
    assert done.returncode == 0, done.stdout


def test_a_run_that_says_no_count_is_wrong() -> None:
    assert Tally.said("hello\nsnippets: 1 run, 2 read, 3 shown\n") == Tally(1, 2, 3)
    assert Tally(1, 2, 3) + Tally(run=1) == Tally(2, 2, 3)
    with pytest.raises(Wrong):
        Tally.said("snippets: 1 run, 2 read, 3 shown\nmore\n")


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
