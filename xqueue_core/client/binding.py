"""A function's parameters, as the one object of names and values that a payload is.

Nothing is resolved twice: what a handler's annotations mean is worked out when it is declared,
or, where they name something defined further down in its module, at the first use.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from inspect import Parameter
from typing import Annotated, Any, Union

import msgspec

from xqueue_core.client.forms import refuse_formless
from xqueue_core.errors import ConfigError, InvalidTask
from xqueue_core.payload import (
    JSON,
    Serializer,
    Serializers,
    dec_hook,
    decode_json,
    encode_json,
    json_decoder,
)

#: Stands for an argument that was not given: the function's own default then applies.
_MISSING: Any = object()
_BYTES = (bytes, bytearray, memoryview)
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_object_decoder = json_decoder(dict[str, Any])
_any_decoder = json_decoder(typing.cast("type[Any]", Any))


class Binding:
    """How arguments get from a call into a payload, and from there into the function."""

    def __init__(self, function: Callable[..., Any], names: Mapping[str, Any]) -> None:
        """``names`` are those visible where the function was declared, beyond its module's."""
        parameters = _parameters(function)
        _check_self(parameters, function)
        first = parameters[0] if parameters else None
        self._function = function
        self._names = names
        self.takes_context = first is not None and _is_context(first, function, names)
        if self.takes_context:
            parameters = parameters[1:]
        _check_contexts(parameters, self.takes_context, function, names)
        self._only_positional = [
            one.name for one in parameters if one.kind is Parameter.POSITIONAL_ONLY
        ]
        self._positional = [one.name for one in parameters if one.kind in _POSITIONAL]
        self._rest = next((one for one in parameters if one.kind is Parameter.VAR_KEYWORD), None)
        self._parameters = [one for one in parameters if one is not self._rest]
        self.names = tuple(one.name for one in self._parameters)
        self.defaults = {
            one.name: one.default for one in self._parameters if one.default is not one.empty
        }
        self._decoders: _Decoders | None = None
        self._result: msgspec.json.Decoder[Any] | None = None
        with suppress(NameError):  # it may be defined further down: found at the first use
            self._decoders = _Decoders(self)
            self._result = _result_decoder(self.hint("return"))
            self._names = {}  # the locals of whoever declared it need not be kept

    @property
    def takes_any(self) -> bool:
        """True if the function takes arguments of any name, by ``**``."""
        return self._rest is not None

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The given arguments by name, defaults left out. Raises InvalidTask, as Python would."""
        if not args:
            return dict(kwargs)
        if len(args) > len(self._positional):
            raise InvalidTask(
                f"{len(self._positional)} positional arguments at most, got {len(args)}"
            )
        bound = dict(zip(self._positional, args, strict=False))
        for name, value in kwargs.items():
            if name in bound:
                raise InvalidTask(f"two values for the argument `{name}`")
            bound[name] = value
        return bound

    def encode(
        self, arguments: Mapping[str, Any], content_type: str, serializers: Serializers
    ) -> tuple[bytes, dict[str, Any]]:
        """The payload, and the arguments as the handler will get them.

        What was encoded is decoded at once, so that whatever a worker would refuse is refused
        where it was written.
        """
        if content_type == JSON:
            self._refuse_bytes(arguments)
            payload = encode_json(arguments)
        else:
            payload = _encoded(arguments, serializers.of(content_type))
        return payload, self.decode(payload, content_type, serializers)

    def _refuse_bytes(self, arguments: Mapping[str, Any]) -> None:
        """JSON would turn bytes into base64, which a text parameter then takes for its text."""
        for name, value in arguments.items():
            if isinstance(value, _BYTES) and name in self.resolved().texts:
                kind = type(value).__name__
                raise InvalidTask(f"Expected `str`, got `{kind}` - at `$.{name}`; decode it first")

    def decode(self, payload: bytes, content_type: str, serializers: Serializers) -> dict[str, Any]:
        """The arguments, converted to the annotations. Raises InvalidTask with the path."""
        decoders = self.resolved()
        if content_type == JSON:
            struct = decode_json(payload, decoders.arguments)
            rest = decode_json(payload, _object_decoder) if self._rest else {}
        else:
            decoded = _decoded(payload, self.names, serializers.of(content_type))
            struct = _converted(decoded, decoders.struct)
            rest = dict(decoded) if self._rest else {}
        arguments = {
            name: value for name in self.names if (value := getattr(struct, name)) is not _MISSING
        }
        if self._rest is not None:
            extra = {name: value for name, value in rest.items() if name not in self.names}
            arguments.update(_converted(extra, dict[str, decoders.rest]))  # type: ignore[name-defined]
        return arguments

    def decode_result(self, result: bytes) -> Any:
        """A result, converted to the return annotation. Raises InvalidTask if it does not fit.

        An annotation that cannot be resolved, or that JSON cannot have, lets anything through.
        """
        if self._result is None:
            try:
                self._result = _result_decoder(self.hint("return"))
            except NameError:
                self._result = _any_decoder
        return decode_json(result, self._result)

    def call(self, context: object, arguments: dict[str, Any]) -> Any:
        """Call the function; positional-only parameters are given by position."""
        args = [context] if self.takes_context else []
        if self._only_positional:
            arguments = dict(arguments)
            for name in self._only_positional:
                if name not in arguments:
                    break
                args.append(arguments.pop(name))
        return self._function(*args, **arguments)

    def hint(self, name: str) -> Any:
        """What the annotation of a parameter, or of ``return``, means. Raises NameError."""
        # Of a decorated function the annotations belong to what it wraps.
        source = inspect.unwrap(self._function)
        hint = getattr(source, "__annotations__", {}).get(name, Any)
        return _resolve(hint, getattr(source, "__globals__", {}), self._names)

    @property
    def known(self) -> bool:
        """True if it is known what the annotations mean."""
        return self._decoders is not None

    def check_json(self) -> None:
        """Raise ConfigError for an argument that JSON cannot have, or cannot be resolved."""
        refuse_formless(self._function.__qualname__, self.resolved().required)

    def resolved(self) -> _Decoders:
        """What the annotations mean. Raises ConfigError if they name what there is not."""
        if self._decoders is None:
            try:
                self._decoders = _Decoders(self)
            except NameError as error:
                raise ConfigError(
                    f"an annotation of {self._function.__qualname__}() cannot be resolved: {error}"
                ) from error
        return self._decoders


class _Decoders:
    """What needs the annotations' meaning."""

    def __init__(self, binding: Binding) -> None:
        rest = binding._rest
        hints = {one.name: binding.hint(one.name) for one in binding._parameters}
        fields = [_field(one, hints[one.name]) for one in binding._parameters]
        #: Of the parameters that must be given.
        self.required = {
            one.name: hints[one.name] for one in binding._parameters if one.default is one.empty
        }
        self.texts = frozenset(name for name, hint in hints.items() if _only_text(hint))
        self.rest = binding.hint(rest.name) if rest is not None else Any
        try:
            self.struct = msgspec.defstruct(
                "arguments", fields, kw_only=True, forbid_unknown_fields=rest is None
            )
            self.arguments = json_decoder(self.struct)
        except TypeError as error:
            raise ConfigError(
                f"{binding._function.__qualname__}() cannot take its arguments from JSON: {error}"
            ) from error


