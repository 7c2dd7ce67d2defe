"""B: what a producer puts is what a worker gets."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from xqueue_core.calls import Ability, Put
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, one_of, same
from xqueue_core.errors import PayloadTooLarge, SubmitError
from xqueue_core.task import MAJOR, MINOR, HandBack, RetryAt, Task

WEIRD = [
    "",
    " ",
    "a\x00b",
    "\u202eright to left",
    "🧵 task",
    "ä\u0308",
    "x" * 4096,
    "a\nb\tc",
    "%s{}",
]


@case("B11")
async def round_trip(bench: Bench) -> None:
    """Of 100 tasks each arrives once, with its own payload and headers."""
    tasks = [
        bench.task(payload=json.dumps({"n": n}).encode(), headers={"n": str(n)}) for n in range(100)
    ]
    await bench.accept(*tasks)
    worker = await bench.worker()
    got = {one.task.id: one.task for one in await worker.take(100)}
    same(len(got), 100, "number of different tasks delivered")
    for task in tasks:
        same(got[task.id].payload, task.payload, f"payload of {task.id}")
        same(got[task.id].headers, task.headers, f"headers of {task.id}")


@case("B12")
async def any_bytes(bench: Bench) -> None:
    """A payload under another content type may be any bytes, and the type comes along."""
    payload = bytes(range(256)) * 4
    await bench.submit(payload=payload, content_type="application/octet-stream")
    got = (await (await bench.worker()).one()).task
    same(got.payload, payload, "payload")
    same(got.content_type, "application/octet-stream", "content type")


@case("B13")
async def weird_headers(bench: Bench) -> None:
    """Header names and values may be any text, and keys of concurrency too."""
    headers = {f"{n}{text}": text for n, text in enumerate(WEIRD)}
    key = "" if Ability.LIMITS not in bench.harness.capabilities.abilities else WEIRD[4]
    await bench.submit(headers=headers, key=key or None)
    got = (await (await bench.worker()).one()).task
    same(got.headers, headers, "headers")
    same(got.key, key or None, "key")


@case("B14")
async def bad_item(bench: Bench) -> None:
    """What is wrong with one task is a verdict about it: the others of the call are accepted."""
    good, other = bench.task(), bench.task()
    bad = bench.task(priority=10)
    answers = await bench.put(good, bad, other)
    one_of(answers[0].put, (Put.NEW, Put.UNDECIDED), "the first task, which is good")
    same(answers[1].put, Put.REJECTED, "a task of priority 10")
    holds(isinstance(answers[1].error, SubmitError), "its verdict carries a SubmitError")
    one_of(answers[2].put, (Put.NEW, Put.UNDECIDED), "the last task, which is good")
    got = await (await bench.worker()).take(2)
    same({one.task.id for one in got}, {good.id, other.id}, "tasks delivered")


@case("B15")
async def sizes(bench: Bench) -> None:
    """An empty payload and the largest one arrive; a byte more is PayloadTooLarge."""
    largest = bench.harness.capabilities.max_payload
    empty = await bench.submit(payload=b"")
    full = await bench.submit(payload=b"x" * largest)
    over = bench.task(payload=b"x" * (largest + 1))
    answer = (await bench.put(over))[0]
    same(answer.put, Put.REJECTED, "a payload of one byte too much")
    holds(isinstance(answer.error, PayloadTooLarge), "its verdict carries PayloadTooLarge")
    got = {one.task.id: len(one.task.payload) for one in await (await bench.worker()).take(2)}
    same(got, {empty.id: 0, full.id: largest}, "payload sizes delivered")


@case("B16")
async def every_field(bench: Bench) -> None:
    """Every field of the envelope arrives as it was put."""
    claimed = bench.harness.capabilities.abilities
    options: dict[str, Any] = {
        "payload": json.dumps({"deep": [{"a": [1, 2.5, None, True, {"b": "ü"}]}]}).encode(),
        "max_retry": 7,
        "queue_timeout": 900.0,
        "process_timeout": None,
        "headers": {"a": "b"},
        "result_ttl": 17.0,
        "failure_ttl": 23.0,
        "remember": False,
    }
    if Ability.PRIORITY in claimed:
        options["priority"] = 9
    if Ability.LIMITS in claimed:
        options |= {"key": "k", "key_limit": 3}
    if Ability.DEDUPE in claimed:
        options |= {"unique_key": "hash", "unique_for": 40.0}
    put = await bench.submit(**options)
    got = (await (await bench.worker()).one()).task
    for name in Task.__struct_fields__:
        same(getattr(got, name), getattr(put, name), f"field {name}")


@case("B17")
async def stable(bench: Bench) -> None:
    """A task keeps its id and its time of acceptance in every later delivery."""
    task = await bench.submit()
    worker = await bench.worker()
    first = await worker.one()
    holds(first.accepted_at > 0, "a delivery tells when the task was accepted")
    await worker.ends(first, RetryAt(0.0, OOPS))
    second = await worker.one()
    same(second.task.id, task.id, "id")
    same(second.accepted_at, first.accepted_at, "time of acceptance")


@case("B18")
async def newer_minor(bench: Bench) -> None:
    """Fields that a newer minor version wrote survive, also through a retry."""
    extra = {"colour": "blue", "nested": {"list": [1, 2]}}
    await bench.submit(minor=MINOR + 1, extra=extra)
    worker = await bench.worker()
    first = await worker.one()
    same(first.task.extra, extra, "unknown fields")
    await worker.ends(first, RetryAt(0.0, OOPS))
    same((await worker.one()).task.extra, extra, "unknown fields of the second delivery")


@case("B18b")
async def newer_major(bench: Bench) -> None:
    """A task of a newer major version is delivered as unreadable, and a worker that hands it
    back loses nothing of it."""
    task = await bench.submit(major=MAJOR + 1, payload=b'{"new":1}')
    worker = await bench.worker()
    got = await worker.one()
    same(got.task.id, task.id, "id")
    same(got.task.readable, False, "readable")
    await worker.ends(got, HandBack(unable="version"))
    again = await worker.one(within=4.0)
    same((again.task.id, again.attempt), (task.id, got.attempt), "id and attempt afterwards")


@case("B19")
async def no_leaks(bench: Bench) -> None:
    """What a worker changes in its copy does not reach the next delivery."""
    await bench.submit(headers={"a": "1"}, payload=b'{"a":1}')
    worker = await bench.worker()
    first = await worker.one()
    first.task.headers["a"] = "changed"
    first.task.payload = b"changed"
    await worker.ends(first, HandBack())
    second = (await worker.one()).task
    same((second.headers, second.payload), ({"a": "1"}, b'{"a":1}'), "second delivery")


@case("B19b")
async def producer_keeps_its_copy(bench: Bench) -> None:
    """What a producer changes after its put has returned does not reach the worker."""
    task = bench.task(headers={"a": "1"})
    before = msgspec.structs.replace(task, headers=dict(task.headers))
    await bench.accept(task)
    task.headers["a"] = "changed"
    got = (await (await bench.worker()).one()).task
    same(got.headers, before.headers, "headers delivered")


@case("B20")
async def trace_context(bench: Bench) -> None:
    """Trace headers are in every delivery: the first, after a hand-back and after a retry."""
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    await bench.submit(headers=headers)
    worker = await bench.worker()
    for outcome in (HandBack(), RetryAt(0.0, OOPS), None):
        got = await worker.one()
        same(got.task.headers, headers, f"headers before {outcome}")
        await worker.ends(got, outcome)
