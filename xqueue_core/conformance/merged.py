"""The merged list: what published conformance suites test, each item under a number of its own.

Every item is a case of the kit (its number, or its number and a letter), is left out for good
with a reason (:mod:`.left_out`), or is told in every report as not built yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from xqueue_core.conformance.left_out import LEFT_OUT

_GROUPS = """
A 1 open and close again and again
A 2 nothing need be made before its first use
A 3 use after close raises
A 4 close keeps what was accepted
A 5 ten that close at once
A 6 a restart after a stop goes on
A 7 who only puts makes no state of a consumer
A 8 two backends in one process are isolated
A 9 health reflects an outage
A 10 no task, thread or socket is left behind
B 11 100 payloads and their metadata go there and back
B 12 a body of any bytes
B 13 metadata of any text
B 14 invalid metadata is refused at put
B 15 the empty and the largest body; beyond is a typed error
B 16 nested types go through the codec
B 17 id and time of acceptance are stable
B 18 unknown fields of the envelope survive
B 19 what a handler edits does not leak into the next attempt
B 20 the trace context is kept
C 21 what is settled never comes again
C 22 settles in any order
C 23 a second settle is harmless
C 24 what is handed back comes again
C 25 a hand-back after a success is answered and ignored
C 26 a settle of an unknown or foreign delivery is lost
C 27 partial failure of a batch is told item by item
C 28 a lease respects its limit
C 29 a waiting lease ends in time and can be cancelled
C 30 cancelling a lease loses nothing
C 31 10,000 puts of 20 producers
C 32 50 workers at once
C 33 lanes are isolated
C 34 who comes late sees the backlog
C 35 independent groups each see all
D 36 a retry at once
D 37 a delayed retry
D 38 attempts are counted exactly, across processes
D 39 a worker's death counts as is declared
D 40 the last attempt ends it, once
D 41 what cannot be recovered ends at the first failure
D 42 a failed task keeps its story
D 43 an error handler that raises loses nothing
D 44 a poisoned task in a batch
D 45 a failing task holds up no other
D 46 replay, single and bulk
D 47 what cannot be decoded is quarantined
D 48 an unknown type is not lost
D 49 a retry and then a crash has one effect
E 50 a worker killed by SIGKILL
E 51 a worker that stood still by SIGSTOP
E 52 renewal keeps a long task exclusive
E 53 a lost lease is told and cancels the handler
E 54 a late renewal cannot steal back
E 55 what was fetched and not started is not run twice
E 56 a worker does not reclaim its own
E 57 reclaim reaches the tail
E 58 the cost of reclaim is bounded
E 59 tokens of a task grow
E 60 removal of a dead worker loses nothing
E 61 ownership survives a reconnect
E 62 reclaimed and new work are served fairly
E 63 a client's clock that is an hour off changes nothing
F 64 not early, and late within a bound
F 65 a delay survives a restart
F 66 the far future, or a typed refusal
F 67 many at one instant
F 68 cancel and reschedule of a delayed task
F 69 a crash while delays end
F 70 one run per slot with many schedulers
F 71 missed slots
F 72 a delay of zero or less is now
G 73 first in, first out, per key
G 74 order kept across a retry that blocks
G 75 spread over partitions
G 76 the higher level first
G 77 the lowest level does not starve
G 78 a changed priority
G 79 order per key when partitions change
H 80 the same id twice
H 81 a put repeated after a time-out
H 82 the horizon of ids
H 83 cancel: queued, delayed, parked, running
H 84 cancel against a lease
H 85 a result: once, for its time
H 86 a result waited for from elsewhere
H 87 the history only grows
H 88 dependencies are released once
I 89 concurrency changed at run time
I 90 pause and resume everywhere
I 91 a graceful stop
I 92 the deadline of a stop
I 93 a stop while an error is handled
I 94 memory is bounded by backpressure
I 95 release at a stop is immediate
I 96 plain functions in threads
I 97 a handler that computes keeps its lease
J 98 never above the limit
J 99 a release wakes one waiter
J 100 a holder's death frees its permit
J 101 an expired holder is told
J 102 an expired holder cannot come back by renewing
J 103 asking again is idempotent
J 104 tokens of permits grow over restarts
J 105 waiters in order of arrival
J 106 a waiter that withdrew is never granted
J 107 a limit raised and lowered
J 108 keys are independent
J 109 a saturated key holds up no other
J 110 no asking in a loop when idle
J 111 all holders die and nobody new comes
J 112 a release by the wrong owner
J 113 a permit anew after expiry
K 114 a wake-up soon after a put
K 115 a lost wake-up only delays
K 116 no thundering herd
K 117 a subscriber that reconnects
K 118 the signal of a cancel
K 119 without a notifier it is polled
L 120 counts are conserved
L 121 the age of the oldest
L 122 looking changes nothing
L 123 the scope of a purge is exact
L 124 what has a time expires
L 125 which workers live
M 126 a restart of the broker under load
M 127 a cut between send and reply, for every command
M 128 failover of the primary
M 129 memory or disk full
M 130 a storm of rebalances
M 131 more partitions
M 132 offsets reset or truncated
M 133 damaged metadata of a commit
M 134 scripts flushed
M 135 a cancelled call leaves its connection clean
N 136 what is absent raises
N 137 claimed but skipped fails
N 138 numbers are tight on both sides
N 139 the handshake of versions
O 140 the same work on two backends ends the same
O 141 an envelope of one backend is read by another
O 142 a crash at each step of a move
O 143 a producer of a stale epoch
O 144 rollback of a move
O 145 delayed and failed tasks move
O 146 the ledgers of both agree in the end
"""

#: Each item of the list by its id, in order, with what it is about.
MERGED: Mapping[str, str] = {
    letter + number: about
    for letter, number, about in (line.split(maxsplit=2) for line in _GROUPS.strip().splitlines())
}


def item(id: str) -> str:
    """The item that a case's id belongs to: ``B19b`` is a part of ``B19``."""
    return re.sub(r"[a-z]$", "", id)


def not_built(ids: Iterable[str]) -> dict[str, str]:
    """What of the list is none of these cases and is not left out, with what it is about."""
    there = {item(id) for id in ids} | set(LEFT_OUT)
    return {id: about for id, about in MERGED.items() if id not in there}
