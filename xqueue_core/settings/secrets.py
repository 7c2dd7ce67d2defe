"""What a model of settings calls a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretBytes, SecretStr


def model_keys(model: type[BaseModel]) -> Mapping[str, Any]:
    """Field by each name it may be given: its own, and its alias if that is one word."""
    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        keys[name] = field
        if isinstance(field.alias, str):
            keys[field.alias] = field
    return keys


def is_secret(path: tuple[str, ...], model: type[BaseModel] | None) -> bool:
    """True if the model has a secret at this path, or above or below it."""
    at: Any = model
    for key in path:
        if not (isinstance(at, type) and issubclass(at, BaseModel)):
            return False
        field = model_keys(at).get(key)
        if field is None:
            return False
        at = field.annotation
        if holds_secret(at):
            return True
    return False


def holds_secret(annotation: Any) -> bool:
    """True if a secret is in a value of this type."""
    if isinstance(annotation, type) and issubclass(annotation, SecretStr | SecretBytes):
        return True
    return any(holds_secret(part) for part in get_args(annotation))
