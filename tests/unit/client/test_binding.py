"""Binding: from a call's arguments to a payload, and from there to the function."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import typing
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pydantic
import pytest

import xqueue_core.context
from xqueue_core.client.binding import Binding
from xqueue_core.context import Context
from xqueue_core.errors import ConfigError, InvalidTask
from xqueue_core.payload import BYTES, JSON, Serializers

if TYPE_CHECKING:
    import xqueue_core.context as nowhere
    from xqueue_core.nowhere import Missing  # type: ignore[import-not-found]

SERIALIZERS = Serializers()


class Box(msgspec.Struct):
    size: int


@dataclasses.dataclass
class Point:
    x: int


class User(pydantic.BaseModel):
    name: str


def bound(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments as the function would get them, by way of a payload."""
    binding = Binding(function, {})
    _, arguments = binding.encode(binding.bind(args, kwargs), JSON, SERIALIZERS)
    return arguments


def called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function returns when it is called by way of a payload."""
    return Binding(function, {}).call("context", bound(function, *args, **kwargs))


def thumbnail(path: str, width: int = 320, *, kind: str = "png") -> Any:
    return path, width, kind


def test_arguments_are_given_as_in_a_call() -> None:
    assert called(thumbnail, "a") == ("a", 320, "png")
    assert called(thumbnail, "a", 5) == ("a", 5, "png")
    assert called(thumbnail, width=5, path="a", kind="gif") == ("a", 5, "gif")


def test_defaults_do_not_travel() -> None:
    binding = Binding(thumbnail, {})
    assert binding.encode({"path": "a"}, JSON, SERIALIZERS)[0] == b'{"path":"a"}'


def test_a_default_is_the_functions_own() -> None:
    marker = object()

    def keep(a: int = marker, b: list[int] = [1]) -> Any:  # type: ignore[assignment]  # noqa: B006
        return a, b

    assert called(keep) == (marker, [1])


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing required field `path`"),
        ((1,), {}, r"Expected `str`, got `int` - at `\$.path`"),
        (("a", "5"), {}, r"Expected `int`, got `str` - at `\$.width`"),
        (("a", None), {}, r"Expected `int`, got `null` - at `\$.width`"),
        (("a", 5, "gif"), {}, "2 positional arguments at most, got 3"),
        (("a",), {"path": "b"}, "two values for the argument `path`"),
        (("a",), {"colour": 1}, "unknown field `colour`"),
        (("a",), {"width": 1.5}, r"Expected `int`, got `float` - at `\$.width`"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidTask, match=words):
        bound(thumbnail, *args, **kwargs)


@pytest.mark.parametrize("value", [b"a", bytearray(b"a"), memoryview(b"a")], ids=repr)
@pytest.mark.parametrize("hint", [str, str | None, Annotated[str, "path"], str | int], ids=str)
def test_bytes_are_no_text(hint: Any, value: object) -> None:
    """They would arrive as base64, without a word."""

    def handler(path: str) -> None: ...

    handler.__annotations__["path"] = hint
    with pytest.raises(InvalidTask, match=r"Expected `str`, got `\w+` - at `\$.path`; decode"):
        bound(handler, value)


def test_bytes_are_taken_where_they_may_be_meant() -> None:
    def handler(a: bytes, b: str | Any, c: Any) -> None: ...

    assert bound(handler, b"x", b"x", b"x") == {"a": b"x", "b": "eA==", "c": "eA=="}


def test_a_context_that_is_not_first_is_refused() -> None:
    def second(path: str, ctx: Context) -> None: ...

    def named(ctx: Context, path: str, *, other: Context) -> None: ...

    with pytest.raises(
        ConfigError, match=r"`ctx` of .*second\(\) is a Context, but only the first"
    ):
        Binding(second, {})
    with pytest.raises(ConfigError, match="put `other: Context` first"):
        Binding(named, {})


def test_a_ctx_without_annotation_is_refused() -> None:
    def bare(ctx, path: str) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    def meant(ctx: Any, path: str) -> None: ...

    with pytest.raises(ConfigError, match=r"bare\(\) has no annotation; write `ctx: Context`"):
        Binding(bare, {})
    assert Binding(meant, {}).names == ("ctx", "path")


def test_arguments_are_converted_to_the_annotations() -> None:
    def handler(
        when: datetime.datetime, id: uuid.UUID, box: Box, point: Point, user: User, tags: set[str]
    ) -> None: ...

    given = {
        "when": datetime.datetime(2024, 5, 17, tzinfo=datetime.UTC),
        "id": uuid.UUID(int=7),
        "box": Box(1),
        "point": Point(2),
        "user": User(name="ann"),
        "tags": {"a"},
    }
    assert bound(handler, **given) == given


def test_the_path_leads_into_what_is_nested() -> None:
    def handler(boxes: list[Box]) -> None: ...

    with pytest.raises(InvalidTask, match=r"`\$.boxes\[1\].size`"):
        bound(handler, [Box(1), {"size": "big"}])


def test_constraints_in_annotations_count() -> None:
    def handler(width: Annotated[int, msgspec.Meta(ge=1)]) -> None: ...

    with pytest.raises(InvalidTask, match=r"`int` >= 1 - at `\$.width`"):
        bound(handler, 0)


def test_without_annotations_anything_goes() -> None:
    def handler(a, b=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return a, b

    assert called(handler, [1, "x"], {"y": None}) == ([1, "x"], {"y": None})


def test_positional_only_parameters_are_named_in_the_payload() -> None:
    def handler(a: int, b: int = 2, /, c: int = 3) -> Any:
        return a, b, c

    assert called(handler, 1) == (1, 2, 3)
    assert called(handler, 1, 5) == (1, 5, 3)
    assert called(handler, c=7, a=1) == (1, 2, 7)


def test_further_keywords_are_checked_too() -> None:
    def handler(a: int, **sizes: int) -> Any:
        return a, sizes

    assert called(handler, 1, x=2, y=3) == (1, {"x": 2, "y": 3})
    with pytest.raises(InvalidTask, match="Expected `int`, got `str`"):
        bound(handler, 1, x="2")


def test_a_list_of_arguments_has_no_names() -> None:
    def handler(*paths: str) -> None: ...

    with pytest.raises(ConfigError, match=r"\*paths of .*handler\(\) has none; take a list"):
        Binding(handler, {})


def test_what_has_no_json_form_is_refused_when_it_is_submitted() -> None:
    def handler(number: Any) -> None: ...

    with pytest.raises(InvalidTask, match="`complex` have no JSON form"):
        bound(handler, 1j)


def test_what_cannot_be_told_apart_is_refused_when_it_is_declared() -> None:
    def handler(box: Box | Point) -> None: ...

    with pytest.raises(ConfigError, match=r"handler\(\) cannot take its arguments from JSON"):
        Binding(handler, {"Box": Box, "Point": Point})


# -- the context ------------------------------------------------------------------------------


def with_context(ctx: Context, a: int) -> Any:
    return ctx, a


def with_its_module(ctx: xqueue_core.context.Context, a: int) -> Any:
    return ctx, a


def for_checkers(ctx: nowhere.Context, a: int) -> Any:
    return ctx, a


@pytest.mark.parametrize("function", [with_context, with_its_module, for_checkers])
def test_the_context_is_given_and_does_not_travel(function: Callable[..., Any]) -> None:
    binding = Binding(function, {})
    assert binding.takes_context
    assert binding.names == ("a",)
    assert called(function, 1) == ("context", 1)
    with pytest.raises(InvalidTask, match="unknown field `ctx`"):
        bound(function, ctx=1, a=1)


def test_annotations_that_are_no_texts_count_as_well() -> None:
    def handler(ctx: Any, box: Any) -> Any:
        return ctx, box

    handler.__annotations__ = {"ctx": Context, "box": Box, "return": "Box"}
    assert Binding(handler, {}).takes_context
    assert called(handler, Box(3)) == ("context", Box(3))


def test_another_first_parameter_is_no_context() -> None:
    def handler(context: str, ctx: Context | None = None) -> None: ...

    assert not Binding(handler, {}).takes_context


# -- names -------------------------------------------------------------------------------------


def test_what_is_local_around_the_function_is_found() -> None:
    class Local(msgspec.Struct):
        size: int

    def handler(local: list[Local]) -> None: ...

    binding = Binding(handler, {"Local": Local})
    assert binding.decode(b'{"local":[{"size":1}]}', JSON, SERIALIZERS) == {"local": [Local(1)]}


def uses_later(later: Later) -> Later:
    return later


def test_what_is_defined_later_is_found_at_the_first_use() -> None:
    binding = EARLY
    assert binding.decode(b'{"later":{"size":1}}', JSON, SERIALIZERS) == {"later": Later(1)}
    assert binding.decode_result(b'{"size":2}') == Later(2)


EARLY = Binding(uses_later, {})


class Later(msgspec.Struct):
    size: int


def test_what_is_nowhere_is_told() -> None:
    def handler(missing: Missing) -> None: ...

    binding = Binding(handler, {})
    with pytest.raises(ConfigError, match=r"handler\(\) cannot be resolved: .*'Missing'"):
        binding.decode(b"{}", JSON, SERIALIZERS)


def test_a_decorated_function_keeps_its_annotations() -> None:
    @functools.wraps(thumbnail)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return thumbnail(*args, **kwargs)

    assert called(wrapper, "a", 5) == ("a", 5, "png")


# -- other payloads, results --------------------------------------------------------------------


def test_bytes_are_given_to_the_one_parameter() -> None:
    def handler(ctx: Context, body: bytes) -> Any:
        return body

    binding = Binding(handler, {})
    payload, arguments = binding.encode({"body": b"\0\xff"}, BYTES, SERIALIZERS)
    assert payload == b"\0\xff"
    assert arguments == {"body": b"\0\xff"}


def test_bytes_must_fit_the_annotation() -> None:
    def handler(body: int) -> None: ...

    with pytest.raises(InvalidTask, match=r"Expected `int`, got `bytes` - at `\$.body`"):
        Binding(handler, {}).decode(b"1", BYTES, SERIALIZERS)


def test_a_result_is_converted_to_the_return_annotation() -> None:
    def handler() -> dict[str, Box]: ...  # type: ignore[empty-body]

    binding = Binding(handler, {})
    assert binding.decode_result(b'{"a":{"size":1}}') == {"a": Box(1)}
    with pytest.raises(InvalidTask, match=r"Expected `int`, got `str`"):
        binding.decode_result(b'{"a":{"size":"x"}}')


def test_a_return_annotation_that_json_cannot_have_is_let_be() -> None:
    def handler() -> Box | Point: ...  # type: ignore[empty-body]

    binding = Binding(handler, {"Box": Box, "Point": Point})
    assert binding.decode_result(b"[1]") == [1]


def test_generics_hold_texts_too() -> None:
    def handler(boxes: Any) -> Any: ...

    handler.__annotations__ = {"boxes": typing.List["Box"]}  # noqa: UP006
    assert bound(handler, [Box(1)]) == {"boxes": [Box(1)]}
