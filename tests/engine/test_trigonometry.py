"""Sine and cosine of rules against NumPy's."""

import numpy as np
from numba import njit

from rlgames.engine.trigonometry import cosine, sine


@njit
def both(x: np.ndarray) -> np.ndarray:
    result = np.empty((2, len(x)))
    for i in range(len(x)):
        result[0, i], result[1, i] = sine(x[i]), cosine(x[i])
    return result


def test_sine_and_cosine_equal_numpys() -> None:
    """Relative within a quarter turn, where CartPole lives; absolute far outside."""
    rng = np.random.default_rng(0)
    near, far = rng.uniform(-np.pi / 4, np.pi / 4, 200_000), rng.uniform(-1e5, 1e5, 200_000)
    assert np.allclose(both(near), [np.sin(near), np.cos(near)], rtol=1e-15, atol=0)
    assert np.allclose(both(far), [np.sin(far), np.cos(far)], rtol=0, atol=1e-15)
    assert both(np.zeros(1)).tolist() == [[0.0], [1.0]]


def test_compiled_and_plain_python_agree_to_the_bit() -> None:
    x = np.random.default_rng(1).uniform(-10, 10, 100)
    assert both(x).tolist() == [[sine(v) for v in x.tolist()], [cosine(v) for v in x.tolist()]]
