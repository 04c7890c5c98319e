"""Where factorisations of counts start: purest blocks of pixels, in all counts and in random halves of them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.lowrank import noise_weights
from esteemcore.spectral._binning import block_labels
from esteemcore.spectral.methods._points import points
from esteemcore.spectral.methods._starts_kernels import joined
from esteemcore.spectral.methods.problem import Problem
from esteemcore.spectral.methods.spa import purest_corners, spa

BLOCK_COUNTS = 100.0
"""Counts of a block, as the average event sees it, below which pixels are joined further."""

LARGEST_BLOCK = 16

LEAST_BLOCKS = 24
"""Blocks per component that must be left."""

POOLED_COUNTS, POOLED_BLOCKS = 400.0, 1024
"""Where channels are pooled, pixels are joined to more counts if so many blocks are left."""

POOLS = 256
"""Channels are pooled to at most so many."""

LEVEL = 0.2
"""Share of the mean counts that is added to each channel: how little an empty channel weighs where pools are formed."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Counts summed over blocks of pixels and pools of channels.

    Attributes
    ----------
    counts : scipy.sparse.csr_array, shape (blocks, pools)
    mask : ndarray of bool, shape (y, x)
        The blocks that hold pixels.
    label : ndarray of int64, shape (rows,)
        Block of each pixel.
    pool : ndarray of int64, shape (energy,)
        Pool of each channel; its own where channels are not pooled.
    rows, columns : ndarray, shapes (rows,) and (energy,)
        Counts of each pixel and of each channel.
    """

    counts: Any
    mask: NDArray[np.bool_]
    label: NDArray[np.int64]
    pool: NDArray[np.int64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]

    def pooled(self, spectra: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return spectra (n, energy) as sums over the pools."""
        return np.stack([np.bincount(self.pool, spectrum, self.counts.shape[1]) for spectrum in spectra])


def blocks_of(counts: Any, mask: NDArray[np.bool_], n: int, *, pooled: bool = False) -> Blocks:
    """Return sums over blocks that are as small as hold enough counts to tell spectra apart.

    With `pooled` the channels are joined to at most `POOLS`, neighbours of as many counts together, so that lines stay
    as they are where there are many counts; and blocks are larger where there are many of them.
    """
    rows, columns = (np.asarray(counts.sum(axis=axis)).ravel() for axis in (1, 0))
    seen = float(rows @ rows) / max(float(rows.sum()), 1e-300)

    def too_small(side: int, least_counts: float, least_blocks: float) -> bool:
        return seen * side**2 < least_counts and len(rows) / (2 * side) ** 2 >= least_blocks

    side = 1
    while side < LARGEST_BLOCK and (
        too_small(side, BLOCK_COUNTS, LEAST_BLOCKS * n) or (pooled and too_small(side, POOLED_COUNTS, POOLED_BLOCKS))
    ):
        side *= 2
    pool = _pools(columns) if pooled else np.arange(len(columns))
    if side == 1 and len(columns) == pool[-1] + 1:
        return Blocks(counts, mask, np.arange(len(rows)), pool, rows, columns)
    label, number = block_labels(mask, side)
    y, x = np.nonzero(mask)
    coarse = np.zeros((-(-mask.shape[0] // side), -(-mask.shape[1] // side)), np.bool_)
    coarse[y // side, x // side] = True
    return Blocks(_joined(counts, label, number, pool), coarse, label, pool, rows, columns)


def _pools(columns: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the pool of each channel, numbered without gaps."""
    weight = columns + LEVEL * columns.mean()
    place = (np.cumsum(weight) - weight / 2) / weight.sum()
    if len(columns) <= POOLS:
        return np.arange(len(columns))
    return np.asarray(np.unique((place * POOLS).astype(np.int64), return_inverse=True)[1], np.int64)


def _joined(counts: Any, label: NDArray[np.int64], number: int, pool: NDArray[np.int64]) -> Any:
    """Return compressed rows of sums over blocks and pools."""
    import scipy.sparse

    order, last = np.argsort(label, kind="stable"), np.bincount(label, minlength=number).cumsum()
    first, pools, sums = np.empty(number + 1, np.int64), np.empty(counts.nnz, np.int32), np.empty(counts.nnz)
    cells = (counts.indptr, counts.indices, counts.data)
    filled = joined(*cells, order, last, pool, int(pool[-1]) + 1, first, pools, sums)
    shape = (number, int(pool[-1]) + 1)
    return scipy.sparse.csr_array((sums[:filled].copy(), pools[:filled].copy(), first), shape=shape)


def starts_of(problem: Problem, blocks: Blocks, number: int) -> Iterator[NDArray[np.float64]]:
    """Yield spectra of unit sum (pools, n) to start from: of the purest of all blocks, then of random halves of them.

    Halves are independent data of the same specimen, so that starts differ as much as the noise leaves them free to.
    """
    if problem.known is not None:
        yield starting_spectra(problem, blocks, 0)
        for start in range(1, number):
            with contextlib.suppress(
                ParameterError
            ):  # half of very few counts has no such components; all of them have
                yield starting_spectra(problem, blocks, start)
        return
    posed = _posed(problem, blocks, blocks.counts)
    cloud = points(posed)
    for start in range(number):
        part = cloud
        if start:
            candidates = np.flatnonzero(cloud.candidate)
            half = problem.rng(start).permutation(candidates)[: (len(candidates) + 1) // 2]
            part = dataclasses.replace(cloud, candidate=np.isin(np.arange(len(cloud.candidate)), half))
        yield _positive(problem, blocks, purest_corners(posed, part) @ cloud.basis)


def starting_spectra(problem: Problem, blocks: Blocks, number: int) -> NDArray[np.float64]:
    """Return spectra of unit sum (pools, n) to start from; number 0 from all counts, others from a random half.

    Raises
    ------
    ParameterError
        If the counts have no such number of components.
    """
    counts = blocks.counts
    if number:
        counts = counts.copy()
        rng = problem.rng(number)
        counts.data = rng.binomial(np.rint(counts.data).astype(np.int64), 0.5).astype(np.float64)
        counts.eliminate_zeros()
    return _positive(problem, blocks, spa(_posed(problem, blocks, counts)).spectra)


def _posed(problem: Problem, blocks: Blocks, counts: Any) -> Problem:
    """Return the problem of finding the purest blocks."""
    row, channel = noise_weights(counts, least_counts=10.0)
    return Problem(
        matrix=counts, mask=blocks.mask, n=problem.n, noise="poisson", gain=1.0, readout_sigma=0.0,
        row_weights=row, channel_weights=channel, seed=problem.seed,
        known=None if problem.known is None else blocks.pooled(problem.known),
    )  # fmt: skip


def _positive(problem: Problem, blocks: Blocks, spectra: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return spectra (pools, n) of unit sum from those found (n, pools), none without a little of the mean spectrum."""
    mean = np.asarray(blocks.counts.sum(axis=0)).ravel()
    free = np.maximum(spectra.T, 0)
    free = free / np.maximum(free.sum(axis=0), 1e-300) + 1e-2 * (mean / mean.sum())[:, None]
    if problem.known is not None:
        free[:, : len(problem.known)] = blocks.pooled(problem.known).T
    start: NDArray[np.float64] = free / free.sum(axis=0)
    return start
