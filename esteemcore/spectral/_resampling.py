"""Data as they might have come out instead: the model of an unmixing with new noise, one set at a time."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.lowrank import RowBlocks
from esteemcore.lowrank.operators import is_sparse
from esteemcore.spectral._binning import block_labels
from esteemcore.spectral.methods.problem import Factors, Problem

FEW = 0.3
"""Expected counts per pixel and channel below which counts are drawn one by one and kept as compressed rows."""

ROWS = 64
"""Pixels that share a stream of random numbers, so that lazy data are the same in every pass."""

BLOCK_PX, BLOCK_CHANNELS = 2, 8
"""What a detector or an interpolation may have joined: residuals of such blocks keep their signs to each other."""

SURE = 0.05
"""Share of its noise that a direction within a block must keep, so that it can be told from the residuals."""

PIECE = 2**22
"""Values that are dense at a time."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Resampler:
    """Draws data whose truth is the model that was found, with the noise of the problem.

    Counts are drawn from the Poisson distribution of the model (parametric bootstrap [1]_). Other data get the
    residuals back with signs drawn at random for blocks of pixels and channels (wild bootstrap [2]_), made up for what
    the fit took from them. This keeps the noise as uneven and as correlated as it is, and counts what the model misses
    as noise. Lazy data, of which there can
    be no second set, get Gaussian noise of the estimated size, drawn anew in each pass and the same each time.

    Attributes
    ----------
    problem : Problem
    factors : Factors
        Normalised.
    level : float
        Standard deviation of the noise in units of the weights of the problem, corrected for what the fit took.

    References
    ----------
    .. [1] B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, Chapman and Hall, 1993.
    .. [2] C. F. J. Wu, Ann. Stat. 14, 1261 (1986).
    """

    problem: Problem
    factors: Factors
    level: float

    def draw(self, rng: np.random.Generator) -> Any:
        """Return a matrix like that of the problem: compressed rows of few counts, an array, or lazy rows."""
        problem = self.problem
        few = problem.noise == "poisson" and problem.readout_sigma == 0 and self._expected() < FEW
        if few and self.factors.spectra.min() >= 0 and self.factors.abundances.min() >= 0:
            return self._events(rng)
        lazy = isinstance(problem.matrix, RowBlocks) or is_sparse(problem.matrix)
        if lazy or problem.noise == "poisson":
            rows = _Rows(self, int(rng.integers(2**62)))
            if few:
                return _compressed(rows)
            return RowBlocks(rows) if lazy else rows[:]
        return self._with_signs(rng)

    def _expected(self) -> float:
        """Return the mean counts per pixel and channel."""
        model = np.abs(self.factors.abundances).sum(axis=0) @ np.abs(self.factors.spectra).sum(axis=1)
        rows, channels = self.problem.matrix.shape
        return float(model) / (self.problem.gain * float(rows) * float(channels))

    def _events(self, rng: np.random.Generator) -> Any:
        """Return counts drawn one by one, component by component."""
        import scipy.sparse

        pixels, channels = [], []
        for spectrum, amount in zip(self.factors.spectra, self.factors.abundances.T, strict=True):
            total = float(spectrum.sum())
            number = rng.poisson(amount * total / self.problem.gain)
            pixels.append(np.repeat(np.arange(len(number)), number))
            below = spectrum.cumsum() / max(total, 1e-300)
            found = np.searchsorted(below, rng.random(int(number.sum())), side="right")
            channels.append(np.minimum(found, len(spectrum) - 1))
        where = np.concatenate(pixels), np.concatenate(channels)
        counts = np.full(len(where[0]), float(self.problem.gain))
        return scipy.sparse.coo_array((counts, where), shape=self.problem.matrix.shape).tocsr()

    def _with_signs(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the model with the residuals, their signs changed block by block."""
        problem, matrix = self.problem, self.problem.matrix
        label, number = block_labels(problem.mask, BLOCK_PX)
        whole = _whole_residuals(self.factors.spectra * problem.channel_weights)
        size = math.sqrt(1 / max(1 - problem.n / len(matrix), 1 / len(matrix)))
        signs = size * rng.choice((-1.0, 1.0), (number, len(whole)))
        channel = np.arange(matrix.shape[1]) // BLOCK_CHANNELS
        drawn = np.empty(matrix.shape)
        step = max(1, PIECE // matrix.shape[1])
        for first in range(0, len(drawn), step):
            part = slice(first, first + step)
            model = self.factors.abundances[part] @ self.factors.spectra
            left = (matrix[part] - model) * problem.channel_weights
            for block, root in enumerate(whole):
                inside = slice(block * BLOCK_CHANNELS, block * BLOCK_CHANNELS + len(root))
                left[:, inside] = left[:, inside] @ root
            drawn[part] = model + signs[label[part]][:, channel] * left / problem.channel_weights
        return drawn


def _compressed(rows: _Rows) -> Any:
    """Return few counts as compressed rows; what is dense at a time is a block."""
    import scipy.sparse

    return scipy.sparse.vstack([scipy.sparse.csr_array(block) for _, block in RowBlocks(rows).blocks()], format="csr")


def _whole_residuals(spectra: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return what gives the residuals of each block of channels the covariance of the noise.

    The fit takes from a block what its channels say of the abundances: the residuals have the covariance I - H, with
    the block H of the projection onto the (weighted) spectra. Its inverse root undoes that (Bell and McCaffrey, Surv.
    Methodol. 28, 169 (2002)); a direction that the block alone decides stays as it is.
    """
    _, size, directions = np.linalg.svd(spectra, full_matrices=False)
    axes = directions[size > 1e-9 * max(float(size[0]), 1e-300)]
    roots = []
    for first in range(0, spectra.shape[1], BLOCK_CHANNELS):
        part = axes[:, first : first + BLOCK_CHANNELS]
        value, vector = np.linalg.eigh(np.eye(part.shape[1]) - part.T @ part)
        roots.append((vector / np.sqrt(np.where(value > SURE, value, 1.0))) @ vector.T)
    return roots


def resampler(problem: Problem, factors: Factors, residual: NDArray[np.float64]) -> Resampler:
    """Return what draws data anew; `residual` (rows,) is that of `unmixing.residuals`."""
    level = math.sqrt(float(np.square(residual).mean()) / freedom(problem))
    return Resampler(problem, factors, level)


def freedom(problem: Problem) -> float:
    """Return the share of the noise that a fit of spectra and abundances leaves."""
    rows, channels = (float(n) for n in problem.matrix.shape)
    return max(1 - problem.n / channels, 1 / channels) * max(1 - problem.n / rows, 1 / rows)


class _Rows:
    """Data that are drawn when they are asked for, by rows."""

    def __init__(self, resampler: Resampler, seed: int) -> None:
        self._resampler, self._seed = resampler, seed
        self.shape: tuple[int, int] = resampler.problem.matrix.shape
        self.dtype = np.dtype(np.float64)

    def __getitem__(self, rows: slice) -> NDArray[np.float64]:
        start, stop, _ = rows.indices(self.shape[0])
        drawn = np.empty((max(stop - start, 0), self.shape[1]))
        for group in range(start // ROWS, -(-stop // ROWS)):
            low, high = group * ROWS, min((group + 1) * ROWS, self.shape[0])
            values = self._drawn(slice(low, high), np.random.default_rng((self._seed, group)))
            first, last = max(low, start), min(high, stop)
            drawn[first - start : last - start] = values[first - low : last - low]
        return drawn

    def _drawn(self, rows: slice, rng: np.random.Generator) -> NDArray[np.float64]:
        problem, factors = self._resampler.problem, self._resampler.factors
        model: NDArray[np.float64] = factors.abundances[rows] @ factors.spectra
        if problem.noise == "poisson":
            counts = problem.gain * rng.poisson(np.maximum(model, 0) / problem.gain)
            noise = problem.readout_sigma * rng.standard_normal(model.shape) if problem.readout_sigma > 0 else 0.0
            return np.asarray(counts + noise, np.float64)
        size = self._resampler.level / (problem.row_weights[rows, None] * problem.channel_weights)
        return model + size * rng.standard_normal(model.shape)
