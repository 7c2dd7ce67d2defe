"""Types without a JSON form are refused when they are declared, and no others are."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import typing
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import pydantic
import pytest

from support.rehearsed import an_app
from xqueue_core import ConfigError, InvalidTask, XQueue
from xqueue_core.abc import Role

if TYPE_CHECKING:
    from xqueue_core.nowhere import Missing  # type: ignore[import-not-found]

T = TypeVar("T")


class Plain: ...


@dataclasses.dataclass
class Holds:
    where: list[pathlib.Path]


@dataclasses.dataclass
class MayHold:
    name: str
    where: pathlib.Path = pathlib.Path()


class Node(msgspec.Struct):
    size: int
    inner: list[Node] = []


class Pair(pydantic.BaseModel, Generic[T]):
    one: T


class Named(typing.NamedTuple):
    at: datetime.datetime


class Typed(typing.TypedDict):
    id: uuid.UUID


class User(pydantic.BaseModel):
    name: str
    age: int


def taking(hint: Any) -> Any:
    async def job(p: Any) -> None: ...

    job.__annotations__["p"] = hint
    return job


@pytest.mark.parametrize(
    ("hint", "kind"),
    [
        (Plain, "Plain"),
        (pathlib.Path, "Path"),
        (pathlib.Path | None, "Path"),
        (list[Plain], "Plain"),
        (dict[str, pathlib.Path], "Path"),
        (tuple[int, complex], "complex"),
        (tuple[Plain, ...], "Plain"),
        (Iterable[int], "Iterable"),
        (Holds, "Path"),
    ],
    ids=str,
)
def test_what_has_no_json_form_is_refused(hint: Any, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"`p` of .*job\(\) has the type {kind}, which has no"):
        an_app().task(taking(hint))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (MayHold, {"name": "a"}),
        (Node, Node(1, [Node(2)])),
        (User, User(name="a", age=1)),
        (Pair[int], Pair[int](one=1)),
        (list[User] | None, None),
        (Named, Named(datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))),
        (Typed, {"id": uuid.UUID(int=1)}),
        (object, [1]),
        (Any, {"a": 1}),
        (typing.Literal["a"], "a"),
        (T, 1),
        (int | str | list[int], [1]),
        (bytes, b"a"),
        (typing.Mapping[str, typing.Sequence[int]], {"a": [1]}),
    ],
    ids=str,
)
def test_no_other_is(hint: Any, value: Any) -> None:
    app = an_app()
    handler = app.task(taking(hint))
    with app.testing() as t:
        handler.sync.submit(value)
        assert [run.how for run in t.run_all()] == ["success"]


def test_what_has_a_default_need_not_be_given() -> None:
    app = an_app()

    @app.task
    async def job(n: int, where: pathlib.Path = pathlib.Path("here")) -> str:
        return f"{n} {where}"

    with app.testing() as t:
        handle = job.sync.submit(1)
        t.run_all()
        assert handle.result() == "1 here"
        with pytest.raises(InvalidTask, match="no JSON form"):
            job.sync.submit(1, pathlib.Path("there"))


def test_another_form_is_not_asked() -> None:
    an_app().task(content_type="application/octet-stream")(taking(bytes))


def _with_a_missing_name() -> XQueue:
    app = XQueue("memory://")

    @app.task
    async def job(m: Missing) -> None: ...

    return app


@pytest.mark.anyio
async def test_a_name_that_is_nowhere_is_told_when_the_app_is_opened() -> None:
    app = _with_a_missing_name()
    with pytest.raises(ConfigError, match=r"job\(\) cannot be resolved: .*'Missing'"):
        async with app:
            pass
    with pytest.raises(ConfigError, match="'Missing'"):
        app.connect(Role.WORKER)
    async with app.connect(Role.VIEW):
        pass


def uses_later(later: Later) -> None: ...


EARLY = XQueue("memory://")
EARLY.task(uses_later)


class Later: ...


def test_what_is_defined_later_is_looked_at_when_the_app_is_opened() -> None:
    with pytest.raises(ConfigError, match="type Later, which has no JSON form"):
        EARLY.connect()


def test_what_pydantic_says_is_one_line_without_links() -> None:
    handler = an_app().task(taking(User))
    with pytest.raises(InvalidTask) as caught:
        handler.call({"name": 1})
    assert str(caught.value) == (
        "the arguments do not fit 'job': User: name: Input should be a valid string; "
        "age: Field required - at `$.p`"
    )
