"""What no broker accepts, whoever asks for it: the last check of a task before it is stored.

A client checks its user's options more closely, and with better words; this is for all others
that put tasks, and for edits of stored ones.
"""

from __future__ import annotations

import msgspec

from xqueue_core.calls import Capabilities, Edit, Replay, Reschedule
from xqueue_core.envelope import encode_task
from xqueue_core.errors import InvalidTask, PayloadTooLarge
from xqueue_core.task import Task

Fault = InvalidTask | PayloadTooLarge

#: What is beyond this no backend takes; JSON's and msgpack's own bounds apply.
BOUNDLESS = Capabilities(max_payload=2**63 - 1, max_delay=1e12)

#: Durations of a task: no NaN, which would be in no order with others, and none below 0.
_DURATIONS = ("queue_timeout", "process_timeout", "unique_for", "result_ttl", "failure_ttl")


def fault(task: Task, most: Capabilities, at: float) -> Fault | None:
    """What is wrong with a task whoever made it, so that no bad one is ever accepted.

    ``at`` is the wall time if the task has a ``run_at``.
    """
    # True is a number to Python, and 5.5 lies between 0 and 9.
    if type(task.priority) is not int or not 0 <= task.priority <= 9:
        return InvalidTask(f"task {task.id}: priority is {task.priority}, not 0 to 9")
    type_, _, token = task.id.partition(":")
    if not type_ or not token or token.endswith(":"):
        return InvalidTask(f"task {task.id!r}: an id is <type>:<token>")
    delay = task.delay if task.run_at is None else task.run_at - at
    if not delay <= most.max_delay:
        return InvalidTask(f"task {task.id}: due in {delay} s, beyond {most.max_delay} s")
    # Not one by one by their names: this is done for every task.
    if not (
        task.result_ttl >= 0
        and task.failure_ttl >= 0
        and (task.queue_timeout or 0.0) >= 0
        and (task.process_timeout or 0.0) >= 0
        and (task.unique_for or 0.0) >= 0
    ):
        return InvalidTask(f"task {task.id}: {_wrong_duration(task)}, not 0 or more")
    if type(task.max_retry) is not int or task.max_retry < 0:
        return InvalidTask(f"task {task.id}: max_retry is {task.max_retry}, not 0 or more")
    if task.key_limit is not None and task.key_limit < 1:
        return InvalidTask(f"task {task.id}: key_limit is {task.key_limit}, not 1 or more")
    if len(task.payload) > most.max_payload:
        return PayloadTooLarge(
            f"task {task.id}: the payload has {len(task.payload)} bytes, "
            f"more than the {most.max_payload} allowed"
        )
    return None


def _wrong_duration(task: Task) -> str:
    wrong = next(name for name in _DURATIONS if not (getattr(task, name) or 0.0) >= 0)
    return f"{wrong} is {getattr(task, wrong)}"


def packed(task: Task, most: Capabilities, at: float) -> bytes | Fault:
    """The envelope of a task, or what is wrong with it; ``at`` as for :func:`fault`."""
    try:
        return fault(task, most, at) or encode_task(task)
    # Nobody has checked its fields: a lone surrogate, a number beyond 64 bits, another type.
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this task's alone
        return InvalidTask(f"task {task.id!r} cannot be encoded: {error}")


def edited(
    task: Task, edit: Edit | None, delay: float, most: Capabilities = BOUNDLESS
) -> Task | Fault:
    """The task with these changes, or what is wrong with them and the delay of its next run.

    What does not change was checked when it came. Without ``most`` only what no backend takes is
    wrong: each judges the rest by its own numbers, see :func:`misfit`.
    """
    fields = Edit.__struct_fields__
    given = {name: getattr(edit, name) for name in fields} if edit is not None else {}
    changes = {name: value for name, value in given.items() if value is not None}
    raw = packed(Task(id=task.id, lane=task.lane, delay=delay, **changes), most, 0.0)
    return msgspec.structs.replace(task, **changes) if isinstance(raw, bytes) else raw


def misfit(command: Replay | Reschedule, most: Capabilities, at: float) -> str:
    """Why a put would not pass what the command asks for, whatever its task; "" if it would.

    ``at`` is the wall time.
    """
    # A name that is no id is not what is wrong here: there is no such task.
    anyone = Task(id="type:task", lane="lane")
    if isinstance(command, Replay):
        wrong = edited(anyone, command.edit, command.delay, most)
        return "" if isinstance(wrong, Task) else str(wrong).replace(anyone.id, command.id)
    timed = msgspec.structs.replace(anyone, delay=command.delay, run_at=command.run_at)
    wrong_time = fault(timed, most, at)
    return "" if wrong_time is None else str(wrong_time).replace(anyone.id, command.id)
