"""Multivariate curve resolution: spectra and abundances by least squares in turns, under constraints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore.lowrank.operators import row_squares, times, transposed_times
from esteemcore.spectral.abundances import abundances, nonnegative
from esteemcore.spectral.methods.problem import Factors, Problem
from esteemcore.spectral.methods.spa import spa

ITERATIONS = 200
"""Rounds of both least squares."""

TOLERANCE = 1e-6
"""The rounds end when none of them explains more than this share of the weighted sum of squares that is left."""


def mcr(problem: Problem) -> Factors:
    """Return non-negative spectra and abundances by alternating least squares (MCR-ALS), from the purest pixels.

    The squares are weighted by the noise of pixels and channels. Constraints [1]_: nothing below zero; known spectra
    stay; with `Problem.sum_to_one` the abundances of each pixel sum to 1 (closure); with `Problem.unimodal` each
    spectrum rises to one maximum and falls. Where these leave the solution open, the result is the solution that is
    near the purest pixels.

    References
    ----------
    .. [1] R. Tauler, Chemom. Intell. Lab. Syst. 30, 133 (1995).
    """
    work = problem.steps(ITERATIONS + 1)
    start = spa(problem.quiet())
    spectra = np.maximum(start.spectra, 0)
    given = 0 if problem.known is None else len(problem.known)
    if problem.known is not None:
        spectra[:given] = problem.known
    work.step()
    if given == problem.n:
        work.finish()
        return start
    weights = problem.row_weights**2
    whole = _sum_of_squares(problem)
    amounts, left = abundances(problem, spectra), np.inf
    notes: tuple[str, ...] = (f"the least squares had not settled after {ITERATIONS} rounds",)
    for _ in range(ITERATIONS):
        weighted = amounts * weights[:, None]
        gram = weighted.T @ amounts
        projections = np.asarray(transposed_times(problem.matrix, weighted), np.float64)
        spectra[given:] = _spectra(gram, projections, spectra, given, problem.unimodal)
        amounts = abundances(problem, spectra)
        before, left = left, _left(problem, spectra, amounts, whole)
        work.step()
        if before - left <= TOLERANCE * left:
            notes = ()
            break
    work.finish()
    return Factors(spectra, amounts, notes=notes)


def _spectra(
    gram: NDArray[np.float64],
    projections: NDArray[np.float64],
    spectra: NDArray[np.float64],
    given: int,
    unimodal: bool,
) -> NDArray[np.float64]:
    """Return the spectra that are not given, by least squares for all channels at once."""
    rest = projections[:, given:] - spectra[:given].T @ gram[:given, given:]
    found = nonnegative(gram[given:, given:], rest).T
    return np.array([single_peaked(spectrum) for spectrum in found]) if unimodal else found


def single_peaked(spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest spectrum that rises up to the highest channel of this one and falls from there."""
    from scipy.optimize import isotonic_regression

    peak = int(spectrum.argmax())
    rising = isotonic_regression(spectrum[: peak + 1]).x
    falling = isotonic_regression(spectrum[peak:], increasing=False).x
    found: NDArray[np.float64] = np.concatenate([rising[:-1], [max(rising[-1], falling[0])], falling[1:]])
    return found


def _sum_of_squares(problem: Problem) -> float:
    """Return the weighted sum of the squares of the data."""
    return float(problem.row_weights**2 @ row_squares(problem.matrix, problem.channel_weights**2))


def _left(problem: Problem, spectra: NDArray[np.float64], amounts: NDArray[np.float64], whole: float) -> float:
    """Return the weighted sum of the squares of what the model leaves."""
    weighted = spectra * problem.channel_weights**2
    model = amounts @ (weighted @ spectra.T)
    products = np.asarray(times(problem.matrix, weighted.T))
    left = whole + float(problem.row_weights**2 @ ((model - 2 * products) * amounts).sum(axis=1))
    return max(left, 1e-12 * whole)
