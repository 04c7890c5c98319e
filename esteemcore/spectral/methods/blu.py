"""Bayesian linear unmixing: all spectra and maps that the data allow, by Gibbs sampling."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.lowrank.operators import is_sparse, sum_of_squares
from esteemcore.spectral._matching import matching
from esteemcore.spectral.abundances import abundances
from esteemcore.spectral.methods._convergence import effective_draws, split_r_hat
from esteemcore.spectral.methods._gaussian_chain import GaussianChain
from esteemcore.spectral.methods._points import weighted
from esteemcore.spectral.methods._poisson_chain import PoissonChain
from esteemcore.spectral.methods._poisson_factors import maximise
from esteemcore.spectral.methods._sieve import Sieve
from esteemcore.spectral.methods._starts import blocks_of, starting_spectra
from esteemcore.spectral.methods.nmf import are_whole, counts_of
from esteemcore.spectral.methods.problem import Factors, Problem
from esteemcore.spectral.methods.spa import spa

CHAINS = 2

WARM_UP, DRAWS, ROUNDS = 300, 500, 3
"""Sweeps before draws are kept, draws of the first round, and rounds, each twice as long, until the chains agree."""

AGREED, ENOUGH = 1.1, 50.0
"""Largest scale reduction and least effective draws of chains that are believed."""

SORTING = 30
"""Steps that sort blocks of pixels by component at the start."""

MANY = 10.0
"""Mean counts of a filled channel of a pixel from which on the noise is taken as Gaussian."""


def blu(problem: Problem) -> Factors:
    """Return the posterior means of spectra and abundances, and their standard deviations.

    After Bayesian linear unmixing [1]_, with two differences: the noise is that of the data (counts as counts, other
    data weighted), and thickness is free, so that abundances of a pixel do not sum to one. Two chains from different
    starts run until they agree; notes say how well they do. Spectra keep unit sum in each draw, so that neither scale
    nor order drift; a chain that would have swapped components is matched to the first one.

    References
    ----------
    .. [1] N. Dobigeon et al., IEEE Trans. Signal Process. 57, 4355 (2009).
    """
    number = problem.restarts or CHAINS
    work = problem.steps(number * (WARM_UP + DRAWS * (2**ROUNDS - 1)))
    chains, scale = _of_counts(problem, number) if _as_counts(problem) else _of_values(problem, number)
    for _ in range(WARM_UP):
        for chain in chains:
            chain.sweep()
            work.step()
    axes = chains[0].spectra / scale.channel[:, None]
    axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-300)
    for turn in range(ROUNDS):
        draws = [_Draws(chain, scale, axes) for chain in chains]
        for _ in range(DRAWS * 2**turn):
            for one in draws:
                one.draw()
                work.step()
        orders = [matching(one.spectra.T, draws[0].spectra.T) for one in draws]
        series = np.array([one.series(order) for one, order in zip(draws, orders, strict=True)])
        reduction, worth = float(split_r_hat(series).max()), float(effective_draws(series).min())
        if reduction < AGREED and worth > ENOUGH:
            break
    work.finish()
    spectra, sigma_spectra = _pooled([one.of_spectra(order) for one, order in zip(draws, orders, strict=True)])
    amounts, sigma_amounts = _pooled([one.of_abundances(order) for one, order in zip(draws, orders, strict=True)])
    found = (
        f"{number} chains of {DRAWS * 2**turn} draws, worth {worth:.0f} independent ones, "
        f"scale reduction {reduction:.2f}"
    )
    notes: tuple[str, ...] = (found,)
    if isinstance(chains[0], GaussianChain):
        notes = (
            found,
            "the data are taken as no counts: the standard deviations of spectra hold where many pixels are pure, and "
            "are too small where none is",
        )
    if reduction >= AGREED or worth <= ENOUGH:
        doubt = (
            "the chains do not agree yet and the standard deviations are too small: the data leave spectra and maps "
            "too free; give known spectra or fewer components"
        )
        notes = (*notes, doubt)
    return Factors(spectra.T, amounts, sigma_spectra.T, sigma_amounts, notes)


class _Chain(Protocol):
    """What a sampler has: factors that each sweep draws anew."""

    abundances: NDArray[np.float64]
    spectra: NDArray[np.float64]

    def sweep(self) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """What turns the factors of a chain into those of the data, of spectra with unit sum."""

    row: NDArray[np.float64]
    channel: NDArray[np.float64]


class _Draws:
    """Sums over the draws of a chain, and the series by which convergence is judged: overlaps with axes (energy, n)."""

    def __init__(self, chain: _Chain, scale: _Scale, axes: NDArray[np.float64]) -> None:
        self._chain, self._scale, self._axes = chain, scale, axes
        self._number = 0
        self._spectra = np.zeros((2, *chain.spectra.shape))
        self._abundances = np.zeros((2, *chain.abundances.shape))
        self._series: list[NDArray[np.float64]] = []

    def draw(self) -> None:
        """Sweep once and add up."""
        self._chain.sweep()
        spectra = self._chain.spectra / self._scale.channel[:, None]
        size = np.abs(spectra).sum(axis=0)
        spectra = spectra / size
        amounts = self._chain.abundances * size / self._scale.row[:, None]
        self._number += 1
        for sums, drawn in ((self._spectra, spectra), (self._abundances, amounts)):
            sums[0] += drawn
            sums[1] += np.square(drawn)
        self._series.append(np.concatenate([amounts.mean(axis=0)[None], self._axes.T @ spectra]))

    @property
    def spectra(self) -> NDArray[np.float64]:
        """Mean so far, shape (energy, n)."""
        return np.asarray(self._spectra[0] / self._number)

    def of_spectra(self, order: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the means of values and squares, shape (2, energy, n)."""
        return np.asarray(self._spectra[:, :, order] / self._number)

    def of_abundances(self, order: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the means of values and squares, shape (2, rows, n)."""
        return np.asarray(self._abundances[:, :, order] / self._number)

    def series(self, order: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the mean abundances and the overlaps of spectra with the axes, shape (draws, quantities)."""
        every = np.array(self._series)[:, :, order]
        return every.reshape(len(every), -1)


def _as_counts(problem: Problem) -> bool:
    """Return whether the exact likelihood of counts is worth its time."""
    if problem.noise != "poisson" or problem.readout_sigma > 0:
        return False
    matrix = problem.matrix
    filled = matrix.nnz if is_sparse(matrix) else np.count_nonzero(matrix)
    return float(matrix.sum()) / problem.gain < MANY * filled


def _of_counts(problem: Problem, number: int) -> tuple[list[_Chain], _Scale]:
    """Return chains for counts, from what all of them and what random halves of them show.

    Each block of pixels starts as pure, of the component that it has most of: chains go from pure pixels to mixtures
    in few sweeps, the other way in many.
    """
    counts = counts_of(problem)
    if not are_whole(counts, problem.gain):
        raise ParameterError(
            "the data are no whole numbers, and method 'blu' shares out single counts; give gain= if their unit is not "
            "one count, use method='nmf', or noise='gaussian'"
        )
    counts.data = np.rint(counts.data)
    whole = counts.astype(np.int64)
    fixed = 0 if problem.known is None else len(problem.known)
    blocks = blocks_of(counts, problem.mask, problem.n)
    total = np.asarray(counts.sum(axis=1)).reshape(-1, 1)
    level = np.repeat(np.asarray(blocks.counts.sum(axis=1)).reshape(-1, 1) / problem.n, problem.n, axis=1) + 1e-3
    chains: list[_Chain] = []
    for chain in range(number):
        spectra = starting_spectra(problem, blocks, chain)
        alone = Sieve(blocks.mask, fixed=problem.n)
        most = maximise(blocks.counts, level, spectra, alone, iterations=SORTING, tolerance=0).abundances.argmax(axis=1)
        pure = np.eye(problem.n)[most[blocks.label]]
        spectra[:, fixed:] = np.asarray(counts.T @ pure)[:, fixed:] + 0.5
        sieve = Sieve(problem.mask, problem.smoothing_px, fixed=fixed)
        mostly = (0.98 * pure + 0.02 / problem.n) * total
        chains.append(PoissonChain(whole, mostly, spectra, sieve, problem.rng(1, chain)))
    return chains, _Scale(np.full(len(total), 1 / problem.gain), np.ones(counts.shape[1]))


def _of_values(problem: Problem, number: int) -> tuple[list[_Chain], _Scale]:
    """Return chains for other data, from the purest pixels, made uncertain for all but the first."""
    if problem.smoothing_px > 0:
        raise ParameterError(
            "method 'blu' smooths maps of counts only, and these data are not drawn as counts: they are none, have "
            "readout noise or are many per channel; give smoothing_px=0"
        )
    row, channel = problem.row_weights, problem.channel_weights
    data = weighted(problem)
    squares = sum_of_squares(data)
    start = spa(problem).spectra
    fixed = 0 if problem.known is None else len(problem.known)
    chains: list[_Chain] = []
    for chain in range(number):
        rng = problem.rng(1, chain)
        spectra = np.maximum(start, 0)
        if chain:
            mixing = np.eye(problem.n) + 0.1 * rng.random((problem.n, problem.n))
            spectra[fixed:] = (mixing @ spectra)[fixed:]
        if problem.known is not None:
            spectra[:fixed] = problem.known
        amounts = abundances(problem, spectra) * row[:, None]
        chains.append(GaussianChain(data, squares, amounts, (spectra * channel).T, channel, fixed, rng))
    return chains, _Scale(row, channel)


def _pooled(means: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation over all chains, from their means of values and squares."""
    value, square = np.mean(means, axis=0)
    return value, np.sqrt(np.maximum(square - value**2, 0))
