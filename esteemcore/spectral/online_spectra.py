"""Spectra of every channel for maps that are known: what the sums of blocks of pixels say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.lowrank import noise_weights
from esteemcore.spectral.methods import Problem
from esteemcore.spectral.methods._line_width import deblurred, line_width
from esteemcore.spectral.methods._sieve import Sieve
from esteemcore.spectral.pca import LEAST_COUNTS
from esteemcore.spectral.unmix import solve


def problem_of(
    counts: NDArray[np.float64],
    mask: NDArray[np.bool_],
    n: int,
    seed: int,
    smoothing_px: float,
    known: NDArray[np.float64] | None = None,
) -> Problem:
    """Return the problem of counts (rows, channels) that are given as an array."""
    import scipy.sparse

    row, channel = noise_weights(counts, least_counts=LEAST_COUNTS)
    return Problem(
        matrix=scipy.sparse.csr_array(counts), mask=mask, n=n, noise="poisson", gain=1.0, readout_sigma=0.0,
        row_weights=row, channel_weights=channel, seed=seed, smoothing_px=smoothing_px, known=known,
        restarts=None if known is None else 1,
    )  # fmt: skip


def visits_seen(visits: NDArray[Any], smoothing_px: float) -> NDArray[np.float64]:
    """Return what smoothed sums over visits (y, x) are divided by: the visits, smoothed as the maps are.

    Where neighbours were visited more often, the sum of a position holds some of theirs.
    """
    mask = visits > 0
    seen = np.zeros(visits.shape)
    both = np.column_stack([visits[mask], np.ones(np.count_nonzero(mask))]).astype(np.float64)
    blurred = Sieve(mask, smoothing_px).of_maps(both)
    seen[mask] = blurred[:, 0] / blurred[:, 1]  # of the same weights where the image ends
    return seen


def most_likely(counts: NDArray[np.float64], maps: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return spectra (n, energy) of unit sum, none negative, of the largest Poisson likelihood.

    Lines are as wide as the width that predicts held-out counts best.

    Parameters
    ----------
    counts : ndarray, shape (blocks, energy)
        None below zero.
    maps : ndarray, shape (blocks, n)
        Counts of each component in each block.
    seed : int
    """
    known = np.maximum(maps, 1e-9 * max(float(maps.sum()), 1e-300))
    channels = counts.T
    row = np.ones((1, len(channels)), np.bool_)
    fine = solve(problem_of(channels, row, maps.shape[1], seed, 0.0, known=known.T), "nmf")
    width = line_width(fine.abundances, channels.sum(axis=1), 0, np.random.default_rng((seed, 0, 1)))
    spectra = deblurred(fine.abundances, width).T
    unit: NDArray[np.float64] = spectra / np.maximum(spectra.sum(axis=1, keepdims=True), 1e-300)
    return unit


def least_squares(
    values: NDArray[np.float64], maps: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the spectra (n, energy) of the least squares of weighted blocks, channel by channel."""
    spectra: NDArray[np.float64] = np.linalg.lstsq(maps * weights[:, None], values * weights[:, None], rcond=1e-9)[0]
    return spectra