def _only_text(hint: Any) -> bool:
    """True if the annotation takes texts, and nothing that bytes could be meant for."""
    if typing.get_origin(hint) is Annotated:
        return _only_text(hint.__origin__)
    if typing.get_origin(hint) in (Union, types.UnionType):
        # Of str and bytes msgspec refuses a union: both are texts in JSON.
        kinds = typing.get_args(hint)
        return Any not in kinds and any(map(_only_text, kinds))
    return hint is str


def _result_decoder(hint: Any) -> msgspec.json.Decoder[Any]:
    try:
        return json_decoder(hint)
    except TypeError:
        return _any_decoder


def _converted(value: object, wanted: Any) -> Any:
    try:
        return msgspec.convert(value, wanted, dec_hook=dec_hook)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidTask(str(error)) from error


def _field(parameter: Parameter, hint: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
    if parameter.default is parameter.empty:
        return parameter.name, hint
    return parameter.name, hint, _MISSING


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{function!r} cannot be a handler: {error}") from error
    for one in parameters:
        if one.kind is Parameter.VAR_POSITIONAL:
            raise ConfigError(
                f"a handler's arguments travel by name: *{one.name} of "
                f"{getattr(function, '__qualname__', function)}() has none; take a list instead"
            )
    return parameters


def _is_context(first: Parameter, function: Callable[..., Any], names: Mapping[str, Any]) -> bool:
    hint = first.annotation
    try:
        hint = _resolve(hint, getattr(inspect.unwrap(function), "__globals__", {}), names)
    except NameError:
        # Imported for type checkers alone: its name is all there is.
        return isinstance(hint, str) and hint.rpartition(".")[2] == "Context"
    # If that module was never imported, nothing can be annotated with its class.
    context = getattr(sys.modules.get("xqueue_core.context"), "Context", None)
    return context is not None and isinstance(hint, type) and issubclass(hint, context)


def _check_self(parameters: Sequence[Parameter], function: Callable[..., Any]) -> None:
    """Refuse a method: there is no object to call it on in a worker."""
    first = parameters[0] if parameters else None
    if first is not None and first.name in ("self", "cls") and first.annotation is first.empty:
        where = str(getattr(function, "__qualname__", function))
        inside = where.rpartition(".")[0]
        fix = "a handler is a function, not a method; declare it outside of the class"
        if not inside or inside.endswith("<locals>"):  # no method, but a habit from elsewhere
            fix = "to be given the context, write `ctx: Context` in its place"
        raise ConfigError(f"`{first.name}` of {where}() would be an argument of the task: {fix}")


def _check_contexts(
    others: Sequence[Parameter],
    takes_context: bool,
    function: Callable[..., Any],
    names: Mapping[str, Any],
) -> None:
    """Refuse what is meant to be the context but would be an argument of the task."""
    where = f"{getattr(function, '__qualname__', function)}()"
    for one in others:
        if _is_context(one, function, names):
            raise ConfigError(
                f"`{one.name}` of {where} is a Context, but only the first parameter is given "
                f"one, and only one: put `{one.name}: Context` first"
            )
    first = None if takes_context or not others else others[0]
    if first is not None and first.name == "ctx" and first.annotation is first.empty:
        raise ConfigError(
            f"`ctx` of {where} has no annotation; write `ctx: Context` to be given the context, "
            f"or give it a type (Any will do) if it is an argument of the task"
        )


def _resolve(hint: Any, module: Mapping[str, Any], names: Mapping[str, Any]) -> Any:
    """What an annotation means; a text is looked up, also deep within another annotation."""
    # get_type_hints is the public way to resolve texts within generics such as list["Size"].
    holder = type("holder", (), {"__annotations__": {"hint": hint}})
    try:
        resolved = typing.get_type_hints(holder, dict(module), dict(names), include_extras=True)
    except AttributeError as error:
        if _complete(error.obj):
            raise ConfigError(
                f"the annotation {_shown(hint)} names what there is not: {error}"
            ) from error
        raise NameError(str(error)) from error  # a module that has no such name yet
    except (SyntaxError, TypeError) as error:
        raise ConfigError(f"the annotation {_shown(hint)} means nothing: {error}") from error
    return resolved["hint"]


def _complete(found: object) -> bool:
    """True for a module that was imported to its end: what it lacks does not come later."""
    spec = getattr(found, "__spec__", None)
    return isinstance(found, types.ModuleType) and not getattr(spec, "_initializing", False)


def _shown(hint: Any) -> str:
    return repr(hint.__forward_arg__ if isinstance(hint, typing.ForwardRef) else hint)


def _encoded(arguments: Mapping[str, Any], serializer: Serializer) -> bytes:
    """The payload. Raises InvalidTask, whatever the serializer raises: it may be anybody's."""
    try:
        payload: object = serializer.encode(arguments)
    except InvalidTask:
        raise
    except Exception as error:
        raise InvalidTask(f"cannot be encoded as {serializer.content_type}: {error}") from error
    if not isinstance(payload, bytes):
        kind = type(payload).__name__
        raise InvalidTask(f"the serializer of {serializer.content_type} made {kind}, not bytes")
    return payload


def _decoded(payload: bytes, names: Sequence[str], serializer: Serializer) -> Mapping[str, Any]:
    """The arguments again. Raises InvalidTask, as above."""
    try:
        decoded: object = serializer.decode(payload, names)
    except InvalidTask:
        raise
    except Exception as error:
        raise InvalidTask(f"this is no {serializer.content_type}: {error}") from error
    if not isinstance(decoded, Mapping) or not all(isinstance(name, str) for name in decoded):
        raise InvalidTask(f"the serializer of {serializer.content_type} gave no names and values")
    return decoded
