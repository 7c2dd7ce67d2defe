"""The conformance kit: what a backend must do, as cases that anybody can run.

* Authors of backends write a :class:`Harness` (or use :class:`BackendHarness`) and either a
  subclass of :class:`ConformanceSuite` for pytest, or call :func:`run`.
* ``python -m xqueue_core.conformance URL`` runs it on a broker and prints a report.
* ``pytest -p xqueue_core.conformance`` adds reports to a test session.

Cases that do not concern a backend are listed with the reason; none is ever skipped in silence.
"""

from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import Case, all_cases, case, choose, collect
from xqueue_core.conformance.check import Broken
from xqueue_core.conformance.harness import BackendHarness, Harness
from xqueue_core.conformance.left_out import LEFT_OUT
from xqueue_core.conformance.merged import MERGED
from xqueue_core.conformance.plugin import pytest_addoption, pytest_configure
from xqueue_core.conformance.proxy import Proxy
from xqueue_core.conformance.report import Report, Result
from xqueue_core.conformance.run import run, run_cases
from xqueue_core.conformance.suite import ConformanceSuite

__all__ = [
    "LEFT_OUT",
    "MERGED",
    "BackendHarness",
    "Bench",
    "Broken",
    "Case",
    "ConformanceSuite",
    "Harness",
    "Proxy",
    "Report",
    "Result",
    "all_cases",
    "case",
    "choose",
    "collect",
    "pytest_addoption",
    "pytest_configure",
    "run",
    "run_cases",
]
