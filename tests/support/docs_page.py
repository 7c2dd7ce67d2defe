"""Runs every snippet of a page, in order: ``python docs_page.py PAGE`` in an empty folder.

The last line that it prints says how many there were; see ``Tally``. How a snippet is run depends
on its language, so that a page needs no marks of its own:

* ``python`` runs in one namespace for the whole page; ``await`` may stand at its top.
* ``console`` holds commands behind ``$``, with what they print; ``...`` stands for anything.
  A command that ends with ``&`` runs in the background until the page ends, or until a command
  of the page kills it by ``kill -9``.
* Any snippet right below a line such as "`jobs.py`:" is that file; Python's are imported.
* ``toml`` and ``json`` are parsed. The languages of ``NOT_RUN`` are only shown; others, and
  snippets without a language, are errors.
* One with a title (```` ```python title="Celery" ````) is about another product. It is left out
  here, and run by ``python docs_page.py PAGE Celery``, by an interpreter that has that product.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

NOT_RUN = ("text", "mermaid", "sql", "yaml", "ini", "lua", "dockerfile")
#: Seconds for one command of a console.
LONGEST = 60.0

_FENCE = re.compile(r"^( *)(`{3,})(.*)$")
_TITLED = re.compile(r'([a-z]+) title="([^"]+)"')
_FILE = re.compile(r"^`([\w./-]+)`:$")


class Wrong(Exception):
    """A snippet does not do what the page says."""


class Snippet(NamedTuple):
    """One fenced block."""

    line: int  #: of its first line, in the page
    language: str
    text: str
    file: str  #: name of the file it is, or ""
    title: str = ""  #: whose it is, or "": ours


@dataclass
class Tally:
    """How many snippets there were, by what became of them."""

    run: int = 0  #: Python, commands, files of Python
    read: int = 0  #: parsed, or written as a file for what follows
    shown: int = 0  #: of a language that is not run

    def count(self, snippet: Snippet) -> None:
        """Note one that went well."""
        if snippet.language in ("python", "console"):
            self.run += 1
        elif snippet.file or snippet.language not in NOT_RUN:
            self.read += 1
        else:
            self.shown += 1

    def __str__(self) -> str:
        return f"snippets: {self.run} run, {self.read} read, {self.shown} shown"

    @classmethod
    def said(cls, output: str) -> Tally:
        """What a run of a page said in its last line. Raises Wrong if it said nothing."""
        found = re.search(
            r"^snippets: (\d+) run, (\d+) read, (\d+) shown\Z", output.strip(), re.MULTILINE
        )
        if found is None:
            raise Wrong(f"no count of snippets: {output}")
        return cls(*map(int, found.groups()))

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.run + other.run, self.read + other.read, self.shown + other.shown)


def snippets(page: str) -> Iterator[Snippet]:
    """The fenced blocks of a page. Raises Wrong if one has no end."""
    lines = page.splitlines()
    number, before = 0, ""
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        if fence is None:
            before = lines[number - 1].strip() or before
            continue
        indent, ticks, language = fence.groups()
        start = number
        while number < len(lines) and lines[number].strip() != ticks:
            number += 1
        if number == len(lines):
            raise Wrong(f"line {start}: this snippet has no end")
        text = "".join(line.removeprefix(indent) + "\n" for line in lines[start:number])
        file = _FILE.match(before)
        titled = _TITLED.fullmatch(language.strip())
        spoken, title = titled.groups() if titled else (language.strip(), "")
        yield Snippet(start + 1, spoken, text, file[1] if file else "", title)
        number, before = number + 1, ""


class Page:
    """The state in which the snippets of a page run: a folder, a namespace, an event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Among the loaded modules, for libraries look there for where a function is from.
        module = sys.modules["__page__"] = ModuleType("__page__")
        self._namespace = module.__dict__
        self._runner = asyncio.Runner()
        self._background: list[tuple[Snippet, subprocess.Popen[str]]] = []
        self._kills = False  # a command of the page has killed something

    def run(self, snippet: Snippet) -> None:
        """Run one snippet. Raises whatever goes wrong."""
        if snippet.file:
            self._write(snippet)
        elif snippet.language == "python":
            self._python(snippet)
        elif snippet.language == "console":
            self._console(snippet)
        elif snippet.language not in NOT_RUN:
            parse(snippet)

    def close(self) -> None:
        """End what runs in the background. Raises Wrong if it does not end as it should."""
        self._runner.close()
        endings = (_ended(*one, self._kills) for one in self._background)
        problems = [problem for problem in endings if problem]
        if problems:
            raise Wrong("\n".join(problems))

    def _write(self, snippet: Snippet) -> None:
        path = self._folder / snippet.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(snippet.text, encoding="utf-8")
        if path.suffix != ".py":
            if snippet.language not in (*NOT_RUN, "console"):
                parse(snippet)
            return
        name = ".".join(path.relative_to(self._folder).with_suffix("").parts)
        name = name.removesuffix(".__init__")
        top = name.partition(".")[0]
        for known in [one for one in sys.modules if one.partition(".")[0] == top]:
            del sys.modules[known]  # an earlier version, or the package without this file
        importlib.invalidate_caches()
        importlib.import_module(name)

    def _python(self, snippet: Snippet) -> None:
        # Empty lines in front, so that errors name the line of the page.
        text = "\n" * (snippet.line - 1) + snippet.text
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(text, "page", "exec", flags=flags, dont_inherit=True)
        waiting = eval(code, self._namespace)
        if waiting is not None:
            self._runner.run(waiting)

    def _console(self, snippet: Snippet) -> None:
        for command, expected in commands(snippet):
            shell = ["bash", "-e", "-c", command.removesuffix("&")]
            if command.endswith("&"):
                process = subprocess.Popen(
                    shell, cwd=self._folder, text=True, start_new_session=True
                )
                self._background.append((snippet, process))
                continue
            done = subprocess.run(
                shell,
                cwd=self._folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=LONGEST,
                check=False,
            )
            if done.returncode:
                raise Wrong(f"$ {command}\n{done.stdout}exit code {done.returncode}")
            self._kills |= command.startswith("kill -9 ")
            if not printed(expected, done.stdout):
                raise Wrong(f"$ {command}\nprinted\n{done.stdout}and the page says\n{expected}")


