"""The state of one key, by itself: limits, tokens, the line, yielding."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xqueue_core.permits import Answer, Grant, Keep, Permit, Request
from xqueue_core.stored.gate import PATIENCE, SILENT, TAKE_UP, Gate
from xqueue_core.stored.leases import Registration, RenewalMark, heartbeat
from xqueue_core.stored.records import Now

WALL = 1_700_000_000.0


def at(steady: float, epoch: str = "boot") -> Now:
    return Now(WALL + steady, steady, epoch)


def limited(limit: int) -> Gate:
    gate = Gate()
    gate.set_limit(limit, True, at(0))
    return gate


def ask(gate: Gate, *ids: str, worker: str = "w", now: float = 0.0, **more: object) -> list[Answer]:
    """One worker's requests; its registration is of term 1."""
    requests = [
        msgspec.convert({"id": id, "key": "k", "worker": worker, **more}, Request) for id in ids
    ]
    gate.turn(at(now))
    return gate.acquire(requests, {worker: 1}, at(now))[0]


def grants(answers: list[Answer]) -> list[Grant]:
    return [answer.grant for answer in answers]


def permit(id: str, token: int = 0) -> Permit:
    return Permit(id=id, key="k", token=token)


# -- limits ------------------------------------------------------------------------------------


def test_without_a_limit_no_permit_is_needed_and_nothing_is_kept() -> None:
    gate = Gate()
    assert grants(ask(gate, "a", "b", running=True)) == [Grant.FREE, Grant.FREE]
    assert gate.idle
    assert gate.seen_version == 0


def test_no_more_than_the_limit_are_granted() -> None:
    gate = limited(2)
    assert grants(ask(gate, "a", "b", "c")) == [Grant.GRANTED, Grant.GRANTED, Grant.WAITING]
    assert grants(ask(gate, "d", queue=False)) == [Grant.DENIED]
    assert list(gate.waiters) == ["c"]


def test_asking_again_gives_the_same_permit_or_place() -> None:
    gate = limited(1)
    [first, second] = ask(gate, "a", "b")
    assert ask(gate, "b", "a") == [second, first]
    assert second == Answer(Grant.WAITING, place=1)


def test_work_that_was_running_is_granted_above_the_limit_and_counts() -> None:
    gate = limited(1)
    assert grants(ask(gate, "a", "b", "c", running=True)) == [Grant.GRANTED] * 3
    gate.release([permit("a"), permit("b")], at(0))
    assert grants(ask(gate, "d", queue=False)) == [Grant.DENIED]
    gate.release([permit("c")], at(0))
    assert grants(ask(gate, "d", queue=False)) == [Grant.GRANTED]


def test_the_version_grows_with_each_effective_change_only() -> None:
    gate = limited(3)
    seen = [gate.seen_version]
    gate.set_limit(3, True, at(0))
    gate.set_limit(9, False, at(0))  # masked by the pinned value
    assert gate.seen_version == seen[0]
    gate.set_limit(None, True, at(0))
    assert gate.limit == 9
    seen.append(gate.seen_version)
    gate.set_limit(None, False, at(0))
    assert gate.seen_version == 0
    gate.set_limit(9, False, at(0))
    seen.append(gate.seen_version)
    assert 0 < seen[0] < seen[1] < seen[2]


def test_the_limit_with_the_latest_stamp_wins_unless_one_is_pinned() -> None:
    gate = Gate()
    ask(gate, "a", limit=2, stamp=10.0)
    ask(gate, "b", limit=1, stamp=5.0)
    assert gate.limit == 2
    ask(gate, "c", limit=3, stamp=11.0)
    assert gate.limit == 3
    gate.set_limit(7, True, at(0))
    ask(gate, "d", limit=4, stamp=12.0)
    assert gate.limit == 7
    gate.set_limit(None, True, at(0))
    assert gate.limit == 4


