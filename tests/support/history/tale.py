"""Short histories for tests of the checker: a task is a line, and so is what befell a worker."""

from __future__ import annotations

from typing import Any, Literal

from support.history import events as e
from support.history.checker import Report, Terms, check

TERMS = Terms(lease=2.0, heartbeat=0.2, tolerance=0.01)


class Tale:
    """Collects events; :meth:`told` gives the report. Tasks are named by letters."""

    def __init__(self) -> None:
        self.events: list[e.AnyEvent] = []
        self._limits = 0

    def add(self, *events: e.AnyEvent) -> Tale:
        """More events, in any order."""
        self.events += events
        return self

    def submitted(self, id: str, at: float = 1.0, **more: Any) -> Tale:
        """Accepted at this time, due at once unless said otherwise."""
        return self.add(e.Submitted(at=at, id=id, **{"due": at, "lane": "l", **more}))

    def started(self, id: str, at: float, worker: str = "w1", **more: Any) -> Tale:
        """A handler begins: attempt 1, token 1 unless said otherwise."""
        given = {"attempt": 1, "token": 1, "lane": "l", **more}
        return self.add(e.Started(at=at, id=id, worker=worker, **given))

    def ended(
        self,
        id: str,
        at: float,
        token: int = 1,
        how: Literal["returned", "raised", "canceled"] = "returned",
    ) -> Tale:
        """It leaves."""
        return self.add(e.Ended(at=at, id=id, token=token, how=how))

    def ran(self, id: str, begin: float, end: float, worker: str = "w1", **more: Any) -> Tale:
        """It begins and returns."""
        return self.started(id, begin, worker, **more).ended(id, end, more.get("token", 1))

    def found(self, id: str, state: str = "success", **more: Any) -> Tale:
        """As the view shows it at the end."""
        return self.add(e.FinalState(at=1000.0, id=id, state=state, **more))

    def whole(self, id: str, begin: float = 2.0, end: float = 3.0, **more: Any) -> Tale:
        """A task without any trouble."""
        level = {name: more[name] for name in ("lane", "key", "priority") if name in more}
        return self.submitted(id, **level).ran(id, begin, end, **more).found(id)

    def killed(self, worker: str, at: float) -> Tale:
        """SIGKILL, of which it is dead 10 ms later."""
        return self.add(e.Killed(at=at + 0.01, sent=at, worker=worker))

    def stopped(self, worker: str, begin: float, end: float) -> Tale:
        """SIGSTOP, and SIGCONT later."""
        return self.add(e.Stopped(at=begin, worker=worker), e.Continued(at=end, worker=worker))

    def renewed(self, worker: str, *sent: float) -> Tale:
        """Its heartbeats, each acknowledged 10 ms after it was sent."""
        return self.add(
            *(e.Renewed(at=at + 0.01, sent=at, taken=9e8 + at, worker=worker) for at in sent)
        )

    def kept(self, worker: str, *begun: float) -> Tale:
        """The semaphore renews its permits."""
        return self.add(*(e.PermitsRenewed(at=at, worker=worker) for at in begun))

    def cut_off(self, worker: str, begin: float, end: float) -> Tale:
        """The broker is out of this worker's reach; of everybody's if it has no name."""
        return self.add(
            e.OutageBegan(at=begin, worker=worker), e.OutageEnded(at=end, worker=worker)
        )

    def handed_back(
        self, id: str, at: float, token: int = 1, *, ran: bool = True, worker: str = "w1"
    ) -> Tale:
        """The worker's line."""
        return self.add(e.HandedBack(at=at, id=id, token=token, ran=ran, worker=worker))

    def canceled(self, id: str, at: float, did: str = "applied") -> Tale:
        """Asked for, and answered 10 ms later."""
        return self.add(e.CancelAsked(at=at - 0.01, id=id), e.CancelAnswered(at=at, id=id, did=did))

    def limit(self, n: int | None, at: float = 0.0, took: float = 0.0, **place: str) -> Tale:
        """A limit, of lane ``l`` unless said otherwise."""
        place = place or {"lane": "l"}
        return self.add(e.LimitSet(at=at, effective=at + took, limit=n, **place))

    def report(self, terms: Terms = TERMS, **options: Any) -> Report:
        """What the checker says."""
        return check(self.events, terms, **options)

    def broken(self, **options: Any) -> set[str]:
        """Decisions that found a violation, but for the ledger's, which short tales lack."""
        verdicts = self.report(**options).verdicts.values()
        return {one.name for one in verdicts if not one.ok} - {"conserved"}
