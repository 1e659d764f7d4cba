"""Search space of an agent's config, derived from the types of its fields and the values of a preset.

A field is searched around its value in the preset:

    learning_rate, ent_coef         log-uniform, a tenth of the value to ten times
    other floats                    log-uniform, a quarter to four times; where the value is 0, see `ZERO`
    gamma, gae_lambda, ...          shares of at least a half: 1 - x is log-uniform, a fifth to five times
    n_steps, batch_size, ...        powers of two, a quarter to four times
    other integers                  log-uniform, a quarter to four times
    booleans, names                 all values, where they are asked for

all within the range that the field declares. "learning_rate=1e-5:1e-2" sets the ends of a range by hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin

from rlgames.agents.config import make_config
from rlgames.errors import InvalidTypeError, InvalidValueError, brief, did_you_mean
from rlgames.values import UNIONS, Range, field_types, is_number

WIDE, NARROW, SHARE = 10, 4, 5  # factors below and above the value
WIDELY = ("learning_rate", "ent_coef", "final_learning_rate", "final_ent_coef")
ZERO = {"ent_coef": (1e-4, 0.1), "final_ent_coef": (1e-5, 0.01), "final_learning_rate": (1e-6, 1e-3)}  # around none
POWERS = (  # of two
    *("n_steps", "num_minibatches", "batch_size", "train_freq", "gradient_steps", "target_update_interval"),
    *("lstm_hidden_size", "sequence_length", "n_episodes"),
)
FIXED = (  # unless they are asked for: what the machine bounds, and what changes the network or the algorithm
    *(
        "workers",
        "learners",
        "n_threads",
        "buffer_size",
        "learning_starts",
        "lstm_hidden_size",
        "sequence_length",
        "burn_in",
    ),
    *("final_learning_rate", "final_clip_range", "final_ent_coef", "clip_range_vf", "target_kl", "rollout_fraction"),
    *("exploration_initial_eps", "prioritized_alpha", "prioritized_beta"),
)


@dataclass(frozen=True)
class Dimension:
    """A field of the config that is searched, and how a number that Optuna suggests becomes its value."""

    field: str
    kind: Literal["float", "int", "power", "complement", "choice"]
    low: float = 0.0  # of the suggested number; of a power of two its exponent
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The name of the suggested number, for Optuna and its dashboard."""
        return {"power": f"log2 {self.field}", "complement": f"1 - {self.field}"}.get(self.kind, self.field)

    def value(self, suggested: Any) -> Any:
        """Return the field's value."""
        if self.kind == "power":
            return 2 ** int(suggested)
        return 1.0 - suggested if self.kind == "complement" else suggested

    def suggestion(self, value: Any) -> Any:
        """Return the number of a field's value, the nearest in the range; None for a value that has none."""
        if self.kind == "choice":
            return value if value in self.choices else None
        if value is None:
            return None
        if self.kind == "power":
            number = round(math.log2(value))
        else:
            number = 1.0 - value if self.kind == "complement" else value
        return min(max(number, int(self.low) if self.kind in ("int", "power") else self.low), self.high)

    def describe(self) -> str:
        """Return the values in words."""
        if self.kind == "choice":
            return ", ".join(map(str, self.choices))
        if self.kind == "power":
            return ", ".join(str(2**e) for e in range(int(self.low), int(self.high) + 1))
        low, high = (self.value(each) for each in (self.low, self.high))
        return f"{min(low, high):.4g} to {max(low, high):.4g}{', logarithmic' if self.log else ''}"


def derive_space(config_class: type, settings: dict[str, Any], search: Iterable[str] = ()) -> list[Dimension]:
    """Return what is searched of a config class around a preset's settings, in the order of its fields.

    `search` names fields, each with or without a range: "gamma", "learning_rate=1e-5:1e-2"; if it is empty, all numbers
    but those in `FIXED` are searched. Raises ValueError for a field that is unknown or has no range of its own, and for
    a range that the field does not take.
    """
    config = make_config(config_class, settings)
    types = field_types(config_class)
    defaults = {field.name: field.default for field in fields(config_class)}
    asked = read_search(config_class, search)
    space = []
    for name, default in defaults.items():
        if asked and name not in asked:
            continue
        value, annotation = getattr(config, name), types.get(name, Any)
        kind, limits = number_type(annotation)
        if ends := asked.get(name):
            space.append(given_range(name, kind, limits, ends))
        elif (dimension := around(name, annotation, value, default)) is not None:
            if asked or (kind is not None and name not in FIXED):
                space.append(dimension)
        elif asked:
            raise InvalidValueError(
                f"{name} has the value {brief(value)}, from which no range follows: "
                + (f"give one, --search {name}=LOW:HIGH" if kind else "only numbers, names and booleans are searched")
            )
    if not space:
        raise InvalidValueError(f"{config_class.__name__} has no setting to search")
    return space


