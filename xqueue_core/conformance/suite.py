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
from xqueue_core.conformance.run import run_cases

if TYPE_CHECKING:
    import pytest

#: Name under which a test hands its result to the recorder.
PROPERTY = "conformance"


class Batch:
    """The cases of one harness and event loop that this session runs, some at a time.

    They wait more than they work, so that together they take a fraction of the time.
    """

    def __init__(self, harness: Harness, loop: str, at_once: int) -> None:
        self.harness = harness
        self.loop = loop
        self.at_once = at_once
        self._results: dict[str, Result] = {}

    def result(self, case: Case, session: Any) -> Result:
        """The case's result; the first one asked for runs everything the session selected."""
        if case.id not in self._results:
            found = (getattr(item, "callspec", None) for item in session.items)
            mine = [one.params for one in found if one and one.params.get("batch") is self]
            cases = [params["conformance_case"] for params in mine]
            results = run_cases(self.harness, cases, self.loop, self.at_once)
            self._results |= {one.id: one for one in results}
        return self._results[case.id]


class ConformanceSuite:
    """Base of a test class: one test for each case, harness and event loop.

    Attributes:
        at_once: how many cases run at the same time, each in its own namespace.
    """

    at_once = 1

    @classmethod
    def harnesses(cls) -> Iterable[Harness]:
        """The harnesses to run on; called when tests are collected. To be overridden."""
        raise NotImplementedError(f"{cls.__name__} has no harnesses()")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each case that concerns the harness's backend."""
        if "conformance_case" not in metafunc.fixturenames:
            return
        rows: list[tuple[Batch, Case]] = []
        ids: list[str] = []
        for harness in self.harnesses():
            cases = choose(harness).cases
            for loop in harness.loops:
                batch = Batch(harness, loop, self.at_once)
                rows += [(batch, case) for case in cases]
                ids += [f"{harness.name}-{loop}-{case.id}" for case in cases]
        metafunc.parametrize(("batch", "conformance_case"), rows, ids=ids)

    def test_case(
        self,
        batch: Batch,
        conformance_case: Case,
        request: pytest.FixtureRequest,
        record_property: Callable[[str, object], None],
    ) -> None:
        """The case holds."""
        result = batch.result(conformance_case, request.session)
        record_property(PROPERTY, (batch.harness.name, batch.loop, result))
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
        batch: Batch = params["batch"]
        key = batch.harness.name, batch.loop
        if key not in self.reports:
            chosen, not_chosen = choose(batch.harness)
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
