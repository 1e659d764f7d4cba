"""Values of arguments and of the fields of dataclasses, checked by annotations, the one declaration of type and range.

    n_steps: Count = 128
    learning_rate: Annotated[float, Range(0, 1)] = 1e-3
    target_kl: Positive | None = None
    loss: Literal["huber", "squared"] = "huber"

`check_fields` checks all fields of a dataclass, `check_value` one argument. NumPy's numbers become Python's, lists
become tuples, and a whole float is taken where an integer is expected, so that 1e5 may be written for 100,000.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from rlgames.errors import InvalidTypeError, InvalidValueError, brief

UNIONS = (Union, UnionType)


# ---- declarations ----


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, but for `low` if `above`."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def describe(self, kind: type) -> str:
        """Return "an integer >= 1", "a number in 0..1", ... of the kind int or float."""
        low, high = (f"{x}" if isinstance(x, int) else f"{x:.15g}" for x in (self.low, self.high))
        if self.high < math.inf:
            noun = "an integer" if kind is int else "a number"
            return f"{noun} above {low} and up to {high}" if self.above else f"{noun} in {low}..{high}"
        noun = "an integer" if kind is int else "a finite number"
        return f"{noun} {'>' if self.above else '>='} {low}" if self.low > -math.inf else noun


Count = Annotated[int, Range(1)]
UnitInterval = Annotated[float, Range(0, 1)]
NonNegative = Annotated[float, Range(0, 1e6)]  # far more than is of use, far less than float32 holds
Positive = Annotated[float, Range(0, 1e6, above=True)]
Norm = Annotated[float, Range(0, 1e38, above=True)]  # what float32 holds: a large one is no limit
MAX_SEED = 2**32 - 1  # as of Stable-Baselines3 and NumPy's global generator


# ---- checks ----


class Refused:
    """Result of `plain` for a value that an annotation does not take."""


def check_fields(config: Any) -> None:
    """Check all fields of a config by their annotations, and make their values plain.

    Annotations may be int, float, bool and str, Literal, tuples of one type, each also in a union or `Annotated` with a
    `Range`. Other fields are not checked, but no float may be infinite or NaN: the header of a checkpoint is JSON.

    Raises TypeError for a value of another type, ValueError for one that is not allowed.
    """
    types = field_types(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        checked = check_value(field.name, value, types.get(field.name, Any))
        if checked is not value:
            object.__setattr__(config, field.name, checked)  # configs are frozen


def check_value(name: str, value: Any, annotation: Any) -> Any:
    """Return `value` as plain data of the type and range in `annotation`; raises as `check_fields` does."""
    checked = plain(value, annotation)
    if checked is not Refused:
        return checked
    error = InvalidValueError if has_type(value, annotation) else InvalidTypeError
    remedy = ": write it without quotes" if isinstance(value, str) and is_number(value) else ""
    raise error(f"expected {name} to be {describe(annotation)}, got {brief(value)}{remedy}")


def check_seed(seed: Any, high: int = MAX_SEED) -> int:
    """Return a seed in 0..`high` as an int; a float is none, though it may be whole. Raises as `check_fields` does."""
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise InvalidTypeError(f"expected seed to be an integer in 0..{high}, got {brief(seed)}: use 0, or any other")
    return check_value("seed", seed, Annotated[int, Range(0, high)])


def plain(value: Any, annotation: Any, limits: Range = Range()) -> Any:
    """Return `value` as plain data of the type `annotation` within `limits`, `Refused` if it is none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = next((each for each in annotation.__metadata__ if isinstance(each, Range)), limits)
        return plain(value, arguments[0], limits)
    if origin in UNIONS:
        return next((x for each in arguments if (x := plain(value, each)) is not Refused), Refused)
    if origin is Literal:
        return next((each for each in arguments if type(each) is type(value) and each == value), Refused)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return Refused
        types = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        items = [Refused] if len(types) != len(value) else list(map(plain, value, types))
        return Refused if any(item is Refused for item in items) else tuple(items)
    if annotation in (int, float):
        number = as_number(value, annotation)
        return number if number is not None and limits.holds(number) else Refused
    if annotation is bool:
        return bool(value) if isinstance(value, bool | np.bool_) else Refused
    if annotation in (str, NoneType):
        return value if isinstance(value, annotation) else Refused
    return Refused if isinstance(value, float) and not math.isfinite(value) else value


def as_number(value: Any, kind: type) -> int | float | None:
    """Return a number as int or float; None for infinity, NaN, a fraction where an int is wanted, and other types."""
    if not is_real(value):
        return None
    if kind is int and isinstance(value, Integral):
        return int(value)
    try:
        number = float(value)
    except OverflowError:  # of an int
        return None
    if kind is int:
        return int(number) if number.is_integer() else None
    return number if math.isfinite(number) else None


def is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def has_type(value: Any, annotation: Any) -> bool:
    """Return whether `value` is of the type `annotation`, whatever its range."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return has_type(value, arguments[0])
    if origin in UNIONS:
        return any(has_type(value, each) for each in arguments)
    if origin is Literal:
        return any(type(value) is type(each) for each in arguments)
    if origin is tuple:
        return isinstance(value, tuple | list)
    if annotation in (int, float):
        return is_real(value)
    return annotation not in (bool, str, NoneType) or isinstance(value, annotation)


def describe(annotation: Any, limits: Range = Range()) -> str:
    """Return the type and range in words: "an integer >= 1", "'huber' or 'squared'", "a number in 0..1 or None"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = next((each for each in annotation.__metadata__ if isinstance(each, Range)), limits)
        return describe(arguments[0], limits)
    if origin in UNIONS:
        return " or ".join(map(describe, arguments))
    if origin is Literal:
        *others, last = map(repr, arguments)
        return f"{', '.join(others)} or {last}" if others else last
    if origin is tuple and arguments[1:] == (...,):
        return f"a tuple such as (64, 64), each {describe(arguments[0])}"
    if origin is tuple:
        return f"a tuple ({', '.join(map(describe, arguments))})"
    if annotation in (int, float):
        return limits.describe(annotation)
    return {bool: "True or False", str: "a string", NoneType: "None"}.get(annotation, "finite")


@cache
def field_types(config_class: type) -> dict[str, Any]:
    """Return the annotations of a config's fields; none if some can be resolved by a type checker only."""
    try:
        return get_type_hints(config_class, include_extras=True)
    except NameError:
        return {}
