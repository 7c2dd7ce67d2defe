"""What the state machine is to do, written down by hand: the table that the tests walk.

A cell is a verdict alone if nothing changes, else ``verdict > state event`` and how attempt
(``a``) and losses (``l``) change, where they do. ``none`` is the state of an expunged task.
"""

from __future__ import annotations

OLD = ("old-success", "old-failed")
GROUPS = {
    "WAITING": (
        *("scheduled", "due", "late", "pending", "overdue", "replayed", "revived"),
        *("parked", "stuck"),
    ),
    "RUNNING": ("processing", "last", "losing"),
    "TOLD": ("told", "last+told", "losing+told", "marked"),
    "FINAL": (*("success", "failed", "canceled", "told-success", "timeout", "failed-again"), *OLD),
    "AWAY": ("moving", "moved"),
}

#: Command -> lines of ``situations and groups: cell``.
WISHES = {
    "Accept": """
        absent: applied > pending accepted
        WAITING RUNNING TOLD FINAL AWAY: duplicate
    """,
    "Accept (delay)": """
        absent: applied > scheduled accepted
        WAITING RUNNING TOLD FINAL AWAY: duplicate
    """,
    "Accept (line)": """
        absent: applied > parked accepted
        WAITING RUNNING TOLD FINAL AWAY: duplicate
    """,
    "Promote": """
        absent: unknown
        scheduled: early
        due late: applied > pending due
        pending overdue replayed revived parked stuck RUNNING TOLD FINAL: idle
        AWAY: moved
    """,
    "Promote (line)": """
        absent: unknown
        scheduled: early
        due late: applied > parked due
        pending overdue replayed revived parked stuck RUNNING TOLD FINAL: idle
        AWAY: moved
    """,
    "Lease": """
        absent: unknown
        scheduled due late: early
        pending replayed revived: applied > processing leased a+1
        overdue: expired > timeout finished
        parked stuck RUNNING TOLD FINAL: idle
        AWAY: moved
    """,
    "Lose (other token)": """
        absent WAITING RUNNING TOLD FINAL: lost
        AWAY: moved
    """,
    "Leave": """
        absent: unknown
        parked stuck: applied > pending unparked
        scheduled due late pending overdue replayed revived RUNNING TOLD FINAL: idle
        AWAY: moved
    """,
    "Cancel": """
        absent: unknown
        WAITING: applied > canceled finished
        RUNNING: requested > processing cancel_requested
        TOLD: requested
        FINAL: final
        AWAY: moved
    """,
    "Cancel (same request)": """
        absent: unknown
        scheduled due late pending overdue replayed parked stuck: applied > canceled finished
        RUNNING: requested > processing cancel_requested
        TOLD told-success: requested
        revived canceled: applied
        success failed timeout failed-again old-success old-failed: final
        AWAY: moved
    """,
    "Replay": """
        absent: unknown
        WAITING RUNNING TOLD: live
        FINAL: applied > pending replayed a=0 l=0
        AWAY: moved
    """,
    "Replay (delay)": """
        absent: unknown
        WAITING RUNNING TOLD: live
        FINAL: applied > scheduled replayed a=0 l=0
        AWAY: moved
    """,
    "Replay (same request)": """
        absent: unknown
        replayed failed-again: repeated
        scheduled due late pending overdue revived parked stuck RUNNING TOLD: live
        success failed canceled told-success timeout: applied > pending replayed a=0 l=0
        old-success old-failed: applied > pending replayed a=0 l=0
        AWAY: moved
    """,
    "Reschedule (later)": """
        absent: unknown
        WAITING: applied > scheduled rescheduled
        RUNNING TOLD: running
        FINAL: final
        AWAY: moved
    """,
    "Reschedule (now)": """
        absent: unknown
        scheduled due late pending overdue replayed revived: applied > pending rescheduled
        parked stuck: applied > parked rescheduled
        RUNNING TOLD: running
        FINAL: final
        AWAY: moved
    """,
    "Purge": """
        absent: unknown
        WAITING: applied > canceled finished
        RUNNING: requested > processing cancel_requested
        TOLD: requested
        FINAL: applied > none expunged
        AWAY: moved
    """,
    "Purge (same request)": """
        absent: unknown
        scheduled due late pending overdue replayed parked stuck: applied > canceled finished
        RUNNING: requested > processing cancel_requested
        TOLD told-success: requested
        revived canceled: applied
        success failed timeout failed-again old-success old-failed: applied > none expunged
        AWAY: moved
    """,
    "Expire": """
        absent: unknown
        scheduled due pending replayed revived parked: early
        late overdue stuck: applied > timeout finished
        RUNNING TOLD FINAL: idle
        AWAY: moved
    """,
    "Expunge": """
        absent: unknown
        WAITING RUNNING TOLD: live
        success failed canceled told-success timeout failed-again: early
        old-success old-failed: applied > none expunged
        AWAY: moved
    """,
    "MarkDuplicate": """
        absent: unknown
        WAITING: applied > canceled finished
        RUNNING told last+told losing+told: requested > processing cancel_requested
        marked: requested
        FINAL: final
        AWAY: moved
    """,
}

