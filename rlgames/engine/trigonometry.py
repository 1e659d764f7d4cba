"""Sine and cosine for rules, the same bits on every machine and in WebAssembly; C libraries differ in the last one.

Taylor series on -pi/4..pi/4, after the nearest multiple of pi/2 is taken off in two parts. Up to pi/4 the relative
error is below 1e-15; beyond, to 1e5, the absolute error is.
"""

from __future__ import annotations

from math import factorial, floor, pi

from numba.extending import register_jitable

HALF_PI_HIGH, HALF_PI_LOW = 1.5707963267341256, 6.077100506506192e-11  # the first has 33 bits, so multiples are exact
SINE = tuple((-1) ** (i // 2) / factorial(i) for i in range(1, 18, 2))  # coefficients of x, x^3, ...
COSINE = tuple((-1) ** (i // 2) / factorial(i) for i in range(0, 17, 2))


@register_jitable
def sine(x) -> float:
    """Return sin x, x in radians."""
    quarter = floor(x * (2 / pi) + 0.5)
    return quarter_sine(x, quarter, quarter % 4)


@register_jitable
def cosine(x) -> float:
    """Return cos x, x in radians."""
    quarter = floor(x * (2 / pi) + 0.5)
    return quarter_sine(x, quarter, (quarter + 1) % 4)


@register_jitable
def quarter_sine(x, quarter, turns) -> float:
    """Return sin(r + turns pi/2), where r is x without `quarter` quarters of a turn."""
    r = (x - quarter * HALF_PI_HIGH) - quarter * HALF_PI_LOW
    square, total = r * r, 0.0
    if turns % 2 == 0:
        for i in range(len(SINE) - 1, 0, -1):
            total = (total + SINE[i]) * square
        total = r + r * total
    else:
        for i in range(len(COSINE) - 1, 0, -1):
            total = (total + COSINE[i]) * square
        total = 1.0 + total
    return -total if turns >= 2 else total
