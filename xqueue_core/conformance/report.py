"""What a run found, as data, as JSON and as text."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from xqueue_core.abc import API
from xqueue_core.conformance.badge import badge_data
from xqueue_core.conformance.cases import all_cases, sort_key
from xqueue_core.conformance.left_out import LEFT_OUT
from xqueue_core.conformance.merged import not_built


@dataclass(frozen=True, slots=True)
class Result:
    """One case that ran."""

    id: str
    passed: bool
    seconds: float
    doc: str = ""
    message: str = ""  # why it failed


@dataclass(slots=True)
class Report:
    """One run of the kit on one backend and event loop.

    Attributes:
        backend: the harness's name.
        loop: the event loop.
        chosen: ids of the cases that concern the backend; each has to have run.
        not_chosen: the others, with the reason.
    """

    backend: str
    loop: str
    chosen: list[str]
    not_chosen: dict[str, str]
    results: dict[str, Result] = field(default_factory=dict)
    partial: str = ""  # why only part of the list was asked for
    seconds: float | None = None  # by the clock on the wall; None: not measured

    def add(self, result: Result) -> None:
        """Record a result; a case that ran twice has passed if it passed both times."""
        before = self.results.get(result.id)
        if before is None or before.passed:
            self.results[result.id] = result

    @property
    def missing(self) -> list[str]:
        """Cases that were claimed and did not run: a failure."""
        return [id for id in self.chosen if id not in self.results]

    @property
    def failed(self) -> list[Result]:
        """What failed, in order."""
        return sorted(
            (one for one in self.results.values() if not one.passed),
            key=lambda one: sort_key(one.id),
        )

    @property
    def not_built(self) -> dict[str, str]:
        """What of the merged list is no case of the kit yet, and not left out for good."""
        return not_built(one.id for one in all_cases())

    @property
    def ok(self) -> bool:
        """True if every case that concerns the backend ran and passed."""
        return not self.failed and not self.missing and not self.partial

    def data(self) -> dict[str, Any]:
        """The report as JSON types."""
        return {
            "backend": self.backend,
            "loop": self.loop,
            "ok": self.ok,
            "partial": self.partial,
            "api": API,
            "xqueue": _version(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "seconds": self.seconds,
            "results": [asdict(self.results[id]) for id in sorted(self.results, key=sort_key)],
            "missing": self.missing,
            "not_chosen": self.not_chosen,
            "left_out": dict(LEFT_OUT),
            "not_built": self.not_built,
            "badge": badge_data(self),
        }

    def json(self) -> str:
        """The report as a JSON document."""
        return json.dumps(self.data(), indent=2)

    def text(self, *, brief: bool = False) -> str:
        """The report for people: what failed, what does not concern the backend, the sum.

        If it is ``brief``, without what was never meant to run.
        """
        return "\n".join(self._lines(brief))

    def _lines(self, brief: bool) -> Iterable[str]:
        for one in self.failed:
            yield f"FAILED {one.id}: {one.doc}"
            yield from (f"    {line}" for line in one.message.splitlines())
        for id in [] if self.partial else self.missing:
            yield f"NOT RUN {id}, although the backend claims it"
        if self.partial:
            yield f"PARTIAL: {self.partial}"
        if not brief:
            for reason, ids in self._by_reason().items():
                yield f"not chosen, as {reason}: {', '.join(ids)}"
            for id, reason in LEFT_OUT.items():
                yield f"left out {id}: {reason}"
            for id, about in self.not_built.items():
                yield f"not built yet {id}: {about}"
        yield self.summary()

    def _by_reason(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for id, reason in self.not_chosen.items():
            found.setdefault(reason, []).append(id)
        return found

    def advice(self) -> str:
        """What to do about cases that failed in a run of the command; "" if none did."""
        if not self.failed:
            return ""
        first = self.failed[0].id
        return (
            f"`--only {first}` runs a case alone; what passes then was late: on a slow or busy "
            "machine fewer --at-once and a higher --time-scale give it time"
        )

    def summary(self) -> str:
        """One line."""
        passed = sum(one.passed for one in self.results.values())
        seconds = self.seconds
        if seconds is None:  # pytest runs them: one after another
            seconds = sum(one.seconds for one in self.results.values())
        return (
            f"{self.backend} on {self.loop}: {passed} of {len(self.chosen)} cases passed, "
            f"{len(self.failed)} failed, {len(self.missing)} not run, "
            f"{len(self.not_chosen)} not chosen, {len(LEFT_OUT)} left out, {seconds:.1f} s"
        )


def _version() -> str:
    try:
        return version("xqueue-core")
    except PackageNotFoundError:
        return "from source"
