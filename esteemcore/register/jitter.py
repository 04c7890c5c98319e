"""The jitter of scan lines as an AR(1) process: what is known of a line from the others, learnt from the series."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from esteemcore.register import _row_kernels as kernels

Floats = NDArray[np.float64]

TAILS = 5.0
"""Degrees of freedom of the steps between lines (Student's t): sudden jumps are rare, not impossible."""
LEAST_PX = 0.02
"""No jitter is taken to be smaller than this, in px."""


@dataclasses.dataclass
class Jitter:
    """AR(1) process along the slow axis, ``x_i = correlation x_(i-1) + step``, per axis (y, x).

    Attributes
    ----------
    correlation : ndarray, shape (2,)
        Of one line with the next.
    step : ndarray, shape (2,)
        Variance of the steps in px².
    """

    correlation: Floats = dataclasses.field(default_factory=lambda: np.array([0.8, 0.8]))
    step: Floats = dataclasses.field(default_factory=lambda: np.array([0.06, 0.09]))


class Smoother:
    """Displacements of the lines of one frame about its drift, given their normal equations."""

    def __init__(self, lines: int) -> None:
        self.state: Floats = np.zeros((lines, 2))
        self.scale: Floats = np.ones(lines)
        self._variance: Floats = np.zeros((lines, 2, 2))
        self._lagged: Floats = np.zeros((lines, 2, 2))

    def solve(self, normal: Floats, right: Floats, jitter: Jitter) -> Floats:
        """Return the most likely displacements about the drift; ``right`` is the right side about zero."""
        kernels.smooth_lines(
            normal, right, jitter.correlation, jitter.step, self.scale, self.state, self._variance, self._lagged
        )
        return self.state

    def moments(self) -> Floats:
        """Return the posterior means of x_i², x_(i-1)² and x_i x_(i-1), shape (3, lines - 1, 2)."""
        result = np.empty((3, max(len(self.state) - 1, 0), 2))
        kernels.line_moments(self.state, self._variance, self._lagged, result)
        return result

    def rescale(self, jitter: Jitter) -> None:
        """Give steps that stick out less weight (the E step of Student's t)."""
        kernels.rescale_steps(self.moments(), jitter.correlation, jitter.step, TAILS, self.scale)


def learn(smoothers: list[Smoother]) -> Jitter | None:
    """Return the jitter that explains the smoothed lines of all frames best (one M step); None without lines."""
    usable = [s for s in smoothers if len(s.state) > 2]
    if not usable:
        return None
    now, before, cross = sum(((s.moments() * s.scale[1:, None]).sum(axis=1) for s in usable), np.zeros((3, 2)))
    steps = sum(len(s.state) - 1 for s in usable)
    correlation = np.clip(cross / np.maximum(before, 1e-12), 0.0, 0.995)
    variance = (now - 2 * correlation * cross + correlation**2 * before) / steps
    least = LEAST_PX**2 * (1 - correlation**2)
    return Jitter(correlation, np.clip(variance, least, 4.0))
