"""Programs that count, and what the benchmarks read from them."""

from __future__ import annotations

import json
import os
import sys
import threading

import pytest

from benchmarks.peers.counted import Counted, chunks
from benchmarks.programs import ProgramFailed, Run, parsed, run

LINE = '{"count": 1001, "first_ns": 1000, "last_ns": 2000001000, "cpu": 0.5}'


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_run_knows_its_rate_and_its_cpu() -> None:
    found = parsed(LINE)
    assert found == Run(count=1001, first_ns=1_000, last_ns=2_000_001_000, cpu=0.5)
    assert (found.seconds, found.rate) == (2.0, 500.0)
    assert found.cpu_us == pytest.approx(499.5, abs=0.1)


def test_the_last_line_of_figures_counts() -> None:
    other = LINE.replace("1001", "7")
    assert parsed(f"a banner\n{other}\n{LINE}\nand a last word\n").count == 1001


@pytest.mark.parametrize("output", ["", "nothing\n", "{not json\n", '{"count": 1}\n'])
def test_a_program_without_figures_has_failed(output: str) -> None:
    with pytest.raises(ProgramFailed, match="figures"):
        parsed(output)


def test_a_program_is_run_to_its_end() -> None:
    assert run(python(f"print('{LINE}')"), dict(os.environ), 30) == parsed(LINE)


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(ProgramFailed, match=r"(?s)exit code 1.*ZeroDivisionError"):
        run(python("1 / 0"), dict(os.environ), 30)


def test_a_program_that_does_not_end_is_given_up() -> None:
    with pytest.raises(ProgramFailed, match="not done after"):
        run(python("import time; time.sleep(60)"), dict(os.environ), 0.2)


def test_handlers_are_counted_on_any_thread(capsys: pytest.CaptureFixture[str]) -> None:
    counted = Counted(400, ends=False)

    def hundred() -> None:
        for _ in range(100):
            counted.ran()

    threads = [threading.Thread(target=hundred) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = json.loads(capsys.readouterr().out)
    assert figures["count"] == 400
    assert figures["first_ns"] <= figures["last_ns"]
    assert figures["cpu"] >= 0


def test_a_program_ends_with_its_last_handler() -> None:
    code = "from benchmarks.peers.counted import Counted\nc = Counted(2)\nwhile True: c.ran()"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    assert run(python(code), env, 30).count == 2


@pytest.mark.parametrize(
    ("count", "size", "parts"), [(5, 2, [2, 2, 1]), (4, 2, [2, 2]), (1, 2, [1]), (0, 2, [])]
)
def test_bulk_calls_add_up(count: int, size: int, parts: list[int]) -> None:
    assert chunks(count, size) == parts