def test_only_a_limit_that_was_set_outlives_its_use() -> None:
    asked, declared, pinned = Gate(), Gate(), limited(1)
    declared.set_limit(1, False, at(0))
    ask(asked, "a", limit=2, stamp=1.0)
    for gate in (asked, declared, pinned):
        ask(gate, "a")
        assert not gate.idle
        gate.release([permit("a")], at(0))
    assert [gate.idle for gate in (asked, declared, pinned)] == [True, False, False]


def test_a_raised_limit_is_offered_to_the_first_in_line() -> None:
    gate = limited(1)
    ask(gate, "a", worker="w")
    ask(gate, "b", worker="x")
    ask(gate, "c", worker="y")
    assert gate.set_limit(2, True, at(0)) == {"x"}
    assert list(gate.waiters) == ["c"]


def test_removing_the_limit_frees_the_line() -> None:
    gate = limited(1)
    ask(gate, "a")
    ask(gate, "b", worker="x")
    assert gate.set_limit(None, True, at(0)) == {"x"}
    assert grants(ask(gate, "b", worker="x")) == [Grant.FREE]


# -- tokens and giving back ----------------------------------------------------------------------


def test_tokens_grow_also_after_the_row_was_removed() -> None:
    gate = limited(1)
    tokens = []
    for n in range(3):
        tokens += [answer.token for answer in ask(gate, f"a{n}")]
        gate.release([permit(f"a{n}")], at(0))
    gate = Gate()
    gate.set_limit(1, True, at(1))
    tokens += [answer.token for answer in ask(gate, "z", now=1)]
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("wrong", [permit("a", 1), permit("b", 0), permit("b", 1)])
def test_a_release_that_does_not_name_the_permit_changes_nothing(wrong: Permit) -> None:
    gate = limited(1)
    ask(gate, "a")
    before = msgspec.msgpack.encode(gate)
    gate.release([wrong], at(0))
    assert msgspec.msgpack.encode(gate) == before


def test_a_request_of_another_worker_with_the_same_id_is_denied() -> None:
    gate = limited(2)
    [mine] = ask(gate, "a", worker="w")
    assert grants(ask(gate, "a", worker="x")) == [Grant.DENIED]
    assert ask(gate, "a", worker="w") == [mine]


def test_who_withdraws_gives_back_what_was_granted_meanwhile() -> None:
    gate = limited(1)
    ask(gate, "a")
    ask(gate, "b", worker="x")
    gate.release([permit("a")], at(0))
    gate.release([permit("b")], at(0))
    assert not gate.holders
    assert not gate.waiters


# -- the line ------------------------------------------------------------------------------------


def test_first_come_first_served_and_nobody_jumps_the_line() -> None:
    gate = limited(1)
    ask(gate, "a")
    ask(gate, "b", worker="x")
    ask(gate, "c", worker="y")
    assert gate.release([permit("a")], at(0)) == {"x"}
    assert grants(ask(gate, "d", worker="z", queue=False)) == [Grant.DENIED]
    assert ask(gate, "c", worker="y") == [Answer(Grant.WAITING, place=1)]
    assert grants(ask(gate, "b", worker="x")) == [Grant.GRANTED]


def test_a_grant_not_taken_up_passes_on() -> None:
    gate = limited(1)
    ask(gate, "a")
    ask(gate, "b", worker="x")
    ask(gate, "c", worker="y")
    gate.release([permit("a")], at(0))
    assert grants(ask(gate, "c", worker="y", now=TAKE_UP)) == [Grant.WAITING]
    assert grants(ask(gate, "c", worker="y", now=TAKE_UP + 0.1)) == [Grant.GRANTED]
    assert ask(gate, "b", worker="x", now=TAKE_UP + 0.2) == [Answer(Grant.WAITING, place=1)]


def test_a_grant_taken_up_stays() -> None:
    gate = limited(1)
    ask(gate, "a")
    ask(gate, "b", worker="x")
    gate.release([permit("a")], at(0))
    [mine] = ask(gate, "b", worker="x", now=1.0)
    assert ask(gate, "b", worker="x", now=100.0) == [mine]


