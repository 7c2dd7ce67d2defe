"""Makes the task that a command submits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xqueue_core.client.call import Call, make_call, make_task
from xqueue_core.client.options import TaskOptions
from xqueue_core.errors import InvalidTask
from xqueue_core.ids import make_id

if TYPE_CHECKING:
    from xqueue_core.app import XQueue


async def made(app: XQueue, type: str, values: dict[str, Any], given: dict[str, Any]) -> Call[Any]:
    """A task of the type, with the type's own options if the app declares it, and those given.

    Raises:
        UnknownType: neither the app nor the broker knows the type.
        InvalidTask: arguments or options do not fit.
    """
    spec = app.handlers.get(type)
    if spec is not None:
        options = spec.options.but(given)
        id = make_id(type, options.id, options.unique_key, app._client.uuid)
        try:
            return make_call(spec, options, id, (), values)
        except InvalidTask as error:
            hint = "; to give text, write name==value" if "Expected `str`" in str(error) else ""
            raise InvalidTask(f"{error}{hint}") from error
    call = await app._foreign(type, values)
    options = TaskOptions().but(given)
    id = make_id(type, options.id, options.unique_key, app._client.uuid)
    task = make_task(id, call.task.lane, call.task.payload, options)
    return Call(task, call.decode)
