"""Fourier transforms for compiled loops: many small waves at a time, without the interpreter in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANES = 8
"""Waves that are transformed side by side."""


class Transform:
    """What the compiled transform of one length needs.

    Parameters
    ----------
    n : int
        Number of samples; fast for products of 2, 3 and 4, and right for any.

    Attributes
    ----------
    factors : ndarray of int64
        Lengths of the steps; their product is ``n``.
    turns : ndarray of float32, shape (n, 2)
        Cosine and sine of ``-2 pi k / n``.

    References
    ----------
    P. N. Swarztrauber, Parallel Computing 1 (1984) 45, for Stockham's order, which needs no sorting.
    """

    def __init__(self, n: int) -> None:
        self.factors = np.array(_factors(n), np.int64)
        angle = -2 * np.pi * np.arange(n) / n
        self.turns: NDArray[np.float32] = np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


def _factors(n: int) -> list[int]:
    found = []
    for factor in (4, 2, 3):
        while n % factor == 0:
            found.append(factor)
            n //= factor
    factor = 5
    while n > 1:
        while n % factor == 0:
            found.append(factor)
            n //= factor
        factor += 2
    return found
