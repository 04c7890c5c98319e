"""Compiled loops over counts that are added up in groups of rows, and in groups of channels of each row."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def summed_rows(offset, channel, count, group, out):
    """Add up compressed rows of counts over groups of rows into ``out`` (groups, energy)."""
    out[:] = 0.0
    for i in range(len(offset) - 1):
        for at in range(offset[i], offset[i + 1]):
            out[group[i], channel[at]] += count[at]


@njit(cache=True, nogil=True, fastmath=True)
def regressed(offset, channel, count, group, design, amounts, prior, least, steps, length):
    """Take steps of the amounts (rows, n), in place, towards the most likely ones for a known design (n, groups).

    The counts of each row are added up over groups of channels and are Poisson of mean ``amounts @ design``. Steps are
    those of the expectation of counts less a prior (see `taken_by_prior`), made longer by ``length`` (see `stepped`).
    """
    n, groups = design.shape
    size = np.zeros(n)
    for k in range(n):
        for g in range(groups):
            size[k] += design[k, g]
    summed, ratio = np.empty(groups), np.empty(groups)
    for i in range(amounts.shape[0]):
        summed[:] = 0.0
        for at in range(offset[i], offset[i + 1]):
            summed[group[channel[at]]] += count[at]
        for _ in range(steps):
            ratio[:] = 1e-100
            for k in range(n):
                for g in range(groups):
                    ratio[g] += amounts[i, k] * design[k, g]
            for g in range(groups):
                ratio[g] = summed[g] / ratio[g]
            for k in range(n):
                amount = amounts[i, k]
                expected = 0.0
                for g in range(groups):
                    expected += design[k, g] * ratio[g]
                expected *= amount
                whole = amount * size[k]
                r = max(expected - prior, min(expected, least)) / whole if whole > 1e-300 else 0.0
                if r >= 1.0:
                    amounts[i, k] = amount * (1.0 + length * (r - 1.0))
                else:
                    amounts[i, k] = amount * r / (r + length * (1.0 - r)) if r > 0.0 else 0.0
