"""Where factorisations of counts start: purest blocks of pixels, in all counts and in random halves of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.lowrank import noise_weights
from esteemcore.spectral._binning import block_labels
from esteemcore.spectral.methods.problem import Problem
from esteemcore.spectral.methods.spa import spa

BLOCK_COUNTS = 100.0
"""Counts of a block, as the average event sees it, below which pixels are joined further."""

LARGEST_BLOCK = 16

LEAST_BLOCKS = 24
"""Blocks per component that must be left."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Counts summed over blocks of pixels.

    Attributes
    ----------
    counts : scipy.sparse.csr_array, shape (blocks, energy)
    mask : ndarray of bool, shape (y, x)
        The blocks that hold pixels.
    label : ndarray of int64, shape (rows,)
        Block of each pixel.
    """

    counts: Any
    mask: NDArray[np.bool_]
    label: NDArray[np.int64]


def blocks_of(counts: Any, mask: NDArray[np.bool_], n: int) -> Blocks:
    """Return sums over blocks that are as small as hold enough counts to tell spectra apart."""
    total = np.asarray(counts.sum(axis=1)).ravel()
    seen = float(total @ total) / max(float(total.sum()), 1e-300)
    side = 1
    while side < LARGEST_BLOCK and seen * side**2 < BLOCK_COUNTS and len(total) / (2 * side) ** 2 >= LEAST_BLOCKS * n:
        side *= 2
    if side == 1:
        return Blocks(counts, mask, np.arange(len(total)))
    import scipy.sparse

    label, number = block_labels(mask, side)
    where = (np.repeat(label, np.diff(counts.indptr)), counts.indices)
    summed = scipy.sparse.coo_array((counts.data, where), shape=(number, counts.shape[1])).tocsr()
    y, x = np.nonzero(mask)
    coarse = np.zeros((-(-mask.shape[0] // side), -(-mask.shape[1] // side)), np.bool_)
    coarse[y // side, x // side] = True
    return Blocks(summed, coarse, label)


def starting_spectra(problem: Problem, blocks: Blocks, number: int) -> NDArray[np.float64]:
    """Return spectra of unit sum (energy, n) to start from; number 0 from all counts, others from a random half.

    Halves of thinned counts are independent data of the same specimen, so that starts differ as much as the noise
    leaves them free to.
    """
    counts = blocks.counts
    if number:
        counts = counts.copy()
        rng = problem.rng(number)
        counts.data = rng.binomial(np.rint(counts.data).astype(np.int64), 0.5).astype(np.float64)
        counts.eliminate_zeros()
    row, channel = noise_weights(counts, least_counts=10.0)
    purest = spa(
        Problem(
            matrix=counts, mask=blocks.mask, n=problem.n, noise="poisson", gain=1.0, readout_sigma=0.0,
            row_weights=row, channel_weights=channel, seed=problem.seed, known=problem.known,
        )
    )  # fmt: skip
    mean = np.asarray(blocks.counts.sum(axis=0)).ravel()
    free = np.maximum(purest.spectra.T, 0)
    free = free / np.maximum(free.sum(axis=0), 1e-300) + 1e-2 * (mean / mean.sum())[:, None]
    if problem.known is not None:
        free[:, : len(problem.known)] = problem.known.T
    spectra: NDArray[np.float64] = free / free.sum(axis=0)
    return spectra
