"""Check data of JSON files against types: the fields of an object, and a frozen dataclass that is stored as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from rlgames.errors import InvalidTypeError, brief

T = TypeVar("T")
LARGEST_INTEGER = 2**64 - 1  # that anything here takes, a seed
LARGEST_FLOAT = 1e300  # of what becomes a float


def conforms(value: Any, hint: Any) -> bool:
    """Return whether a value is of a type: None, bool, int, float, str, list, dict, tuple[...] or a union of them.

    A float may be given as an int, a bool is no int; any other type is not checked.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(conforms(value, each) for each in arguments)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            arguments = arguments[:1] * len(value) if isinstance(value, tuple) else ()
        return isinstance(value, tuple) and len(value) == len(arguments) and all(map(conforms, value, arguments))
    if origin is list:
        return isinstance(value, list) and all(conforms(each, arguments[0]) for each in value)
    if hint in (int, float) and isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= (LARGEST_INTEGER if hint is int else LARGEST_FLOAT)
    if hint in (None, NoneType):
        return value is None
    return isinstance(value, hint) if hint in (bool, int, float, str, list, dict) else True


def check_fields(what: str, data: Any, types: Mapping[str, Any], optional: tuple[str, ...] = ()) -> None:
    """Raise TypeError, in one line that begins with `what`, unless `data` is a dict with fields of these types."""
    if not isinstance(data, dict):
        raise InvalidTypeError(f"{what}: expected an object with fields, got {brief(data)}")
    if unknown := [key for key in data if key not in types]:
        raise InvalidTypeError(f"{what}: unknown field {brief(unknown[0])}, expected {', '.join(types)}")
    for key, hint in types.items():
        if key not in data:
            if key in optional:
                continue
            raise InvalidTypeError(f"{what}: the field {key!r} is missing")
        if not conforms(data[key], hint):
            raise InvalidTypeError(f"{what}: expected {key} to be {type_name(hint)}, got {brief(data[key])}")


def from_plain(kind: type[T], data: Any) -> T:
    """Make a dataclass of a dict; lists become tuples, and a missing field takes its default.

    Raises TypeError for a field that it does not have and for a value of another type.
    """
    try:
        hints = get_type_hints(kind)
    except NameError:  # of another module's type that is imported for type checkers alone
        hints = {}
    types = {field.name: hints.get(field.name, Any) for field in fields(kind)}  # pyright: ignore[reportArgumentType]  a dataclass
    if isinstance(data, dict):  # JSON has lists only
        data = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    check_fields(kind.__name__, data, types, tuple(types))
    return kind(**data)


def fill_in_defaults(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored fields of a dataclass with those that are missing: an older version did not have them."""
    defaults: dict[str, Any] = {}
    for field in fields(kind):
        value = field.default if field.default_factory is MISSING else field.default_factory()
        if value is not MISSING and field.name not in data:
            defaults[field.name] = list(value) if isinstance(value, tuple) else value
    return {**data, **defaults}


def difference(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> str:
    """Return the first setting that differs, as "config.learning_rate was 0.001, is 0.01"; empty when none does."""
    for key in [*before, *(new for new in after if new not in before)]:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            if inner := difference(old, new, f"{prefix}{key}."):
                return inner
        elif old != new:
            return f"{prefix}{key} was {old}, is {new}"
    return ""


def type_name(hint: Any) -> str:
    return "None" if hint is NoneType else hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
