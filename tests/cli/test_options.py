"""Parsing of options: whole numbers as people write them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from tyro.conf import DisallowNone

from rlgames.cli.options import parse, parse_integer
from rlgames.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100000", 10**5),
        ("1e5", 10**5),
        ("1E+5", 10**5),
        ("1_000_000", 10**6),
        ("2.5e3", 2500),
        ("-3", -3),
        ("1.0", 1),
        ("0", 0),
    ],
)
def test_whole_numbers_are_read_as_people_write_them(text: str, value: int) -> None:
    number = parse_integer(text)
    assert (number, type(number)) == (value, int)


@pytest.mark.parametrize("text", ["", "many", "1.5", "1e-3", "nan", "inf", "0x10", "1e999999999", "1e19", "1 2"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"expected a whole number such as 100000, 100_000 or 1e5, got '{text}'"):
        parse_integer(text)


@dataclass(frozen=True)
class Inner:
    """Inner options."""

    units: tuple[int, ...] = (64,)
    limit: int | None = None


@dataclass(frozen=True)
class Options:
    """Options."""

    steps: int = 1
    config: Inner = field(default_factory=Inner)
    rate: float = 1.0
    decay: float | None = None
    size: DisallowNone[int | None] = None
    loud: bool = False


def test_every_option_that_is_an_int_takes_them() -> None:
    line: str = "--steps 1e5 --config.units 1e2 3_0 --config.limit 2e3 --rate 1e-3 --decay 2 --size 1_0 --loud"
    assert parse(Options, "test", line.split()) == Options(100_000, Inner((100, 30), 2_000), 1e-3, 2.0, 10, True)
    assert parse(Options, "test", ["--decay", "None"], default=Options(decay=0.5)).decay is None
    assert parse(Options, "test", []) == Options()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--steps 1.5", "--steps: expected a whole number such as 100000, 100_000 or 1e5, got '1.5'"),
        ("--size many", "--size: expected a whole number such as 100000, 100_000 or 1e5, got 'many'"),
        ("--size None", "--size: expected a whole number such as 100000, 100_000 or 1e5, got 'None'"),
        ("--config.limit half", "--config.limit: expected a whole number such as .*, got 'half'"),
        ("--decay half", "--decay: could not convert string to float: 'half'"),
    ],
)
def test_refusal_names_the_option_and_the_value(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=rf"^Error parsing {message} \(see rlgames test --help\)$"):
        parse(Options, "test", line.split())
    assert capsys.readouterr() == ("", "")
