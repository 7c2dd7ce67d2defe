"""`xqueue workers`."""

from __future__ import annotations

from support.cli import Place, data, lines, refused
from support.workers import until
from xqueue_core import XQueue


def orders() -> dict[str, tuple[bool, bool]]:
    """Of each worker whether it is to be quiet, and to stop."""
    return {one["id"]: (one["quiet"], one["stop"]) for one in data("workers", "list")["workers"]}


async def silent(app: XQueue) -> bool:
    async with app.connect() as connection:
        workers = await connection.faces.needed("view").workers()
    return not all(one.alive for one in workers)


def test_list(place: Place) -> None:
    place.beat("w~1", host="here", pid=7, lanes=["greet", "broken"], running=2, started_at=1e9)
    [one] = data("workers", "list")["workers"]
    assert sorted(one) == [
        "alive",
        "draining",
        "heartbeat",
        "host",
        "id",
        "lanes",
        "lease",
        "leaving",
        "overdue",
        "pid",
        "quiet",
        "running",
        "seen_ago",
        "slots",
        "started_at",
        "stop",
        "types",
    ]
    assert (one["id"], one["alive"], one["slots"], one["running"]) == ("w~1", True, 5, 2)
    assert one["started_at"] == "2001-09-09T01:46:40.000Z"
    head, row = lines("workers", "list")
    assert head.split() == [
        "WORKER",
        "IS",
        "SEEN",
        "HOST",
        "PID",
        "SLOTS",
        "RUNNING",
        "OVERDUE",
        "LANES",
    ]
    assert row.split()[:2] == ["w~1", "alive"]
    assert row.split()[-6:] == ["7", "5", "2", "0", "greet", "broken"]


def test_a_worker_whose_lease_is_over_is_dead(place: Place) -> None:
    place.beat("w~2")
    place.beat("w~1", lease=0.05, heartbeat=0.01)
    place.do(lambda app: until("the lease is over", lambda: silent(app)))
    dead = {one["id"]: one["alive"] for one in data("workers", "list")["workers"]}
    assert dead == {"w~1": False, "w~2": True}
    assert lines("workers", "list")[1].split()[1] == "dead"


def test_quiet_and_stop(place: Place) -> None:
    place.beat("w~1", "w~2")
    assert lines("workers", "quiet", "w~1") == ["will lease nothing more: w~1"]
    assert orders() == {"w~1": (True, False), "w~2": (False, False)}
    said = data("workers", "stop", "w~1", "w~2")
    assert said["workers"][0] == {"id": "w~1", "quiet": True, "stop": True}
    assert orders() == {"w~1": (True, True), "w~2": (False, True)}
    assert lines("workers", "stop", "w~2") == ["will stop: w~2"]
    assert lines("workers", "quiet", "--off", "w~1") == ["will lease again: w~1"]
    assert orders()["w~1"] == (False, True)  # it is to stop nevertheless
    assert data("workers", "quiet", "w~2")["workers"] == [
        {"id": "w~2", "quiet": True, "stop": True}
    ]


def test_the_beginning_of_an_id_will_do_if_it_fits_one(place: Place) -> None:
    place.beat("web~1", "web~2", "mail~1")
    assert lines("workers", "stop", "mail") == ["will stop: mail~1"]
    refused("workers", "stop", "mail", "web", code=2, says="fits several workers: web~1, web~2")
    assert orders() == {"mail~1": (False, True), "web~1": (False, False), "web~2": (False, False)}


def test_workers_called_wrongly(place: Place) -> None:
    place.beat("w~1")
    for word in ("quiet", "stop"):
        refused("workers", word, "x", code=3, says="there is no worker 'x' (known: w~1)")
        refused("workers", word, code=2, says="Missing argument 'ID...'")
    refused("workers", "list", "w~1", code=2, says="unexpected extra argument")
