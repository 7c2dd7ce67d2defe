"""Ids and the UUIDs in them."""

from __future__ import annotations

import os
import threading
import uuid

import pytest

from xqueue_core.errors import ConfigError, InvalidTask
from xqueue_core.ids import Uuid7, check_type, make_id, split_id, unique_hash


class Ticks:
    """A clock set by hand, in milliseconds."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now * 1_000_000


def ones(count: int) -> bytes:
    return b"\xff" * count


def test_a_uuid_has_version_variant_and_time() -> None:
    made = uuid.UUID(Uuid7(Ticks(1_700_000_000_123), ones)())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_700_000_000_123


def test_uuids_of_one_millisecond_grow_by_their_counter() -> None:
    make = Uuid7(Ticks(5), lambda count: b"\0" * count)
    made = [make() for _ in range(5000)]
    assert made == sorted(set(made))
    # 4096 fit into the millisecond; the rest borrow from the next one.
    assert uuid.UUID(made[0]).int >> 80 == 5
    assert uuid.UUID(made[-1]).int >> 80 == 6


def test_uuids_grow_though_the_clock_goes_back() -> None:
    clock = Ticks(1000)
    make = Uuid7(clock, ones)
    before = make()
    clock.now = 10
    assert make() > before


def test_uuids_are_distinct_across_threads() -> None:
    make = Uuid7(Ticks(5))
    made: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        mine.extend(make() for _ in range(500))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({one for mine in made for one in mine}) == 2000


def test_a_forked_process_asks_for_random_bytes_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * count

    make = Uuid7(Ticks(5), random)
    assert [make()[-12:], make()[-12:]] == ["010101010101"] * 2
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert make()[-12:] == "020202020202"
    assert len(asked) == 2


def test_random_bytes_are_used_once() -> None:
    given = iter(range(256))
    make = Uuid7(Ticks(5), lambda count: bytes(next(given) for _ in range(10)))
    assert len({make()[-12:] for _ in range(20)}) == 20
    assert next(given) == 200


def test_two_makers_at_one_time_do_not_collide() -> None:
    clock = Ticks(5)
    first, second = Uuid7(clock), Uuid7(clock)
    made = [make() for make in (first, second) for _ in range(1000)]
    assert len(set(made)) == 2000


def test_an_id_is_made_of_type_and_uuid() -> None:
    assert make_id("mail", None, None, lambda: "u") == ("mail:u", None, False)


def test_a_given_token_or_id_is_taken_and_remembered() -> None:
    assert make_id("mail", "a.B_c-9", None, lambda: "u") == ("mail:a.B_c-9", None, True)
    assert make_id("mail", "mail:a", None, lambda: "u") == ("mail:a", None, True)


def test_a_unique_key_is_hashed_with_its_type() -> None:
    made = make_id("mail", None, "user 7", lambda: "u")
    assert made.id == f"mail:k{made.unique_key}~u"
    assert made.unique_key == unique_hash("mail", "user 7")
    assert made.given
    assert len(unique_hash("mail", "user 7")) == 26
    assert unique_hash("mail", "user 7") != unique_hash("post", "user 7")
    # The NUL keeps type and key apart.
    assert unique_hash("a", "bc") != unique_hash("ab", "c")


def test_a_unique_key_may_hold_any_text() -> None:
    assert len({unique_hash("t", key) for key in ("\ud800", "\0", "ß", "")}) == 4


def test_id_and_unique_key_together_are_refused() -> None:
    with pytest.raises(InvalidTask, match="not both: 'a', 'b'"):
        make_id("mail", "a", "b", lambda: "u")


@pytest.mark.parametrize("token", ["", "a b", "a~b", "ä", "x" * 129, "post:a", "mail:", "a:b:c"])
def test_a_token_of_the_wrong_form_is_refused(token: str) -> None:
    with pytest.raises(InvalidTask):
        make_id("mail", token, None, lambda: "u")


def test_the_longest_token_is_taken() -> None:
    assert make_id("mail", "x" * 128, None, lambda: "u").id == "mail:" + "x" * 128


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "x" * 65, "a\n", None, 7])
def test_a_type_of_the_wrong_form_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="1 to 64"):
        check_type(name, ConfigError)


def test_an_id_is_split() -> None:
    assert split_id("mail:a") == ("mail", "a")
    made = make_id("mail", None, "key", Uuid7())
    assert split_id(made.id)[0] == "mail"


@pytest.mark.parametrize("text", ["", "mail", "mail:", ":a", "mail:a:b", "mail:a~b~c", "ma il:a"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidTask, match="is not an id"):
        split_id(text)
