"""Levels whose distance follows the noise: every value of a cell is within ``bound`` standard deviations of its level.

The noise of a value x is ``sigma(x)**2 = gain * max(x, 0) + readout_sigma**2``. The integral of 1 / sigma::

    t(x) = 2 / gain * (sqrt(gain * x + readout_sigma**2) - readout_sigma)     x >= 0
    t(x) = x / readout_sigma                                                  x < 0

has the same noise, one, everywhere: the generalised Anscombe transform for the noise at the value itself (its usual
3/8 gain² belongs to the noise at an unknown mean), continued linearly, with its sign, below zero. Cells are
``t = 2 bound (k ± 1/2)``, levels::

    level(k) = x(2 bound k) - gain * bound**2 / 4     k > 0
    level(k) = 2 bound k * readout_sigma              k <= 0

sigma at the upper end of a cell is larger than at the lower end; the shift by ``gain bound²/4`` uses both up, so that
no level could have a wider cell. Zero stays zero.

Whole numbers have whole levels: from the least value a of a cell, the level is the largest r with
``r - a <= bound sigma(a)``, and the last value of the cell the largest b with ``b - r <= bound sigma(b)``.

References
----------
J.-L. Starck, F. Murtagh, A. Bijaoui, Image Processing and Data Analysis, Cambridge University Press (1998),
section 2.5.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

LEVELS = 1 << 16
"""Levels above zero, and below; what lies beyond is an exception."""
MARGIN = 1e-5
"""Cells are narrower than the bound by this part, to leave room for the rounding of levels to float32."""
EXACT = 2.0**52
"""Whole numbers beyond this are exceptions."""


@dataclasses.dataclass(frozen=True, slots=True)
class NoiseLevels:
    """Quantisation in units of the noise.

    Attributes
    ----------
    bound : float
        Largest error, in standard deviations.
    gain : float
        Variance per value.
    readout_sigma : float
        Standard deviation of the noise at zero, in the units of the values.
    """

    bound: float
    gain: float
    readout_sigma: float

    def sigma(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard deviation of the noise of values."""
        sigma: NDArray[np.float64] = np.sqrt(self.gain * np.maximum(x, 0) + self.readout_sigma**2)
        return sigma

    def nearest(self, x: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the number of the level of each finite value, within ±(`LEVELS` + 1)."""
        g, s = self.gain, self.readout_sigma
        step = 2 * self.bound * (1 - MARGIN)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            t = (np.sqrt(g * np.maximum(x, 0) + s * s) - s) * (2 / g) if g > 0 else np.maximum(x, 0) / s
            t = np.where(x < 0, x / s, t) / step
        return np.rint(np.clip(t, -LEVELS - 1, LEVELS + 1)).astype(np.int32)

    def level(self, k: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the levels of numbers: products and sums of float64 only, the same on every machine."""
        bound = self.bound * (1 - MARGIN)
        position = 2 * bound * k.astype(np.float64)
        linear = position * self.readout_sigma
        curved = self.gain / 4 * (position * position - bound * bound)
        return np.where(k > 0, linear + curved, linear)

    def whole_levels(self, low: int, high: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Return levels and last values of the cells of whole numbers from low to high, and the place of level zero."""
        g, s = self.gain, self.readout_sigma
        reach = math.floor(self.bound * s)
        below = min(LEVELS, max(0, -(-(-low - reach) // (2 * reach + 1)))) if low < 0 else 0
        level = [(2 * reach + 1) * k for k in range(-below, 0)]
        last = [value + reach for value in level]
        first, r = -reach, 0
        for _ in range(LEVELS + 1):
            # b - r <= bound sigma(b): the larger root of a quadratic, then the rounding made good
            half = r + self.bound**2 * g / 2
            b = math.floor(half + math.sqrt(max(0.0, half * half - r * r + (self.bound * s) ** 2)))
            while b > r and b - r > self.bound * math.sqrt(g * b + s * s):
                b -= 1
            b = max(b, r)
            level.append(r)
            last.append(b)
            if b >= high or b > EXACT:
                break
            first = b + 1
            r = first + math.floor(self.bound * math.sqrt(g * first + s * s))
        return np.array(level, np.int64), np.array(last, np.int64), below