_CANCELED = "applied > canceled finished"

#: Outcome -> cells for the current token of a running task: while attempts are left, at the
#: last one, and after a cancel was requested (with attempts left or not).
OUTCOMES = {
    "Success": ["applied > success finished"] * 3,
    "Failed": ["applied > failed finished"] * 2 + [_CANCELED],
    "RetryAt": ["applied > scheduled retry", "applied > failed finished", _CANCELED],
    "RetryAt (now)": ["applied > pending retry", "applied > failed finished", _CANCELED],
    "RetryAt (timed out)": ["applied > scheduled retry", "applied > timeout finished", _CANCELED],
    "TimedOut": ["applied > timeout finished"] * 2 + [_CANCELED],
    "HandBack": ["applied > pending handed_back a-1"] * 2 + [_CANCELED],
    "HandBack (ran)": [
        "applied > pending handed_back",
        "applied > pending handed_back a-1",
        _CANCELED,
    ],
    "HandBack (unable)": ["applied > scheduled handed_back a-1"] * 2 + [_CANCELED],
    "Parked": ["applied > parked parked a-1"] * 2 + [_CANCELED],
    "Canceled": [_CANCELED] * 3,
}

#: Loss of the current token.
LOSSES = {
    "processing": "applied > pending lost a-1 l+1",
    "last": "applied > pending lost a-1 l+1",
    "losing": "applied > failed finished a-1 l+1",
    "told": "applied > canceled finished a-1 l+1",
    "last+told": "applied > canceled finished a-1 l+1",
    "losing+told": "applied > canceled finished a-1 l+1",
    "marked": "applied > canceled finished a-1 l+1",
}

#: The same, if its worker had said that it waits: no loss.
WAITED = {
    "processing": "applied > pending handed_back a-1",
    "last": "applied > pending handed_back a-1",
    "losing": "applied > pending handed_back a-1",
    "told": "applied > canceled finished a-1",
    "last+told": "applied > canceled finished a-1",
    "losing+told": "applied > canceled finished a-1",
    "marked": "applied > canceled finished a-1",
}


def cells(command: str) -> dict[str, str]:
    """Situation -> cell for one command of :data:`WISHES`."""
    found: dict[str, str] = {}
    for line in WISHES[command].strip().splitlines():
        where, _, cell = line.strip().partition(": ")
        for name in _situations(where):
            assert name not in found, f"{command}: {name} is decided twice"
            found[name] = cell
    return found


def _situations(where: str) -> list[str]:
    """The situations that a line is about."""
    return [one for name in where.split() for one in GROUPS.get(name, (name,))]