def test_the_silent_leave_the_line_unless_nobody_could_ask() -> None:
    gate = limited(1)
    ask(gate, "a")
    ask(gate, "b", worker="x")
    late = at(SILENT + 0.1)
    gate.expire(lambda worker, term: False, False, late)
    assert list(gate.waiters) == ["b"]
    gate.expire(lambda worker, term: False, True, late)
    assert not gate.waiters


def test_times_start_again_in_another_epoch() -> None:
    gate = limited(1)
    ask(gate, "a", now=1000.0)
    ask(gate, "b", worker="x", now=1000.0)
    gate.release([permit("a")], at(1000.0))
    gate.turn(at(5.0, "next"))
    assert list(gate.holders) == ["b"]
    gate.turn(at(5.0 + TAKE_UP + 0.1, "next"))
    assert not gate.holders


def test_a_permit_of_an_earlier_registration_does_not_come_back() -> None:
    gate = limited(2)
    [old] = ask(gate, "a")
    assert gate.renew([permit("a", old.token)], "w", 2, at(0)) == [Keep.LOST]
    request = Request(id="a", key="k", worker="w")
    [[new], _] = gate.acquire([request], {"w": 2}, at(0))
    assert new.token > old.token
    assert gate.renew([permit("a", old.token)], "w", 2, at(0)) == [Keep.LOST]
    assert gate.renew([permit("a", new.token)], "w", 2, at(0)) == [Keep.KEPT]


# -- yielding ------------------------------------------------------------------------------------


def verdicts(gate: Gate, answers: list[Answer], ids: str, now: float) -> list[Keep]:
    permits = [permit(id, answer.token) for id, answer in zip(ids, answers, strict=True)]
    return gate.renew(permits, "w", 1, at(now))


def test_the_newest_above_a_lowered_limit_yield() -> None:
    gate = limited(3)
    held = ask(gate, "a", "b", "c")
    assert verdicts(gate, held, "abc", 0) == [Keep.KEPT] * 3
    gate.set_limit(1, True, at(0))
    assert verdicts(gate, held, "abc", 0) == [Keep.KEPT, Keep.YIELD, Keep.YIELD]


def test_the_longest_held_yields_to_each_waiter_of_another_worker() -> None:
    gate = limited(3)
    held = ask(gate, "a", "b", "c")
    ask(gate, "mine")
    ask(gate, "x", worker="x")
    assert verdicts(gate, held, "abc", PATIENCE) == [Keep.KEPT] * 3
    late = PATIENCE + 0.1
    assert verdicts(gate, held, "abc", late) == [Keep.YIELD, Keep.KEPT, Keep.KEPT]
    ask(gate, "y", worker="x", now=late)
    assert verdicts(gate, held, "abc", 2 * late) == [Keep.YIELD, Keep.YIELD, Keep.KEPT]


def test_what_is_unused_yields_before_what_is_older() -> None:
    gate = limited(3)
    held = ask(gate, "a", "b", "c")
    ask(gate, "x", worker="x")
    late, above = PATIENCE + 0.1, PATIENCE + 0.01
    permits = [permit(id, one.token) for id, one in zip("abc", held, strict=True)]
    permits[1:] = [msgspec.structs.replace(one, idle=PATIENCE) for one in permits[1:]]
    assert gate.renew(permits, "w", 1, at(late)) == [Keep.YIELD, Keep.KEPT, Keep.KEPT]
    permits[2] = msgspec.structs.replace(permits[2], idle=above)
    assert gate.renew(permits, "w", 1, at(late)) == [Keep.KEPT, Keep.KEPT, Keep.YIELD]
    ask(gate, "y", worker="x")
    assert gate.renew(permits, "w", 1, at(late)) == [Keep.YIELD, Keep.KEPT, Keep.YIELD]


# -- whatever happens ----------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "release", "limit", "die", "wait"]),
        st.integers(0, 7),
        st.booleans(),
    ),
    max_size=60,
)


