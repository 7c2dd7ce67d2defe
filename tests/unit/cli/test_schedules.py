"""`xqueue schedules`."""

from __future__ import annotations

from support.cli import Place, data, lines, refused
from xqueue_core import XQueue
from xqueue_core.calls import Announce
from xqueue_core.cli.shown.schedules import schedule_data
from xqueue_core.task import Slot, Task
from xqueue_core.views import Schedule

APP = ("--app", "jobs.py")


def announce(place: Place) -> None:
    """A worker announces what the app declares."""

    async def work(app: XQueue) -> None:
        async with app.connect() as connection:
            said = [Announce(name, one.text) for name, one in app.schedules.items()]
            await connection.faces.queue.control(said)

    place.do(work)


def test_list(place: Place) -> None:
    announce(place)
    found = data("schedules", "list")
    assert found["at"].endswith("Z")
    [one] = found["schedules"]
    assert sorted(one) == ["last_at", "name", "next_at", "rule", "seen_at", "type", "version"]
    assert (one["name"], one["type"], one["version"]) == ("morning", "report", 1)
    assert one["rule"] == "cron 0 9 * * * UTC"
    assert one["next_at"].endswith("T09:00:00.000Z")
    assert one["next_at"] > found["at"]
    assert one["last_at"] is None  # it has not fired yet
    head, row = lines("schedules", "list")
    assert row.split()[10] == "-"
    assert head.split() == ["NAME", "TYPE", "RULE", "VERSION", "LAST", "NEXT", "SEEN"]
    assert row.split()[:2] == ["morning", "report"]


def test_the_last_slot_is_told_once_one_has_fired(place: Place) -> None:
    announce(place)

    async def fire(app: XQueue) -> None:
        async with app.connect() as connection:
            [one] = await connection.faces.needed("view").schedules()
            at = one.last + 0.001
            slot = Slot("morning", one.version, at)
            task = Task(id="report:1", lane="report", payload=b"{}", run_at=at, slot=slot)
            await connection.faces.queue.put([task])

    place.do(fire)
    [one] = data("schedules", "list")["schedules"]
    assert one["last_at"] is not None
    assert one["last_at"] <= one["seen_at"]


def test_what_does_not_tell_whether_it_fired_shows_what_it_tells() -> None:
    one = Schedule(name="n", version=1, last=5.0)
    assert schedule_data(one, 10.0)["last_at"] == "1970-01-01T00:00:05.000Z"


def test_a_rule_that_this_version_cannot_read_has_no_next_time() -> None:
    one = Schedule(name="n", version=1, last=5.0, rule="tick whenever it suits")
    assert schedule_data(one, 10.0)["next_at"] is None
    assert schedule_data(Schedule(name="n", version=1, last=5.0), 10.0)["rule"] is None


def test_trigger_submits_the_schedules_call_beside_it(place: Place) -> None:
    [id] = lines("schedules", "trigger", "morning", *APP)
    said = data("schedules", "trigger", "morning", *APP)
    assert said["schedule"] == "morning"
    assert said["id"] != id  # another, though the first has not ended
    task = data("task", "show", id)
    assert (task["type"], task["state"], task["payload"]) == ("report", "pending", {"name": "sun"})
    assert (task["options"]["priority"], task["options"]["schedule"]) == (4, None)
    assert task["options"]["unique"] is False


def test_schedules_called_wrongly(place: Place) -> None:
    says = "the app declares no schedule 'mornin'; did you mean 'morning'? (known: 'morning')"
    refused("schedules", "trigger", "mornin", *APP, code=3, says=says)
    refused("schedules", "trigger", "morning", code=2, says="name it with --app")
    refused("schedules", "trigger", *APP, code=2, says="Missing argument 'NAME'")
    refused("schedules", "list", code=3, says="there is no database")
    assert not list(place.folder.glob("*.db*"))
