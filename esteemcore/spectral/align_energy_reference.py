"""The spectrum that others are laid on: where its feature lies, and how it is made of spectra that lie apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

from esteemcore._core.errors import ParameterError
from esteemcore.spectral.align_energy_fit import Floats, Reference, measure

PASSES = 4
MOST = 2.0
FOOT = 0.05
"""A window reaches to where a peak has fallen to this part of its height, and half as far again."""


def automatic_window(mean: Floats, offset: float) -> tuple[int, int]:
    """Return first and one past the last channel around the highest peak, moved by a known offset."""
    base = float(np.median(mean))
    top = int(mean.argmax())
    low = mean < base + FOOT * (mean[top] - base)
    before, after = np.flatnonzero(low[:top]), np.flatnonzero(low[top:])
    left = int(before[-1]) + 1 if before.size else 0
    right = top + int(after[0]) if after.size else len(mean)
    margin = max((right - left) // 4, 2)
    move = round(offset)
    return max(left - margin + move, 0), min(right + margin + move, len(mean))


def even_weights(totals: Floats) -> Floats:
    """Return weights by which no spectrum gives more than `MOST` times the median of them."""
    some = totals[totals > 0]
    if not some.size:
        return np.ones_like(totals)
    weights: Floats = np.minimum(1.0, MOST * float(np.median(some)) / np.maximum(totals, 1e-300))
    return weights


def own_reference(empty: Reference, counts_of: Callable[[NDArray[np.int64]], Floats], start: float) -> Reference:
    """Return the reference that spectra make when they are aligned with their own mean, again and again.

    Parameters
    ----------
    empty : Reference
        Without a spectrum yet.
    counts_of : callable
        Returns spectra (rows, columns, channels) in the channels that are asked for.
    start : float
        What is known of their shifts, in channels.
    """
    wide = dataclasses.replace(empty, reach=2 * empty.reach).channels(start)
    counts = counts_of(wide)
    counts = counts.reshape(-1, counts.shape[2])
    near = np.isin(wide, empty.channels(start))
    if not near.any() or counts[:, near].sum() <= 0:
        raise ParameterError("there are no counts in the window; choose another one")
    even = even_weights(np.maximum(counts[:, near].sum(axis=1), 0))
    shift = np.full(len(counts), start)
    found = empty
    for _ in range(PASSES):
        found = dataclasses.replace(found, spectrum=_mean_moved(counts, even, shift, int(wide[0]), len(empty.spectrum)))
        before = shift
        measured, _ = measure(counts[:, near], found, start)
        told = np.isfinite(measured)
        if not told.any():
            return found
        shift = np.where(told, measured, np.median(measured[told]))
        shift += start - shift[told].mean()
        if np.abs(shift - before).max() < 0.05:
            break
    return dataclasses.replace(found, spectrum=_mean_moved(counts, even, shift, int(wide[0]), len(empty.spectrum)))


def _mean_moved(counts: Floats, even: Floats, shift: Floats, begin: int, channels: int) -> Floats:
    """Return the weighted mean of spectra (from channel ``begin`` on), moved; where none reaches, the nearest value."""
    total, weight = np.zeros(channels), np.zeros(channels)
    for whole in np.unique(np.floor(shift)):
        rows = np.floor(shift) == whole
        part = shift[rows] - whole
        for step, share in ((0, even[rows] * (1 - part)), (1, even[rows] * part)):
            first = begin + int(whole) + step
            low, high = max(first, 0), min(first + counts.shape[1], channels)
            if low < high:
                total[low:high] += share @ counts[rows, low - first : high - first]
                weight[low:high] += share.sum()
    reached = np.flatnonzero(weight > 0.2 * weight.max())
    return np.interp(np.arange(channels), reached, total[reached] / weight[reached])


def highest_place(reference: Reference) -> float:
    """Return where the highest point within the window lies, in channels."""
    spline = interpolate.CubicSpline(np.arange(len(reference.spectrum)), reference.spectrum)
    fine = np.linspace(reference.first, reference.last - 1, 200 * (reference.last - reference.first) + 1)
    return float(fine[spline(fine).argmax()])
