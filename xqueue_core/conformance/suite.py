"""The kit under pytest. Needs no import of it: pytest calls what is here by its name.

An author's whole test module::

    from xqueue_core.conformance import BackendHarness, ConformanceSuite

    class TestMine(ConformanceSuite):
        @classmethod
        def harnesses(cls):
            yield BackendHarness(MyBackend(), lambda namespace, changes: ...)

With ``pytest -p xqueue_core.conformance --conformance-dir build`` a JSON report per backend and
event loop is written, what does not concern a backend is listed with its reason, and a case that
was claimed and did not run fails the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xqueue_core.conformance.cases import Case, choose
from xqueue_core.conformance.check import Broken
from xqueue_core.conformance.harness import Harness
from xqueue_core.conformance.report import Report, Result
from xqueue_core.conformance.run import run_one

if TYPE_CHECKING:
    import pytest

#: Name under which a test hands its result to the recorder.
PROPERTY = "conformance"


class ConformanceSuite:
    """Base of a test class: one test for each case, harness and event loop."""

    @classmethod
    def harnesses(cls) -> Iterable[Harness]:
        """The harnesses to run on; called when tests are collected. To be overridden."""
        raise NotImplementedError(f"{cls.__name__} has no harnesses()")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each case that concerns the harness's backend."""
        if "conformance_case" not in metafunc.fixturenames:
            return
        rows: list[tuple[Harness, str, Case]] = []
        ids: list[str] = []
        for harness in self.harnesses():
            for case in choose(harness).cases:
                for loop in harness.loops:
                    rows.append((harness, loop, case))
                    ids.append(f"{harness.name}-{loop}-{case.id}")
        metafunc.parametrize(("harness", "loop", "conformance_case"), rows, ids=ids)

    def test_case(
        self,
        harness: Harness,
        loop: str,
        conformance_case: Case,
        record_property: Callable[[str, object], None],
    ) -> None:
        """The case holds."""
        result = run_one(harness, conformance_case, loop)
        record_property(PROPERTY, (harness.name, loop, result))
        if not result.passed:
            raise Broken(f"{result.id}: {result.doc}\n{result.message}")


class Recorder:
    """The pytest plugin: gathers results, lists what was not chosen, writes the reports."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.reports: dict[tuple[str, str], Report] = {}
        self.partial = ""

    def pytest_itemcollected(self, item: Any) -> None:
        """Know which cases ought to run."""
        params = getattr(getattr(item, "callspec", None), "params", {})
        if "conformance_case" not in params:
            return
        harness, loop = params["harness"], params["loop"]
        key = harness.name, loop
        if key not in self.reports:
            chosen, not_chosen = choose(harness)
            self.reports[key] = Report(*key, [one.id for one in chosen], not_chosen)

    def pytest_deselected(self, items: list[Any]) -> None:
        """A run by ``-k`` or ``-m`` is a partial one, and its report says so."""
        if any("conformance_case" in getattr(item, "fixturenames", ()) for item in items):
            self.partial = "some cases were deselected"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the result a test has recorded."""
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == PROPERTY and isinstance(value, tuple):
                backend, loop, result = value
                self._add(backend, loop, result)

    def _add(self, backend: str, loop: str, result: Result) -> None:
        self.reports[backend, loop].add(result)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the session if a case that was claimed did not run; write the reports."""
        for report in self.reports.values():
            report.partial = self.partial
            if report.missing and not self.partial and not session.config.option.collectonly:
                session.exitstatus = 1
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"{report.backend}-{report.loop}.json"
                path.write_text(report.json(), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """List what was not chosen, and what did not run."""
        for report in self.reports.values():
            terminalreporter.section(f"conformance of {report.backend} on {report.loop}")
            for line in report.text().splitlines():
                terminalreporter.write_line(line)
