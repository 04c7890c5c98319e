"""How fine the details of a series are, and how much the mean may be blurred for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from esteemcore.register.grid import Grid
from esteemcore.register.lines import Frame
from esteemcore.register.rigid import Correlator, Spectrum

USUAL_PX = 1.4
"""Details of this size, those of a lattice of 9 px, are blurred as much as coarser ones."""
FINEST = 0.35
"""Least factor of a blur."""
MOST_FRAMES = 16
LONGEST_PX, SHORTEST_PX = 40.0, 2.8
"""Periods that count."""
SURE = 3.0
"""Standard deviations by which the details of a running series must stand above noise to change the blur."""


def blur_factor(shape: tuple[int, int], frames: Sequence[Frame]) -> float:
    """Return by which factor blurs are made smaller, so that the lattice of a fine series is still seen."""
    return _factor(detail_px(shape, frames))


def detail_px(shape: tuple[int, int], frames: Sequence[Frame]) -> float:
    r"""Return the size of details in px: the root of :math:`\sum P / \sum k^2 P`, period / 2π for a single wave.

    P is the cross spectrum of the means of every other frame, whose noise is independent. Infinite if they have nothing
    in common.
    """
    chosen = [frames[k] for k in np.unique(np.linspace(0, len(frames) - 1, MOST_FRAMES).round().astype(int))]
    pad = math.ceil(max(float(np.abs(f.moved).max()) for f in chosen)) + 2
    halves = [_spectrum(shape, pad, chosen[part::2]) for part in (0, 1)]
    squared = _squared(fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1]))
    used = _used(squared)
    power = (halves[0] * halves[1].conj()).real[used]
    above, below = float(power.sum()), float((squared[used] * power).sum())
    return math.sqrt(above / below) if above > 0 and below > 0 else math.inf


class RunningDetail:
    """How fine the details are, learnt while frames come in: each frame is compared with the mean of those before it.

    Parameters
    ----------
    correlator : Correlator
        Whose spectra are compared; its filter is taken out again.
    """

    def __init__(self, correlator: Correlator) -> None:
        squared = _squared(correlator.frequency_y, correlator.frequency_x)
        self._used = _used(squared)
        self._squared = squared[self._used]
        self._weight = correlator.band[self._used].astype(np.float64) ** -2
        self._power, self._noise = np.zeros(2), np.zeros(2)
        self._frames = 0

    def learn(self, mean: Spectrum, frame: Spectrum) -> None:
        """Compare a frame at its place with the mean of those before it; after some frames nothing is learnt any more.

        Parameters
        ----------
        mean, frame : ndarray of complex64
            Half spectra as `Correlator.transform` gives them.
        """
        if self._frames >= MOST_FRAMES:
            return
        self._frames += 1
        cross = mean[self._used] * frame[self._used].conj() * self._weight
        scatter = 0.5 * np.abs(cross) ** 2  # of the real part, if both were noise
        self._power += cross.real.sum(), (self._squared * cross.real).sum()
        self._noise += scatter.sum(), (self._squared**2 * scatter).sum()

    @property
    def blur_factor(self) -> float:
        """By which factor blurs are made smaller; 1 as long as noise hides the details."""
        if not self._frames or np.any(self._power <= SURE * np.sqrt(self._noise)):
            return 1.0
        return _factor(math.sqrt(self._power[0] / self._power[1]))


def _factor(size_px: float) -> float:
    return float(np.clip((size_px / USUAL_PX) ** 1.5, FINEST, 1.0))


def _squared(frequency_y: NDArray[np.float64], frequency_x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squares of wave numbers in 1/px²."""
    squared: NDArray[np.float64] = (2 * np.pi) ** 2 * (frequency_y**2 + frequency_x**2)
    return squared


def _used(squared: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which wave numbers count."""
    used: NDArray[np.bool_] = (squared > (2 * np.pi / LONGEST_PX) ** 2) & (squared < (2 * np.pi / SHORTEST_PX) ** 2)
    return used


def _spectrum(shape: tuple[int, int], pad: int, frames: Sequence[Frame]) -> NDArray[np.complex128]:
    """Return the spectrum of the mean of frames, without its rim."""
    grid = Grid(shape, pad)
    for frame in frames:
        grid.add(frame.image, frame.weight, frame.moved, frame.visits.axis)
    total, weights = grid.total[grid.inner].astype(np.float64), grid.weights[grid.inner].astype(np.float64)
    level = total.sum() / max(weights.sum(), 1e-9)
    mean = np.where(weights > 0.3, total / np.maximum(weights, 1e-9) - level, 0.0)
    window = np.hanning(shape[0])[:, None] * np.hanning(shape[1])
    spectrum: NDArray[np.complex128] = fft.fft2(mean * window)
    return spectrum
