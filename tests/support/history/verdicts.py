"""What a checker decides: findings with the lines that show them, and what it looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support.history.events import AnyEvent, encode

#: Findings of one decision that are shown; the rest are counted.
SHOWN = 10


@dataclass(slots=True, frozen=True)
class Finding:
    """One thing found, and the events that show it."""

    what: str
    evidence: tuple[AnyEvent, ...] = ()

    def lines(self) -> list[str]:
        """The finding and, indented, its evidence as it stands in the file."""
        return [self.what, *(f"    {encode(one).decode().rstrip()}" for one in self.evidence)]


@dataclass(slots=True)
class Verdict:
    """One decision about a whole run."""

    name: str
    looked_at: int = 0  # how many cases there were to decide: 0 proves nothing
    broken: list[Finding] = field(default_factory=list)  # violations
    excused: list[Finding] = field(default_factory=list)  # explained by what the harness did

    @property
    def ok(self) -> bool:
        """True if nothing is broken."""
        return not self.broken

    def blame(self, what: str, *evidence: AnyEvent) -> None:
        """Record a violation."""
        self.broken.append(Finding(what, evidence))

    def excuse(self, what: str, *evidence: AnyEvent) -> None:
        """Record what looked like one and is explained."""
        self.excused.append(Finding(what, evidence))

    def lines(self) -> list[str]:
        """A line, and below it what is broken."""
        head = (
            f"{'ok    ' if self.ok else 'BROKEN'} {self.name:<12} looked at {self.looked_at}, "
            f"broken {len(self.broken)}, explained {len(self.excused)}"
        )
        shown = [f"    {line}" for one in self.broken[:SHOWN] for line in one.lines()]
        if len(self.broken) > SHOWN:
            shown.append(f"    ... and {len(self.broken) - SHOWN} more")
        return [head, *shown]


@dataclass(slots=True)
class Report:
    """All decisions about a run."""

    verdicts: dict[str, Verdict]

    @property
    def ok(self) -> bool:
        """True if nothing is broken."""
        return all(one.ok for one in self.verdicts.values())

    def __getitem__(self, name: str) -> Verdict:
        return self.verdicts[name]

    def __str__(self) -> str:
        return "\n".join(line for one in self.verdicts.values() for line in one.lines())

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            name: {
                "ok": one.ok,
                "looked_at": one.looked_at,
                "broken": [finding.lines() for finding in one.broken[:SHOWN]],
                "broken_count": len(one.broken),
                "explained": len(one.excused),
            }
            for name, one in self.verdicts.items()
        }
