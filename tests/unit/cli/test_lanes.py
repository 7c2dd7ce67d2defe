"""`xqueue lanes`."""

from __future__ import annotations

from support.cli import Place, data, lines, refused, run
from xqueue_core import XQueue
from xqueue_core.permits import Request


def held(place: Place, key: str = "lane:greet") -> None:
    """Two permits of the key are held by one worker."""

    async def work(app: XQueue) -> None:
        async with app.connect() as connection:
            wishes = [Request(id=id, key=key, worker="w~1", lease=600.0) for id in ("a", "b")]
            await connection.faces.needed("semaphore").acquire(wishes, 0.0)

    place.do(work)


def lane(name: str) -> dict[str, object]:
    [found] = [one for one in data("lanes", "list")["lanes"] if one["lane"] == name]
    return dict(found)


def test_list_as_json(place: Place) -> None:
    place.submit("greet", name="you")
    run("lanes", "limit", "greet", "3")
    held(place)
    found = data("lanes", "list")
    assert set(found) == {"at", "lanes"}
    [one] = found["lanes"]
    assert sorted(one) == [
        "canceled",
        "failed",
        "held",
        "holders",
        "lane",
        "limit",
        "oldest_at",
        "parked",
        "paused",
        "pending",
        "pinned",
        "processing",
        "quarantined",
        "scheduled",
        "success",
        "timeout",
        "types",
        "waiting",
    ]
    assert (one["limit"], one["pinned"], one["held"]) == (3, True, 2)
    assert one["holders"] == {"w~1": 2}
    assert (one["pending"], one["types"], one["paused"]) == (1, ["greet"], False)
    assert one["oldest_at"].endswith("Z")


def test_list_for_people(place: Place) -> None:
    place.submit("greet", name="you")
    run("lanes", "limit", "greet", "3")
    held(place)
    run("lanes", "pause", "greet")
    head, row = lines("lanes", "list")
    assert head.split()[:5] == ["LANE", "IS", "LIMIT", "HELD", "SCHEDULED"]
    assert row.split()[:5] == ["greet", "paused", "3", "pinned", "2"]
    assert row.endswith("w~1 2")


def test_pause_and_resume(place: Place) -> None:
    place.submit("greet", name="you")
    place.submit("broken")
    assert lines("lanes", "pause", "greet", "broken") == ["paused greet", "paused broken"]
    assert lane("greet")["paused"] is True
    place.work()
    assert lane("greet")["pending"] == 1  # nothing was leased
    said = data("lanes", "resume", "greet")
    assert said == {"lanes": [{"lane": "greet", "paused": False}]}
    assert (lane("greet")["paused"], lane("broken")["paused"]) == (False, True)
    assert lines("lanes", "resume", "broken") == ["resumed broken"]
    assert data("lanes", "pause", "greet") == {"lanes": [{"lane": "greet", "paused": True}]}


def test_a_lane_that_there_is_not_is_not_made(place: Place) -> None:
    place.submit("greet", name="you")
    for words in (("pause", "greet", "gret"), ("resume", "gret"), ("limit", "gret", "3")):
        refused("lanes", *words, code=3, says="there is no lane 'gret'; did you mean 'greet'?")
    assert [one["lane"] for one in data("lanes", "list")["lanes"]] == ["greet"]
    assert lane("greet")["paused"] is False


def test_limit(place: Place) -> None:
    place.submit("report", name="x")
    place.work()  # the worker declares 3
    assert (lane("report")["limit"], lane("report")["pinned"]) == (3, False)
    assert lines("lanes", "limit", "report", "5") == ["report: limit 5"]
    assert (lane("report")["limit"], lane("report")["pinned"]) == (5, True)
    said = data("lanes", "limit", "report", "none")
    assert (said["lane"], said["key"], said["limit"], said["pinned"]) == ("report", None, 3, False)
    assert lines("lanes", "limit", "report", "none") == ["report: limit 3, as workers declare"]


def test_limit_of_a_key(place: Place) -> None:
    place.submit("greet", name="you")
    said = lines("lanes", "limit", "greet", "2", "--key", "user_7")
    assert said == ["greet, key user_7: limit 2"]
    held(place, "key:greet:user_7")
    said = data("lanes", "limit", "greet", "2", "--key", "user_7")
    assert (said["key"], said["limit"], said["held"]) == ("user_7", 2, 2)
    assert lane("greet")["limit"] is None


def test_lanes_called_wrongly(place: Place) -> None:
    place.submit("greet", name="you")
    for wrong in ("0", "-1", "many", "1.5", "9999999"):
        answer = run("lanes", "limit", "greet", "--", wrong, code=2)
        assert f"not {wrong!r}" in answer.stderr
    for wrong, says in (("", "1 to 512 characters"), ("\udcff", "lone surrogate")):
        refused("lanes", "limit", "greet", "2", "--key", wrong, code=2, says=says)
    refused("lanes", "pause", code=2, says="Missing argument 'LANE...'")
    refused("lanes", "resume", code=2, says="Missing argument 'LANE...'")
    refused("lanes", "limit", code=2, says="Missing argument")
    refused("lanes", "list", "greet", code=2, says="unexpected extra argument")


def test_a_type_is_told_its_lane(place: Place) -> None:
    async def work(app: XQueue) -> None:
        @app.task(lane="warehouse")
        async def pack() -> None: ...

        await pack.submit()

    place.do(work)
    for words in (("pause", "pack"), ("resume", "pack"), ("limit", "pack", "3")):
        says = "there is no lane 'pack'; type 'pack' is in lane 'warehouse' (known: warehouse)"
        refused("lanes", *words, code=3, says=says)


def test_the_limit_of_a_key_is_shown(place: Place) -> None:
    place.submit("greet", name="you")
    run("lanes", "limit", "greet", "2", "--key", "user_7")
    assert lines("lanes", "limit", "greet", "--key", "user_7") == [
        "greet, key user_7: limit 2, pinned"
    ]
    assert lines("lanes", "limit", "greet", "--key", "user_8") == ["greet, key user_8: no limit"]
    shown = data("lanes", "limit", "greet", "--key", "user_7")
    assert (shown["limit"], shown["pinned"]) == (2, True)
