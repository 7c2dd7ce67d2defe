"""The tree of errors."""

from __future__ import annotations

from collections.abc import Iterator

from website.reference.texts import docstring
from xqueue_core import errors

INTRO = """# Errors

Every error that XQueue raises is an `XQueueError`, but for a wait that ends without an answer,
which is the built-in `TimeoutError`. All of them are in `xqueue_core`, and are one small tree:
"""


def page() -> str:
    """The tree, then each error."""
    tree = "\n".join(_tree(errors.XQueueError, 0))
    each = "\n\n".join(f"## {one.__name__}\n\n{docstring(one)}" for one in _all(errors.XQueueError))
    return f"{INTRO}\n```text\n{tree}\n```\n\n{each}"


def _children(error: type) -> list[type]:
    """In the order in which the module declares them."""
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    return [one for one in classes if one.__bases__[0] is error]


def _all(error: type) -> Iterator[type]:
    yield error
    for one in _children(error):
        yield from _all(one)


def _tree(error: type, depth: int) -> Iterator[str]:
    yield "    " * depth + error.__name__
    for one in _children(error):
        yield from _tree(one, depth + 1)
