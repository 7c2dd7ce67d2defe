"""Cases of the merged list that this kit leaves out, by name and reason."""

from __future__ import annotations

from collections.abc import Mapping

_MIGRATION = "moving a live system between brokers is not built yet (P7 only reserves it)"

#: Listed in every report, so that nothing is left out in silence.
LEFT_OUT: Mapping[str, str] = {
    "C35": "a task is run once: there are no groups of consumers that each see all of them",
    "D39 as a choice": "whether a death is charged is not declared: P1.1 fixes it",
    "G74": "there is no option by which a task that waits for a retry blocks those behind it",
    "G75": "how tasks spread over partitions is a backend's own affair; no guarantee names it",
    "G78 of a waiting task": "no command changes the priority of a task that waits; a replay may",
    "G79": "the number of partitions is fixed when a lane is made (P8.5)",
    "H88": "tasks do not depend on each other: there is nothing to release",
    "M128": "which replica takes over, and what it may lose, is the broker's own affair: what a "
    "backend promises is its durability, and a restart (M126a) tries that",
    "M130": "how members of a group share partitions anew is a log's own affair; that a worker "
    "comes and goes without loss is E and I",
    "M131": "the number of partitions is fixed when a lane is made (P8.5)",
    "M132": "offsets are a log's own affair; a log that was cut off is a gap for listeners (P4.4)",
    "M133": "what a log commits is a hint to itself alone (P8.3)",
    "O141": _MIGRATION,
    "O142": _MIGRATION,
    "O143": _MIGRATION,
    "O144": _MIGRATION,
    "O145": _MIGRATION,
    "O146": _MIGRATION,
}
