"""Payloads: one JSON object, name to value, unless a content type selects another serializer.

Whatever is wrong with a payload is an InvalidTask (or PayloadTooLarge) that says where, for
encoding and for decoding alike: a hostile payload must not be able to take a process down.
"""

from __future__ import annotations

import math
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec

from xqueue_core.abc import API
from xqueue_core.errors import InvalidTask, PayloadTooLarge
from xqueue_core.loading import loading

T = TypeVar("T")

JSON = "application/json"
BYTES = "application/octet-stream"
#: Largest encoded payload on every backend (bytes), so that switching cannot fail.
MAX_PAYLOAD = 512 * 1024
#: Deepest nesting of lists and objects. Far above any use, far below any interpreter's limit.
MAX_DEPTH = 128

_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")


def check_size(payload: bytes, limit: int = MAX_PAYLOAD) -> None:
    """Raises PayloadTooLarge, giving both sizes, if the payload has more than ``limit`` bytes."""
    if len(payload) > limit:
        raise PayloadTooLarge(
            f"the encoded payload has {len(payload)} bytes; at most {limit} are allowed: "
            f"keep large data elsewhere and submit a reference to it"
        )


def encode_json(value: object) -> bytes:
    """The value as JSON.

    Datetimes, UUIDs, dataclasses, msgspec structs, sets, bytes (base64) and the like become
    their usual JSON forms, and pydantic models theirs.

    Raises:
        InvalidTask: something in it has no JSON form, is NaN or infinite, or is nested more
            than ``MAX_DEPTH`` deep.
    """
    try:
        data = _encoder.encode(value)
    except RecursionError as error:
        raise _too_deep() from error
    # A type's own hook may raise anything while it is encoded.
    except Exception as error:
        raise InvalidTask(f"cannot be encoded as JSON: {error}") from error
    _check_depth(data)
    if b"null" in data:
        _refuse_nan(value)
    return data


def decode_json(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """What the decoder makes of the data; make decoders with :func:`json_decoder`.

    Raises:
        InvalidTask: it is no JSON, does not fit the decoder's type (the message says what was
            expected where), or is nested more than ``MAX_DEPTH`` deep.
    """
    _check_depth(data)
    try:
        return decoder.decode(data)
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.MsgspecError, UnicodeDecodeError, NotImplementedError) as error:
        raise InvalidTask(str(error)) from error


def json_decoder(type: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder for the type. Raises TypeError if msgspec cannot have it as a whole."""
    with loading:  # msgspec looks at classes, and must not do so in two threads at once
        return msgspec.json.Decoder(type, dec_hook=dec_hook)


def _encode_hook(value: object) -> object:
    model = _pydantic_model()
    if model is not None and isinstance(value, model):
        return value.model_dump(mode="json")
    raise TypeError(f"objects of type `{type(value).__qualname__}` have no JSON form")


def dec_hook(wanted: Any, value: Any) -> Any:
    """For msgspec: makes pydantic models, which it does not know, from decoded data."""
    make: Any = wanted
    if is_model(wanted):
        try:
            return make.model_validate(value)
        except sys.modules["pydantic"].ValidationError as error:
            # msgspec adds the path to the message of a ValueError.
            raise ValueError(_in_one_line(error)) from error
    if wanted is object:
        return value
    name = getattr(wanted, "__qualname__", str(wanted))
    raise TypeError(f"values of type `{name}` cannot be made from JSON")


def is_model(wanted: object) -> bool:
    """True for a class of pydantic models."""
    model = _pydantic_model()
    return model is not None and isinstance(wanted, type) and issubclass(wanted, model)


def _in_one_line(error: Any) -> str:
    """What pydantic has to say, without its links: ``User: name: Field required; age: ...``."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    said = [
        ": ".join(part for part in (".".join(map(str, one["loc"])), one["msg"]) if part)
        for one in faults
    ]
    return f"{error.title}: {'; '.join(said)}"


def _pydantic_model() -> Any:
    """pydantic's model class if the process uses pydantic; never imports it."""
    return getattr(sys.modules.get("pydantic"), "BaseModel", None)


# Of a NaN in a set there is no way back from JSON either: it is refused like any other.
_encoder = msgspec.json.Encoder(enc_hook=_encode_hook)


def _too_deep() -> InvalidTask:
    return InvalidTask(f"nested too deep: at most {MAX_DEPTH} levels are allowed")


def _check_depth(data: bytes) -> None:
    """Refuse deep nesting before any recursive code sees it, at the cost of two counts."""
    if len(data) <= MAX_DEPTH or data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    brackets = _TEXT.sub(b"", data).translate(_AS_SQUARE, _NOT_BRACKETS)
    # Each round takes the innermost pairs away, all of them at once.
    for _ in range(MAX_DEPTH):
        fewer = brackets.replace(b"[]", b"")
        if not fewer:
            return
        if len(fewer) == len(brackets):
            break  # unbalanced
        brackets = fewer
    if b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH:
        raise _too_deep()


def _refuse_nan(value: object) -> None:
    """JSON has no NaN and no infinity; msgspec writes null, which is another value."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                raise InvalidTask(f"cannot be encoded as JSON: {item!r} has no JSON form")
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            stack.extend(item)
        elif isinstance(item, msgspec.Struct):
            stack.extend(getattr(item, name) for name in item.__struct_fields__)
        elif hasattr(item, "__dataclass_fields__"):
            stack.extend(getattr(item, name, None) for name in item.__dataclass_fields__)


class Serializer(ABC):
    """Another form of payload, chosen by its content type.

    An entry point in the group ``xqueue.serializers`` names the class, which is made without
    arguments. It may be used in several threads at once.
    """

    #: Version of this contract that it was written for: state it, ``api = 1``.
    api: ClassVar[int] = API
    #: Modules that must be importable, and the extra that brings each.
    requires: ClassVar[Mapping[str, str]] = {}
    #: The content type that selects it.
    content_type: str

    @abstractmethod
    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        """The arguments, name to value, as bytes. Raises InvalidTask if that cannot be."""

    @abstractmethod
    def decode(self, data: bytes, names: Sequence[str]) -> Mapping[str, Any]:
        """The arguments again, for a handler with these parameters. Raises InvalidTask."""


class BytesSerializer(Serializer):
    """The payload is the handler's one argument itself: any bytes."""

    content_type = BYTES

    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        """The one argument, which must be bytes."""
        values = list(arguments.values())
        if len(values) == 1 and isinstance(values[0], bytes | bytearray | memoryview):
            return bytes(values[0])
        kinds = ", ".join(type(value).__name__ for value in values) or "none"
        raise InvalidTask(f"a payload of {BYTES} is one argument of type bytes; got: {kinds}")

    def decode(self, data: bytes, names: Sequence[str]) -> Mapping[str, Any]:
        """The bytes, under the name of the handler's only parameter."""
        if len(names) != 1:
            raise InvalidTask(
                f"a payload of {BYTES} needs a handler with one parameter; this one has "
                f"{len(names)}: {', '.join(names) or 'none'}"
            )
        return {names[0]: data}


class Serializers:
    """Serializers by content type. JSON is not among them: it is built in."""

    def __init__(self, *serializers: Serializer) -> None:
        self._found = {one.content_type: one for one in (BytesSerializer(), *serializers)}

    def of(self, content_type: str) -> Serializer:
        """The serializer for a content type. Raises InvalidTask naming the known ones."""
        found = self._found.get(content_type)
        if found is None:
            known = ", ".join([JSON, *sorted(self._found)])
            raise InvalidTask(f"no serializer for {content_type!r} (known: {known})")
        return found
