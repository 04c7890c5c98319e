"""Non-negative matrix factorisation: of counts by their exact likelihood, of other data by weighted least squares."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress
from esteemcore.lowrank import RowBlocks
from esteemcore.lowrank.operators import is_sparse
from esteemcore.spectral._spectra import MOST_HELD
from esteemcore.spectral.methods._least_squares_factors import least_squares_factors
from esteemcore.spectral.methods._line_width import line_width
from esteemcore.spectral.methods._poisson_factors import PoissonFit, maximise
from esteemcore.spectral.methods._sieve import Sieve
from esteemcore.spectral.methods._starts import Blocks, blocks_of, starting_spectra
from esteemcore.spectral.methods.problem import Factors, Problem

RESTARTS = 3

EACH, COARSE, FINE = 15, 60, 500
"""Steps at most, on blocks from each start, then from the best of them, and on pixels."""

LEAST_GAIN, SETTLED = 1.0, 1e-2
"""Ends when ten steps raise the logarithm of the likelihood by less than this, or than this much for each number that
is free. By fitting noise each of them gains one half in the end; what comes so slowly is noise that is being fitted."""

PRIOR = 0.5
"""Counts taken from each degree of freedom of a map in each step: Jeffreys' prior of a Poisson mean."""

RIVAL_ANGLE_DEG = 15.0
RIVAL_GAIN = 10.0
"""Another start that ends within so little of the best likelihood at spectra so far away is worth a note."""


def nmf(problem: Problem) -> Factors:
    """Return spectra and abundances that are nowhere negative.

    Counts: the Poisson likelihood (Kullback-Leibler divergence [1]_) is maximised exactly, on the counts alone, from
    several starts: the purest blocks of pixels, in all counts and in random halves of them. The best of them is refined
    on the pixels. Abundances are the blur of non-negative maps where smoothing is asked for, spectra the blur of
    non-negative spectra where counts that are held back say that it predicts them better. Lazy images are kept as their
    counts.

    The largest likelihood alone drifts: where spectra may borrow from each other without becoming negative, moving
    abundances away from zero sets them free to fit noise. Jeffreys' prior of the abundances (Gamma of shape one half)
    undoes what that gains, so that phases stay pure where they are.

    Other data, and counts with readout noise: weighted least squares by coordinate descent (HALS [2]_) on the principal
    components, from the purest pixels.

    References
    ----------
    .. [1] D. D. Lee, H. S. Seung, Nature 401, 788 (1999).
    .. [2] A. Cichocki, A.-H. Phan, IEICE Trans. Fundam. E92-A, 708 (2009).
    """
    if problem.noise != "poisson" or problem.readout_sigma > 0:
        return least_squares_factors(problem)
    counts = counts_of(problem)
    restarts = problem.restarts or RESTARTS
    work = problem.steps(restarts * EACH + COARSE + FINE)
    coarse, notes = best_start(problem, counts, restarts, work)
    fine = refined(problem, counts, coarse, work)
    work.finish()
    if not fine.fit.converged:
        notes = (*notes, f"the likelihood still rises after {FINE} steps: spectra and maps may still change a little")
    if fine.channels:
        notes = (*notes, f"spectra are smooth by {fine.channels:g} channels, which predicts held-out counts best")
    if not are_whole(counts, problem.gain):
        notes = (*notes, "the data are no whole numbers: if their unit is not one count, give its gain")
    amounts = fine.fit.abundances
    if problem.smoothing_px == 0:  # the prior takes a little from every pixel; all its counts are in the maps
        whole = np.asarray(counts.sum(axis=1)).reshape(-1, 1) / np.maximum(amounts.sum(axis=1, keepdims=True), 1e-300)
    else:  # of blurred maps only the sums are known
        whole = fine.fit.by_channel.sum(axis=0) / np.maximum(amounts.sum(axis=0), 1e-300)
    return Factors(fine.fit.spectra.T, amounts * whole * problem.gain, notes=notes)


def counts_of(problem: Problem) -> Any:
    """Return the counts as compressed rows, whatever the data are kept in.

    Raises
    ------
    ParameterError
        If known spectra hold values below zero, or a lazy image more counts than memory should hold.
    """
    import scipy.sparse

    if problem.known is not None and (problem.known < 0).any():
        raise ParameterError("known spectra hold values below zero, which counts cannot have; use method='spa'")
    matrix = problem.matrix
    if isinstance(matrix, RowBlocks):
        counts = _in_memory(matrix)
    elif is_sparse(matrix):
        counts = scipy.sparse.csr_array(matrix, copy=problem.gain != 1)
    else:
        counts = scipy.sparse.csr_array(matrix)
    if problem.gain != 1:
        counts.data /= problem.gain
    return counts


