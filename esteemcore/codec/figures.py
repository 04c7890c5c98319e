"""Four significant figures as whole numbers that rise with the value.

A value ``± m.mmm 10^d`` is ``± (9000 (d - LEAST) + mmmm - 999)``, zero is zero. Powers of ten up to 10^22 are exact in
float64, so that one multiplication or division gives the decimal's nearest float64, as reading it from text does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST, MOST = -19, 22
"""Decades of the values that have a number: from 1.000e-19 to 9.999e22."""
POWERS = np.array([10.0**n for n in range(23)])


def to_figures(x: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the number of each value to four significant figures, and where it has one; elsewhere it is 0.

    Halves are rounded to even, as in ``format(x, ".3e")``.
    """
    size = np.abs(x)
    with np.errstate(invalid="ignore"):
        inside = (size >= 10.0**LEAST) & (size < 9.9995 * POWERS[MOST])
    safe = np.where(inside, size, 1.0)
    decade = np.floor(np.log10(safe)).astype(np.int32)
    mantissa = np.rint(_scaled(safe, 3 - decade)).astype(np.int32)
    wrong = (mantissa < 1000).astype(np.int32)  # log10 was rounded up to a whole number
    if wrong.any():
        decade -= wrong
        mantissa = np.rint(_scaled(safe, 3 - decade)).astype(np.int32)
    carry = mantissa >= 10000
    decade += carry
    mantissa[carry] = 1000
    number = 9000 * (decade - LEAST) + mantissa - 999
    inside &= decade >= LEAST
    number = np.where(x < 0, -number, number) * inside
    return number.astype(np.int32), inside | (x == 0)


def from_figures(number: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the values of numbers, each the float64 nearest to its decimal."""
    decade, mantissa = np.divmod(np.minimum(np.abs(number), 9000 * (MOST - LEAST + 1)) - 1, 9000)
    value = _scaled(mantissa + 1000.0, decade + np.int32(LEAST - 3))
    return np.where(number == 0, 0.0, np.copysign(value, number))


def _scaled(x: NDArray[Any], power: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return ``x * 10**power`` with one rounding."""
    up = np.clip(power, 0, 22)
    down = np.clip(-power, 0, 22)
    scaled: NDArray[np.float64] = np.where(power >= 0, x * POWERS[up], x / POWERS[down])
    return scaled