@given(STEPS)
def test_never_granted_above_the_limit_and_tokens_strictly_grow(
    steps: list[tuple[str, int, bool]],
) -> None:
    gate, now, terms, last = limited(2), 0.0, dict.fromkeys(("w0", "w1", "w2"), 1), 0
    for what, n, flag in steps:
        before, worker = set(gate.holders), f"w{n % 3}"
        gate = msgspec.msgpack.decode(msgspec.msgpack.encode(gate), type=Gate)
        gate.turn(at(now))
        if what == "ask":
            asked = Request(id=f"r{n}", key="k", worker=worker, queue=flag)
            gate.acquire([asked], terms, at(now))
        elif what == "release":
            gate.release([permit(f"r{n}")], at(now))
        elif what == "limit":
            gate.set_limit(n % 3 + 1, True, at(now))
        elif what == "die":
            terms[worker] += 1
            gate.expire(lambda who, term: terms[who] != term, flag, at(now))
        else:
            now += n / 2
        new = [gate.holders[id].token for id in gate.holders if id not in before]
        assert gate.limit is not None
        assert not new or len(gate.holders) <= gate.limit
        assert all(token > last for token in new)
        last = max([last, *new])
        assert not set(gate.holders) & set(gate.waiters)
        if what in ("ask", "release", "limit"):
            assert not gate.waiters or len(gate.holders) >= gate.limit
        assert list(gate.holders) == sorted(gate.holders, key=lambda id: gate.holders[id].token)


# -- leases --------------------------------------------------------------------------------------


def test_a_registration_is_overdue_after_its_lease_or_in_another_epoch() -> None:
    own = Registration(1, 15.0, 100.0, "boot")
    assert not own.overdue(at(115.0))
    assert own.overdue(at(115.1))
    assert own.overdue(at(101.0, "next"))


def test_while_anybody_renews_the_overdue_may_be_judged() -> None:
    mark = RenewalMark.first(at(0), 15.0)
    for second in range(1, 40):
        mark = mark.beaten(at(second), 15.0)
        assert mark.looked(at(second + 0.9)) is mark
        assert mark.judges(at(second + 0.9))


@pytest.mark.parametrize("away", [at(30.0), at(1.0, "next")])
def test_after_a_silence_of_all_a_whole_lease_passes_first(away: Now) -> None:
    mark = RenewalMark.first(at(0), 15.0).beaten(away, 15.0)
    for second in range(1, 15):
        now = away._replace(steady=away.steady + second)
        mark = mark.beaten(now, 15.0)
        assert not mark.judges(now)
    assert mark.judges(away._replace(steady=away.steady + 15.0))


def test_looks_alone_end_the_grace_but_a_second_outage_starts_it_again() -> None:
    mark, steps = RenewalMark.first(at(0), 15.0), [30.0 + n for n in range(16)]
    for second in steps[:-1]:
        mark = mark.looked(at(second))
        assert not mark.judges(at(second))
    assert mark.looked(at(steps[-1])).judges(at(steps[-1]))
    again = mark.looked(at(60.0))
    assert not again.judges(at(74.9))


def test_the_largest_lease_counts() -> None:
    mark = RenewalMark.first(at(0), 1.0).beaten(at(0.1), 10.0).beaten(at(0.2), 1.0)
    assert mark.lease == 10.0
    assert heartbeat(mark.lease) == 1.0
    assert not mark.stale(at(2.0))
    assert mark.beaten(at(9.0), 1.0).until == 19.0


def test_a_grant_tells_the_limits_version_and_asked_again_what_stands_above_a_lowered_one() -> None:
    gate = limited(3)
    first = ask(gate, "a", "b", "c")
    assert {one.version for one in first} == {gate.seen_version}
    gate.set_limit(1, True, at(1))
    again = ask(gate, "c", "a", "b")
    assert [one.keep for one in again] == [Keep.YIELD, Keep.KEPT, Keep.YIELD]
    assert {one.version for one in again} == {gate.seen_version} != {first[0].version}
    gate.set_limit(None, True, at(2))
    assert ask(gate, "c") == [Answer(Grant.GRANTED, first[2].token, version=0)]