def _in_memory(blocks: RowBlocks) -> Any:
    """Return compressed rows of what is read block by block: once to count the entries, once to keep them."""
    import scipy.sparse

    filled = np.concatenate([np.count_nonzero(block, axis=1) for _, block in blocks.blocks()])
    offset = np.concatenate([[0], np.cumsum(filled)])
    if offset[-1] > MOST_HELD:
        raise ParameterError(
            f"{offset[-1]:,} values of the image are not zero, and this method keeps {MOST_HELD:,} in memory at most; "
            "use method='spa', bin the image, or leave out pixels by mask"
        )
    values, channels = np.empty(offset[-1]), np.empty(offset[-1], np.int32)
    for place, block in blocks.blocks():
        row, channel = np.nonzero(block)
        part = slice(offset[place.start], offset[place.stop])
        values[part], channels[part] = block[row, channel], channel
    return scipy.sparse.csr_array((values, channels, offset.astype(np.int32)), shape=blocks.shape)


def are_whole(counts: Any, gain: float) -> bool:
    """Return whether counts are whole numbers, but for the rounding of a camera to whole units."""
    off = np.abs(counts.data - np.rint(counts.data))
    rounding = 0.5 / gain if gain > 1 else 0.0
    return bool((off <= rounding + 1e-3 + 1e-6 * counts.data).all())


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """Factors of blocks of pixels."""

    blocks: Blocks
    fit: PoissonFit


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Fine:
    """Factors of the pixels, and the blur of their spectra in channels."""

    fit: PoissonFit
    channels: float


def best_start(problem: Problem, counts: Any, restarts: int, work: Progress) -> tuple[Coarse, tuple[str, ...]]:
    """Return the best of several factorisations of blocks of pixels, and what to know about the others."""
    fixed = 0 if problem.known is None else len(problem.known)
    blocks = blocks_of(counts, problem.mask, problem.n)
    total = np.asarray(blocks.counts.sum(axis=1)).reshape(-1, 1)
    sieve = Sieve(blocks.mask, fixed=fixed)

    def fitted(sources: NDArray[np.float64], lines: NDArray[np.float64], steps: int) -> PoissonFit:
        settled = max(LEAST_GAIN, SETTLED * (sources.size + lines.size))
        return maximise(
            blocks.counts, sources, lines, sieve, iterations=steps, tolerance=settled, step=work.step, prior=PRIOR
        )

    level = np.repeat(total / problem.n + 1e-3 * total.mean(), problem.n, axis=1)
    fits: list[PoissonFit] = []
    for number in range(restarts):
        try:
            spectra = starting_spectra(problem, blocks, number)
        except ParameterError:
            if number == 0:
                raise
            continue  # half of very few counts has no such components; all of them have
        fits.append(fitted(level, spectra, EACH))
    best = max(fits, key=lambda fit: fit.likelihood[-1])
    rivals = [
        fit
        for fit in fits
        if best.likelihood[-1] - fit.likelihood[-1] < RIVAL_GAIN and _angle(fit.spectra, best.spectra) > RIVAL_ANGLE_DEG
    ]
    notes = (
        (f"{len(rivals)} of {len(fits)} starts end at other spectra that explain the counts as well",) if rivals else ()
    )
    return Coarse(blocks, fitted(best.sources, best.lines, COARSE)), notes


def refined(problem: Problem, counts: Any, coarse: Coarse, work: Progress, channels: float | None = None) -> Fine:
    """Return the factors of the pixels, from those of their blocks."""
    fixed = 0 if problem.known is None else len(problem.known)
    if channels is None:
        columns = np.asarray(counts.sum(axis=0)).ravel()
        channels = line_width(coarse.fit.by_channel, columns, fixed, problem.rng(0, 1))
    share = coarse.fit.abundances + 0.1
    share /= share.sum(axis=1, keepdims=True)
    total = np.asarray(counts.sum(axis=1)).reshape(-1, 1)
    sources = (total + 1e-3 * total.mean()) * share[coarse.blocks.label]
    sieve = Sieve(problem.mask, problem.smoothing_px, channels, fixed)
    freedom = 1 / max(1.0, 4 * np.pi * problem.smoothing_px**2)  # of a pixel within a Gaussian
    prior = PRIOR * freedom if fixed < problem.n else 0.0  # spectra that are given do not drift
    fit = maximise(
        counts, sources, coarse.fit.spectra, sieve, iterations=FINE, step=work.step, prior=prior,
        tolerance=max(LEAST_GAIN, SETTLED * (sources.size + coarse.fit.spectra.size)),
    )  # fmt: skip
    return Fine(fit, channels)


def _angle(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the largest angle between matched spectra (energy, n), in degrees."""
    from scipy.optimize import linear_sum_assignment

    first, second = (s / np.maximum(np.linalg.norm(s, axis=0), 1e-300) for s in (one, other))
    cosine = first.T @ second
    pairs = linear_sum_assignment(-cosine)
    return float(np.degrees(np.arccos(np.clip(cosine[pairs].min(), -1, 1))))
