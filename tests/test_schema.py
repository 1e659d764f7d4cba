"""Data of JSON files has the types that are declared, or raises one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from rlgames.schema import check_fields, conforms, difference, fill_in_defaults, from_plain


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (2**64, int, False),
        (-(2**64) + 1, int, True),
        (1, float, True),
        (True, float, False),
        (10**400, float, False),
        ("a", str, True),
        (None, str, False),
        (None, None, True),
        (None, str | None, True),
        (3, str | None, False),
        (True, bool, True),
        (1, bool, False),
        ((1, 2), tuple[int, int], True),
        ((1, 2, 3), tuple[int, int], False),
        ((1, "2"), tuple[int, int], False),
        ([1, 2], tuple[int, int], False),
        ((), tuple[int, ...], True),
        ((1, 2, 3), tuple[int, ...], True),
        ((1, 2.5), tuple[int, ...], False),
        (None, tuple[int, ...], False),
        (None, tuple[int, ...] | None, True),
        ([1, 2], list[int], True),
        ([1, None], list[int], False),
        ((1,), list[int], False),
        ({}, dict, True),
        ([], dict, False),
        (3, Any, True),
    ],
)
def test_conforms(value: Any, hint: Any, expected: bool) -> None:
    assert conforms(value, hint) is expected


@dataclass(frozen=True)
class Settings:
    net_arch: tuple[int, ...] = (64,)
    limit: float | None = None
    name: str = "a"


def test_from_plain_fills_in_defaults_and_makes_tuples() -> None:
    assert from_plain(Settings, {}) == Settings()
    assert from_plain(Settings, {"net_arch": [1, 2], "limit": 3}) == Settings((1, 2), 3)


def test_fill_in_defaults_keeps_what_is_there() -> None:
    filled = fill_in_defaults(Settings, {"limit": 3, "other": 1})
    assert filled == {"net_arch": [64], "limit": 3, "name": "a", "other": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "Settings: expected an object with fields, got None"),
        ({"size": 1}, "Settings: unknown field 'size', expected net_arch, limit, name"),
        ({"name": None}, "Settings: expected name to be str, got None"),
        ({"limit": "\x1b" * 99}, r"Settings: expected limit to be float \| None, got '(\\x1b)+.{,3}\.\.\.$"),
        ({"net_arch": ["a"]}, r"Settings: expected net_arch to be tuple\[int, \.\.\.\], got \('a',\)"),
    ],
)
def test_from_plain_names_what_is_wrong(data: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}") as raised:
        from_plain(Settings, data)
    assert str(raised.value).isprintable()


def test_check_fields_names_what_is_missing() -> None:
    check_fields("it", {"a": 1}, {"a": int, "b": str}, optional=("b",))
    with pytest.raises(TypeError, match="^it: the field 'b' is missing$"):
        check_fields("it", {"a": 1}, {"a": int, "b": str})


def test_difference_names_the_first_setting_that_differs() -> None:
    assert difference({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 2]}}) == ""
    assert difference({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 3]}}) == "b.c was [1, 2], is [1, 3]"
    assert difference({"a": 1}, {}) == "a was 1, is None"
    assert difference({}, {"a": 1}) == "a was None, is 1"
