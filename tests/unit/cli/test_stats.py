"""`xqueue stats`."""

from __future__ import annotations

from support.cli import Place, data, lines, refused


def test_stats_as_json(place: Place) -> None:
    place.submit("greet", name="you")
    place.work()
    place.submit("broken")
    found = data("stats")
    assert set(found) == {"at", "lanes", "total", "conserved"}
    assert found["at"].endswith("Z")
    assert found["conserved"] is True
    lane = found["lanes"]["greet"]
    assert set(lane) == {"paused", "oldest_at", "types"}
    assert (lane["paused"], lane["oldest_at"]) == (False, None)
    assert lane["types"]["greet"]["success"] == 1
    assert found["lanes"]["broken"]["oldest_at"].endswith("Z")
    assert (found["total"]["accepted"], found["total"]["pending"]) == (2, 1)


def test_stats_for_people(place: Place) -> None:
    place.submit("broken")
    head, *rows = (line.split() for line in lines("stats"))
    assert head[:4] == ["LANE", "TYPE", "SCHEDULED", "PENDING"]
    assert ["broken", "broken", "0", "1"] in [row[:4] for row in rows]
    assert rows[-1][:4] == ["total", "-", "0", "1"]


def test_stats_called_wrongly(place: Place) -> None:
    refused("stats", code=3, says=f"there is no database {place.file}")
    refused("stats", "extra", code=2, says="unexpected extra argument")
    refused("stats", "--app", "none.py", code=2, says="there is no file")
    assert not list(place.folder.glob("*.db*"))
