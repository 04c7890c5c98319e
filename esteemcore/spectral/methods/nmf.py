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
from esteemcore.spectral._matching import angles_deg, matching
from esteemcore.spectral._spectra import MOST_HELD
from esteemcore.spectral.methods._least_squares_factors import least_squares_factors
from esteemcore.spectral.methods._line_width import line_width
from esteemcore.spectral.methods._poisson_factors import PoissonFit, maximise
from esteemcore.spectral.methods._sieve import Sieve
from esteemcore.spectral.methods._starts import Blocks, blocks_of, starts_of
from esteemcore.spectral.methods._two_sums import SummedRows, two_sums
from esteemcore.spectral.methods.problem import Factors, Problem

RESTARTS = 3

EACH, COARSE, SETTLED_DEG = 2, 12, 0.25
"""Rounds of both factors in turn on blocks, from each start and then from the best of them, until no spectrum turns by
more in a round."""

FAST, FINE = 1, 500
"""Such rounds on pixels, where maps are not smoothed; then steps of both factors at once, at most."""

OPENING = 15
"""Steps of spectra from pools of channels to the channels themselves."""

LEAST_GAIN, SETTLED = 1.0, 2e-2
"""Ends when ten steps, or five after the rounds, raise the logarithm of the likelihood by less than this, or than this
much for each number that is free. By fitting noise each gains one half in the end; what comes so slowly is noise."""

GIVEN_SETTLED = 1e-3
"""The same where all spectra are given, which noise cannot change: nothing but the maximum is looked for."""

PRIOR = 0.5
"""Counts taken from each degree of freedom of a map in each step: Jeffreys' prior of a Poisson mean."""

RIVAL_ANGLE_DEG = 15.0
RIVAL_GAIN = 10.0
"""Another start that ends within so little of the best likelihood at spectra so far away is worth a note."""


def nmf(problem: Problem) -> Factors:
    """Return spectra and abundances that are nowhere negative.

    Counts: the Poisson likelihood (Kullback-Leibler divergence [1]_) is maximised exactly, on the counts alone, from
    several starts: the purest blocks of pixels, of all and of random halves of them. Sums of counts that tell nearly
    all of one factor, then of the other, take it most of the way; steps of both factors on all counts end it.
    Abundances are the blur of non-negative maps where smoothing is asked for, spectra the blur of non-negative spectra
    where counts that are held back say that it predicts them as well. Lazy images are kept as their counts.

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
    work = problem.steps(restarts * EACH + COARSE + FAST + FINE)
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
        whole = coarse.blocks.rows[:, None] / np.maximum(amounts.sum(axis=1, keepdims=True), 1e-300)
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
    nearest = np.rint(counts.data)
    if (counts.data == nearest).all():
        return True
    off = np.abs(counts.data - nearest)
    rounding = 0.5 / gain if gain > 1 else 0.0
    return bool((off <= rounding + 1e-3 + 1e-6 * counts.data).all())


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """Factors of blocks of pixels."""

    blocks: Blocks
    fit: PoissonFit

    def lines(self, known: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return spectra of unit sum (energy, n): the counts of each channel in the shares of its pool."""
        share = self.fit.by_channel + 1e-9 * self.fit.by_channel.max()
        share /= share.sum(axis=1, keepdims=True)
        spectra = share[self.blocks.pool] * self.blocks.columns[:, None]
        if known is not None:
            spectra[:, : len(known)] = known.T
        of_unit_sum: NDArray[np.float64] = spectra / spectra.sum(axis=0)
        return of_unit_sum


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Fine:
    """Factors of the pixels, and the blur of their spectra in channels."""

    fit: PoissonFit
    channels: float


def best_start(problem: Problem, counts: Any, restarts: int, work: Progress) -> tuple[Coarse, tuple[str, ...]]:
    """Return the best of several factorisations of blocks of pixels, and what to know about the others."""
    fixed = 0 if problem.known is None else len(problem.known)
    blocks = blocks_of(counts, problem.mask, problem.n, pooled=True)
    total = np.asarray(blocks.counts.sum(axis=1)).reshape(-1, 1)
    sieve = Sieve(blocks.mask, fixed=fixed)

    def fitted(sources: NDArray[np.float64], lines: NDArray[np.float64], rounds: int) -> PoissonFit:
        found = two_sums(
            blocks.counts, sources, lines, sieve, rounds=rounds, step=work.step, prior=PRIOR, settled_deg=SETTLED_DEG
        )
        return maximise(blocks.counts, *found, sieve, iterations=0, tolerance=0, prior=PRIOR)

    level = np.repeat(total / problem.n + 1e-3 * total.mean(), problem.n, axis=1)
    fits = [fitted(level, spectra, EACH) for spectra in starts_of(problem, blocks, restarts)]
    best = max(fits, key=lambda fit: fit.likelihood[-1])
    rivals = [
        fit
        for fit in fits
        if best.likelihood[-1] - fit.likelihood[-1] < RIVAL_GAIN and _farthest_deg(fit, best) > RIVAL_ANGLE_DEG
    ]
    notes = (
        (f"{len(rivals)} of {len(fits)} starts end at other spectra that explain the counts as well",) if rivals else ()
    )
    return Coarse(blocks, fitted(best.sources, best.lines, COARSE)), notes


def refined(problem: Problem, counts: Any, coarse: Coarse, work: Progress) -> Fine:
    """Return the factors of the pixels, from those of their blocks."""
    fixed = 0 if problem.known is None else len(problem.known)
    share = coarse.fit.abundances + 0.1
    share /= share.sum(axis=1, keepdims=True)
    rows, columns = coarse.blocks.rows, coarse.blocks.columns
    sources = (rows + 1e-3 * rows.mean())[:, None] * share[coarse.blocks.label]
    summed, lines = SummedRows(counts, sources), coarse.lines(problem.known)
    opened = summed.spectra(lines, Sieve(problem.mask, fixed=fixed), OPENING)
    channels = line_width(opened * sources.sum(axis=0), columns, fixed, problem.rng(0, 1))
    sieve = Sieve(problem.mask, problem.smoothing_px, channels, fixed)
    lines = summed.spectra(lines, sieve, OPENING)
    freedom = 1 / max(1.0, 4 * np.pi * problem.smoothing_px**2)  # of a pixel within a Gaussian
    prior = PRIOR * freedom if fixed < problem.n else 0.0  # spectra that are given do not drift
    enough = SETTLED if fixed < problem.n else GIVEN_SETTLED
    settled = max(LEAST_GAIN, enough * (sources.size + lines.size))
    sharp = problem.smoothing_px == 0
    if sharp:
        sources, lines = two_sums(counts, sources, lines, sieve, rounds=FAST, step=work.step, prior=prior)
    fit = maximise(
        counts, sources, lines, sieve, iterations=FINE, tolerance=settled, step=work.step, prior=prior,
        looks=1 if sharp else 2,
    )  # fmt: skip
    return Fine(fit, channels)


def _farthest_deg(fit: PoissonFit, best: PoissonFit) -> float:
    """Return the largest angle between matched spectra, in degrees."""
    spectra, reference = fit.spectra.T, best.spectra.T
    return float(angles_deg(spectra[matching(spectra, reference)], reference).max())
