"""Payloads: what can be encoded, and what happens to what cannot."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest

from xqueue_core.errors import InvalidTask, PayloadTooLarge
from xqueue_core.payload import (
    BYTES,
    JSON,
    MAX_DEPTH,
    MAX_PAYLOAD,
    BytesSerializer,
    Serializers,
    check_size,
    decode_json,
    encode_json,
    json_decoder,
)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Size(msgspec.Struct):
    width: int


class User(pydantic.BaseModel):
    name: str
    since: datetime.date


NOON = datetime.datetime(2024, 5, 17, 12, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (datetime.datetime, NOON),
        (datetime.timedelta, datetime.timedelta(seconds=90)),
        (uuid.UUID, uuid.UUID(int=7)),
        (Decimal, Decimal("1.10")),
        (bytes, b"\0\xff"),
        (Colour, Colour.RED),
        (Point, Point(3)),
        (Size, Size(3)),
        (User, User(name="ann", since=datetime.date(2020, 1, 2))),
        (list[User], [User(name="ann", since=datetime.date(2020, 1, 2))]),
        (set[int], {1, 2}),
        (dict[int, str], {1: "a"}),
        (tuple[int, str], (1, "a")),
        (int, 1 << 70),
        (object, [1, None, "a"]),
        (Any, {"a": {"b": None}}),
    ],
)
def test_values_come_back_as_they_were(type_: Any, value: object) -> None:
    assert decode_json(encode_json(value), json_decoder(type_)) == value


@pytest.mark.parametrize(
    "value", [object(), {1: object()}, lambda: None, 1j, {(1, 2): 3}, "\ud800"]
)
def test_what_cannot_be_encoded_is_refused(value: object) -> None:
    with pytest.raises(InvalidTask, match="cannot be encoded as JSON"):
        encode_json({"value": value})


@pytest.mark.parametrize(
    "value",
    [math.nan, [math.inf], {"a": (-math.inf,)}, Point(1, math.nan), {math.nan}],
)
def test_a_float_without_a_json_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidTask, match="has no JSON form"):
        encode_json({"value": value, "none": None})


def test_what_raises_while_it_is_encoded_is_refused_with_its_cause() -> None:
    class Broken(pydantic.BaseModel):
        @pydantic.model_serializer
        def fail(self) -> dict[str, Any]:
            raise OSError("disk")

    with pytest.raises(InvalidTask, match="disk") as caught:
        encode_json(Broken())
    assert caught.value.__cause__ is not None


def nested(depth: int) -> object:
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_the_deepest_nesting_is_taken() -> None:
    data = encode_json(nested(MAX_DEPTH))
    assert decode_json(data, json_decoder(object)) == nested(MAX_DEPTH)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 10_000, 100_000])
def test_deeper_nesting_cannot_be_encoded(depth: int) -> None:
    with pytest.raises(InvalidTask, match=f"at most {MAX_DEPTH} levels"):
        encode_json(nested(depth))


def test_what_contains_itself_cannot_be_encoded() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidTask, match="nested too deep"):
        encode_json(loop)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 10_000, 200_000])
@pytest.mark.parametrize(
    ("begin", "end"),
    [(b"[", b"]"), (b'{"a":', b"}"), (b"[", b""), (b"[[],", b"]"), (b'["\\"]",', b"]")],
)
def test_deeper_nesting_cannot_be_decoded(depth: int, begin: bytes, end: bytes) -> None:
    with pytest.raises(InvalidTask, match=f"at most {MAX_DEPTH} levels"):
        decode_json(begin * depth + end * depth, json_decoder(object))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    wide = [[{}], {"a": ["[[["] * 3}] * 1000
    assert decode_json(encode_json(wide), json_decoder(object)) == json.loads(json.dumps(wide))


def test_brackets_within_texts_are_not_deep() -> None:
    text = '["\\' * 1000
    assert decode_json(encode_json([text]), json_decoder(object)) == [text]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"\xff", "malformed"),
        (b'"\xff"', "utf-8"),
        (b"]" * 1000 + b"[" * 100, "malformed"),
        (b"[}" * 1000, "malformed|too deep"),
    ],
)
def test_what_is_no_json_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidTask, match=message):
        decode_json(data, json_decoder(object))


def test_what_is_of_another_type_is_refused_with_its_path() -> None:
    with pytest.raises(InvalidTask, match=r"Expected `int`, got `str` - at `\$\[0\].width`"):
        decode_json(b'[{"width": "3"}]', json_decoder(list[Size]))


def test_a_type_that_json_cannot_give_is_refused() -> None:
    with pytest.raises(InvalidTask, match="`complex` cannot be made from JSON"):
        decode_json(b"1", json_decoder(complex))


def test_what_a_model_refuses_is_refused_with_its_path() -> None:
    with pytest.raises(InvalidTask, match=r"since(.|\n)* - at `\$\[0\]`"):
        decode_json(b'[{"name":"ann","since":"never"}]', json_decoder(list[User]))


def test_the_largest_payload_is_taken_and_a_larger_one_refused_with_both_sizes() -> None:
    check_size(b"x" * MAX_PAYLOAD)
    with pytest.raises(PayloadTooLarge, match=r"524289 bytes; at most 524288"):
        check_size(b"x" * (MAX_PAYLOAD + 1))
    with pytest.raises(PayloadTooLarge, match=r"11 bytes; at most 10"):
        check_size(b"x" * 11, 10)


def test_bytes_travel_as_they_are() -> None:
    serializer = Serializers().of(BYTES)
    data = bytes(range(256))
    for value in (data, bytearray(data), memoryview(data)):
        assert serializer.encode({"body": value}) == data
    assert serializer.decode(data, ["body"]) == {"body": data}


@pytest.mark.parametrize("arguments", [{}, {"a": "text"}, {"a": b"", "b": b""}])
def test_what_is_not_one_argument_of_bytes_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidTask, match="one argument of type bytes"):
        BytesSerializer().encode(arguments)


def test_bytes_need_a_handler_with_one_parameter() -> None:
    with pytest.raises(InvalidTask, match="this one has 2: a, b"):
        BytesSerializer().decode(b"", ["a", "b"])


def test_an_unknown_content_type_names_the_known_ones() -> None:
    with pytest.raises(InvalidTask, match=rf"'text/x'.*{JSON}, {BYTES}"):
        Serializers().of("text/x")
