"""How long a frame takes beside its scan, learnt from the frames before it."""

from __future__ import annotations

import math

import numpy as np

from esteemcore._core import checks

MEMORY = 32
"""Frames of a size that are remembered: no disk is always as fast."""


class LearntTimes:
    """Times that frames took, to write or to begin, by their size.

    Examples
    --------
    >>> times = LearntTimes()
    >>> times.add(1_000_000, 0.02)
    >>> times.estimate(1_000_000), times.estimate(4_000_000), times.estimate(10)
    (0.02, 0.08, 0.02)
    """

    def __init__(self) -> None:
        self._seconds: dict[int, list[float]] = {}

    def add(self, size: int, seconds: float) -> None:
        """Take note of a frame.

        Parameters
        ----------
        size : int
            Bytes before compression.
        seconds : float
        """
        size = checks.integer("size", size, minimum=0)
        known = self._seconds.get(size, [])
        self._seconds[size] = [*known[1 - MEMORY :], checks.not_negative("seconds", seconds, "s")]

    @property
    def frames(self) -> int:
        """How many frames are remembered."""
        return sum(len(known) for known in self._seconds.values())

    def estimate(self, size: int) -> float:
        """Return how long a frame of a size will take, in s; NaN as long as nothing is known.

        The median of frames of this size; between two sizes along a straight line. Frames that are larger than all
        before are expected to take longer in proportion, those that are smaller as long as the smallest: never too
        short for a disk that takes some time for each frame and some for each byte.

        Parameters
        ----------
        size : int
            Bytes before compression.
        """
        if not self._seconds:
            return math.nan
        known = sorted((bytes_, float(np.median(times))) for bytes_, times in list(self._seconds.items()))
        sizes, seconds = (np.array(column, np.float64) for column in zip(*known, strict=True))
        if size > sizes[-1] > 0:
            return float(seconds[-1] * size / sizes[-1])
        return float(np.interp(size, sizes, seconds))
