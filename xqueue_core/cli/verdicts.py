"""What became of a command to the broker, as output, error and exit code."""

from __future__ import annotations

from xqueue_core.calls import Did
from xqueue_core.cli.exits import NotFound, WrongState
from xqueue_core.cli.output import Output
from xqueue_core.errors import XQueueError

_WRONG = {
    Did.FINAL: "it has ended already",
    Did.LIVE: "it has not ended",
    Did.DUPLICATE: "another task holds its unique key",
    Did.RUNNING: "it has started",
}


def tell(out: Output, id: str, did: Did, what: str, texts: dict[Did, str]) -> None:
    """Show one verdict on a task.

    Args:
        out: where.
        id: the task.
        did: the verdict.
        what: the command, as in "cannot cancel".
        texts: what to say of the verdicts that are no errors.

    Raises:
        NotFound: there is no such task.
        WrongState: its state does not allow it.
        XQueueError: any other verdict that is not in ``texts``.
    """
    if out.as_json or did in texts:
        out.show({"id": id, "did": did.value}, texts.get(did, ""))
    if did in texts:
        return
    if did is Did.UNKNOWN:
        raise NotFound(f"no record of task {id} is kept, or there never was one")
    if did in _WRONG:
        raise WrongState(f"cannot {what} {id}: {_WRONG[did]}")
    raise XQueueError(f"cannot {what} {id}: {did.value}")
