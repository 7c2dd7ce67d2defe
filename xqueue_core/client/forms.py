"""Which types JSON cannot have: found when a handler is declared, not at its first submit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from xqueue_core.errors import ConfigError
from xqueue_core.payload import is_model


def refuse_formless(where: str, hints: Mapping[str, Any]) -> None:
    """Raise ConfigError for a parameter of which no value can ever be made from JSON.

    Args:
        where: the function, for the message.
        hints: what the annotations of its parameters mean; of those that must be given.
    """
    for name, hint in hints.items():
        try:
            found = inspect.type_info(hint)
        except (TypeError, ValueError, NameError, AttributeError):
            continue  # what it is cannot be told, so nothing is said against it
        for formless in _formless(found, set()):
            kind = getattr(formless, "__qualname__", str(formless))
            raise ConfigError(
                f"`{name}` of {where}() has the type {kind}, which has no JSON form: take a text, "
                f"a number, a date, a dataclass, a msgspec struct or a pydantic model, and make "
                f"the {kind} in the handler"
            )


def _formless(found: Any, seen: set[Any]) -> Iterator[Any]:
    """The classes in it that JSON cannot have, but for those that need not be given."""
    if isinstance(found, inspect.CustomType):
        if found.cls is not object and not is_model(found.cls):
            yield found.cls
        return
    if isinstance(found, inspect.UnionType | inspect.TupleType):
        inner = found.types if isinstance(found, inspect.UnionType) else found.item_types
    elif isinstance(found, inspect.DictType):
        inner = (found.key_type, found.value_type)
    elif isinstance(found, inspect.CollectionType):
        inner = (found.item_type,)
    else:
        inner = tuple(_required(found, seen))
    for one in inner:
        yield from _formless(one, seen)


def _required(found: Any, seen: set[Any]) -> Iterator[Any]:
    """The types of the fields that must be given, of a class that has such and is not in it yet."""
    cls = getattr(found, "cls", None)
    if not isinstance(
        found,
        inspect.StructType | inspect.DataclassType | inspect.TypedDictType | inspect.NamedTupleType,
    ):
        return
    if cls not in seen:
        seen.add(cls)
        yield from (one.type for one in found.fields if _must(one))


def _must(one: inspect.Field) -> bool:
    return one.required and one.default is msgspec.NODEFAULT
