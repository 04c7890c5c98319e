"""How fine the details of a series are, and how much the mean may be blurred for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from esteemcore.register.grid import Grid
from esteemcore.register.lines import Frame

USUAL_PX = 1.4
"""Details of this size, those of a lattice of 9 px, are blurred as much as coarser ones."""
FINEST = 0.35
"""Least factor of a blur."""
MOST_FRAMES = 16
LONGEST_PX, SHORTEST_PX = 40.0, 2.8
"""Periods that count."""


def blur_factor(shape: tuple[int, int], frames: Sequence[Frame]) -> float:
    """Return by which factor blurs are made smaller, so that the lattice of a fine series is still seen."""
    return float(np.clip((detail_px(shape, frames) / USUAL_PX) ** 1.5, FINEST, 1.0))


def detail_px(shape: tuple[int, int], frames: Sequence[Frame]) -> float:
    r"""Return the size of details in px: the root of :math:`\sum P / \sum k^2 P`, period / 2π for a single wave.

    P is the cross spectrum of the means of every other frame, whose noise is independent. Infinite if they have nothing
    in common.
    """
    chosen = [frames[k] for k in np.unique(np.linspace(0, len(frames) - 1, MOST_FRAMES).round().astype(int))]
    pad = math.ceil(max(float(np.abs(f.moved).max()) for f in chosen)) + 2
    halves = [_spectrum(shape, pad, chosen[part::2]) for part in (0, 1)]
    k = [2 * np.pi * fft.fftfreq(n) for n in shape]
    squared = k[0][:, None] ** 2 + k[1] ** 2
    used = (squared > (2 * np.pi / LONGEST_PX) ** 2) & (squared < (2 * np.pi / SHORTEST_PX) ** 2)
    power = (halves[0] * halves[1].conj()).real[used]
    above, below = float(power.sum()), float((squared[used] * power).sum())
    return math.sqrt(above / below) if above > 0 and below > 0 else math.inf


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