def parse(snippet: Snippet) -> None:
    """Check the form of a snippet that is data. Raises Wrong for a language that is not known."""
    if snippet.language == "toml":
        tomllib.loads(snippet.text)
    elif snippet.language == "json":
        json.loads(snippet.text)
    else:
        known = ", ".join(("python", "console", "toml", "json", *NOT_RUN))
        raise Wrong(f"the language {snippet.language!r} is none of {known}")


def commands(snippet: Snippet) -> Iterator[tuple[str, str]]:
    """The commands of a console, each with what it should print. Raises Wrong if it has none."""
    first, *parts = re.split(r"^\$ ", snippet.text, flags=re.MULTILINE)
    if first or not parts:
        raise Wrong("a console begins with `$ ` and a command")
    for part in parts:
        command, _, expected = part.replace("\\\n", "").partition("\n")
        yield command.strip(), expected


def printed(expected: str, output: str) -> bool:
    """True if the output is what was expected, up to white space; ``...`` is anything."""
    if not expected.strip():
        return True
    parts = [re.escape(" ".join(part.split())) for part in expected.split("...")]
    return re.fullmatch(".*".join(parts), " ".join(output.split())) is not None


def _ended(snippet: Snippet, process: subprocess.Popen[str], kills: bool) -> str:
    """Ask a background command to end; "" if it did, or was killed by the page that kills."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        code = process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"line {snippet.line}: it did not end when it was told to"
    ended = [0, -signal.SIGTERM, 128 + signal.SIGTERM]
    if kills:
        ended += [-signal.SIGKILL, 128 + signal.SIGKILL]
    return "" if code in ended else f"line {snippet.line}: exit code {code}"


def main(path: Path, title: str = "") -> int:
    """Run the page in the working folder, or what has this title; 1 if a snippet failed."""
    folder = Path.cwd()
    sys.path.insert(0, str(folder))
    page, tally = Page(folder), Tally()
    code = 0
    try:
        for snippet in snippets(path.read_text(encoding="utf-8")):
            if snippet.title != title:
                continue
            try:
                page.run(snippet)
            except (Exception, SystemExit):
                print(f"{path.name}, snippet at line {snippet.line}:", file=sys.stderr)
                raise
            tally.count(snippet)
    except (Exception, SystemExit):
        traceback.print_exc()
        code = 1
    finally:
        try:
            page.close()
        except Wrong as wrong:
            print(f"{path.name}, in the background: {wrong}", file=sys.stderr)
            code = 1
    print(tally, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
