"""The period of the strongest wave in an image: no hop from cell to cell is shorter."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LONGEST_PX, SHORTEST_PX = 40.0, 2.8
"""Periods that count."""
STRONG = 30.0
"""So many times the noise is a wave; of 30,000 waves of noise the strongest has 10 times the mean."""


class Periods:
    """Find the strongest wave in spectra of one shape.

    Parameters
    ----------
    frequency_y, frequency_x : ndarray
        Frequencies of a half spectrum in 1/px, as a column and as a row.
    band : ndarray of float32
        Filter that the spectra were multiplied by.
    """

    def __init__(
        self, frequency_y: NDArray[np.float64], frequency_x: NDArray[np.float64], band: NDArray[np.float32]
    ) -> None:
        square = frequency_y**2 + frequency_x**2
        self._used = np.flatnonzero((square > LONGEST_PX**-2) & (square < SHORTEST_PX**-2))
        self._period = square.ravel()[self._used] ** -0.5
        self._gain = band.ravel()[self._used] ** -2

    def strongest(self, spectrum: NDArray[np.complex64]) -> float:
        """Return the period of the strongest wave in px; infinite if none stands above the noise.

        Parameters
        ----------
        spectrum : ndarray of complex64
            Half spectrum.
        """
        if not self._used.size:
            return math.inf
        power = np.abs(spectrum.ravel()[self._used]) ** 2 * self._gain
        top = int(power.argmax())
        noise = float(np.median(power)) / math.log(2)  # the power of noise is distributed exponentially
        return float(self._period[top]) if power[top] > STRONG * noise else math.inf