def read_search(config_class: type, search: Iterable[str]) -> dict[str, tuple[float, float] | None]:
    """Return the fields of `search`, each with its range, if it has one."""
    known = [field.name for field in fields(config_class)]
    asked: dict[str, tuple[float, float] | None] = {}
    for part in search:
        if not isinstance(part, str):
            raise InvalidTypeError(f"expected a field to search, such as 'learning_rate=1e-5:1e-2', got {brief(part)}")
        name, given, ends = (each.strip() for each in part.partition("="))
        name = name.replace("-", "_")
        if name not in known:
            raise InvalidValueError(
                f"unknown field {brief(name)} to search: {did_you_mean(name, known)}"
                f"those of {config_class.__name__} are {', '.join(known)}"
            )
        if name in asked:
            raise InvalidValueError(f"expected each field to search once, got {name} twice")
        asked[name] = read_range(part, ends) if given else None
    return asked


def read_range(part: str, text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    if is_number(low) and is_number(high) and -math.inf < float(low) < float(high) < math.inf:
        return float(low), float(high)
    raise InvalidValueError(f"expected a range as in learning_rate=1e-5:1e-2, the lower end first, got {brief(part)}")


def number_type(annotation: Any) -> tuple[type | None, Range]:
    """Return int or float and the range of a field's annotation, also of one that may be None; None for others."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = next((each for each in annotation.__metadata__ if isinstance(each, Range)), Range())
        return (arguments[0], limits) if arguments[0] in (int, float) else (None, limits)
    if origin in UNIONS:
        return next((found for each in arguments if (found := number_type(each))[0]), (None, Range()))
    return (annotation, Range()) if annotation in (int, float) else (None, Range())


def given_range(name: str, kind: type | None, limits: Range, ends: tuple[float, float]) -> Dimension:
    """Return the dimension of a range that was given. Raises ValueError if the field does not take it."""
    low, high = ends
    if kind is None:
        raise InvalidValueError(f"{name} is no number, so it has no range: --search {name} tries all its values")
    if not (limits.holds(low) and limits.holds(high)):
        raise InvalidValueError(f"expected the range of {name} within {limits.describe(kind)}, got {low:g}:{high:g}")
    if kind is int:
        if low != int(low) or high != int(high):
            raise InvalidValueError(f"expected the range of {name} from an integer to another, got {low:g}:{high:g}")
        if name in POWERS:
            first, last = math.ceil(math.log2(max(low, 1))), math.floor(math.log2(max(high, 1)))
            if first > last:
                raise InvalidValueError(f"expected a power of two in the range of {name}, got {low:g}:{high:g}")
            return Dimension(name, "power", first, last)
        return Dimension(name, "int", int(low), int(high), log=low > 0)
    if is_share(limits) and low >= 0.5 and high < 1:
        return Dimension(name, "complement", 1.0 - high, 1.0 - low, log=True)
    return Dimension(name, "float", low, high, log=low > 0)


def around(name: str, annotation: Any, value: Any, default: Any) -> Dimension | None:
    """Return the dimension of a field around its value; None if none follows from its type and value."""
    if get_origin(annotation) is Literal:
        return Dimension(name, "choice", choices=get_args(annotation))
    if annotation is bool:
        return Dimension(name, "choice", choices=(False, True))
    kind, limits = number_type(annotation)
    if kind is None or (not value and not default and name not in ZERO and not is_share(limits)):
        return None
    if kind is int:
        return around_integer(name, limits, value or default)
    if is_share(limits):
        return around_share(name, value)
    if not value and name in ZERO:
        return Dimension(name, "float", *ZERO[name], log=True)
    value, factor = value or default, WIDE if name in WIDELY else NARROW
    low, high = value / factor, value * factor
    low, high = max(low, limits.low), min(high, limits.high)
    return Dimension(name, "float", low, high, log=True) if 0 < low < high else None


def around_integer(name: str, limits: Range, value: int) -> Dimension | None:
    if not value or value < 0:
        return None
    low, high = max(1, limits.low, value / NARROW), min(value * NARROW, limits.high)
    if name in POWERS:
        first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
        return Dimension(name, "power", first, last) if first < last else None
    low, high = math.ceil(low), math.floor(high)
    return Dimension(name, "int", low, high, log=True) if low < high else None


def around_share(name: str, value: float) -> Dimension:
    """Return a share in 0..1: near 0 on its logarithm, near 1 on that of its complement, at the ends evenly."""
    if 0.5 <= value < 1:
        return Dimension(name, "complement", (1 - value) / SHARE, min((1 - value) * SHARE, 0.5), log=True)
    if 0 < value < 0.5:
        return Dimension(name, "float", value / SHARE, min(value * SHARE, 0.5), log=True)
    return Dimension(name, "float", *((0.0, 0.5) if value == 0 else (0.5, 1.0)))


def is_share(limits: Range) -> bool:
    return (limits.low, limits.high) == (0, 1)
