"""Options of the commands: parsing by tyro, whole numbers as people write them, errors of one line, checks."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stderr
from decimal import Decimal, InvalidOperation
from itertools import dropwhile, takewhile
from typing import Any, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from rlgames.cli.terminal import first_line
from rlgames.errors import UsageError

MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
REGISTRY = ConstructorRegistry()
DIGITS = 19  # of a whole number: 1e999999999 would be computed for a long time


@REGISTRY.primitive_rule
def integer_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Let every option that is an int take "1e5" and "100_000" too."""
    return number_spec(int, "INT") if info.type is int else None


@REGISTRY.primitive_rule
def optional_number_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """The same for `int | None`; of this and `float | None`, an error names the value as that of a number does."""
    for number in (int, float):
        if set(get_args(info.type)) == {number, type(None)}:
            disallowed = tyro.conf.DisallowNone in info.markers
            return number_spec(number, number.__name__.upper(), or_none=not disallowed)
    return None


def number_spec(number: type, metavar: str, or_none: bool = False) -> PrimitiveConstructorSpec:
    read = parse_integer if number is int else float
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{None}}|{metavar}" if or_none else metavar,
        instance_from_str=lambda args: None if or_none and args[0] == "None" else read(args[0]),
        is_instance=lambda x: x is None or (isinstance(x, (int, number)) and not isinstance(x, bool)),
        str_from_instance=lambda x: [str(x)],
    )


def parse_integer(text: str) -> int:
    """Parse "100000", "100_000" or "1e5". Raises ValueError, which tyro reports, for anything else."""
    try:
        number = Decimal(text)
        if number.is_finite() and number.adjusted() < DIGITS and number == int(number):
            return int(number)
    except InvalidOperation:
        pass
    raise ValueError(f"expected a whole number such as 100000, 100_000 or 1e5, got {text!r}")


def parse(options: Any, name: str, argv: Sequence[str], *, default: Any = None, description: str | None = None) -> Any:
    """Parse the options of a command into an instance of the dataclass `options`; print the help and exit if asked to.

    Raises UsageError for invalid options.
    """
    stderr, defaults = io.StringIO(), {} if default is None else {"default": default}
    try:
        with redirect_stderr(stderr):
            return tyro.cli(
                options,
                prog=f"rlgames {name}",
                args=argv,
                config=MARKERS,
                registry=REGISTRY,
                description=description,
                **defaults,
            )
    except SystemExit as leave:
        if not leave.code:
            raise
    raise UsageError(f"{error_text(stderr.getvalue())} (see rlgames {name} --help)")


def error_text(box: str) -> str:
    """Return the error that tyro prints in a box as one line: its first paragraph, and the options it suggests.

    tyro 1.0 has no public way to get its errors other than this text: `tyro._errors.on_parse_error` is private, and
    says that it may change in any release.
    """
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│ ") for line in box.splitlines()[1:]]
    rule = re.compile("[─╰╯-]*").fullmatch  # without UTF-8 there is one below the title too
    first = " ".join(takewhile(lambda line: not rule(line), dropwhile(rule, lines)))
    suggested = box.partition("Perhaps you meant:")[2].partition("For full helptext")[0]
    near = list(dict.fromkeys(re.findall(r" (--[a-z][\w.-]*) ", suggested)))
    return re.sub("^Missing from .*?:", "missing:", first) + (f"; did you mean {' or '.join(near)}?" if near else "")


def check_minimum(least: int, **values: float | None) -> None:
    """Raises UsageError for an option below `least`."""
    for name, value in values.items():
        if value is not None and not value >= least:
            raise UsageError(f"expected --{name.replace('_', '-')} >= {least}, got {value}")


def check_positive(**values: float) -> None:
    """Raises UsageError for an option that is 0, negative or not a number."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise UsageError(f"expected --{name} > 0, got {value}")


def check_device(name: str) -> None:
    """Raises UsageError for a device that torch does not have here."""
    import torch  # noqa: PLC0415  heavy

    try:
        torch.empty(0, device="cpu" if name == "auto" else name)
    except (RuntimeError, AssertionError) as error:
        reason = textwrap.shorten(first_line(str(error)), 80, placeholder=" ...")
        raise UsageError(f"no device {name!r} here ({reason}): use --device auto or cpu") from error
