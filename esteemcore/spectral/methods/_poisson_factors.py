"""Abundances and spectra of largest Poisson likelihood, from the counts alone: the zeros are never touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._nmf_kernels import (
    quotients,
    shares_of_counts,
    stepped,
    sum_of_logarithms,
    taken_by_prior,
)
from esteemcore.spectral.methods._sieve import Sieve

GROWTH = 2.0
"""Steps are made longer by this factor after each look that finds the likelihood risen."""

LEAST_SOURCE = 1e-2
"""Counts of a source below which a prior does not make it smaller."""

LONGEST = 4.0
"""Steps of this length are followed by those of length 1 again, which undo what the long ones swing beyond."""

LOOK = 5
"""Steps between looks at the likelihood, whose logarithms take as long as a step."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PoissonFit:
    """Factors of counts.

    Attributes
    ----------
    abundances : ndarray, shape (rows, n)
        Counts of each component in each row.
    spectra : ndarray, shape (energy, n)
        Of unit sum.
    by_channel : ndarray, shape (energy, n)
        Expected counts of each component in each channel.
    sources, lines : ndarray, shapes as abundances and spectra
        What these are the blurs of.
    likelihood : ndarray, shape (looks,)
        Logarithm of the likelihood, and of the prior where there is one, at the start and at each look, without the
        terms that only the data have.
    converged : bool
    """

    abundances: NDArray[np.float64]
    spectra: NDArray[np.float64]
    by_channel: NDArray[np.float64]
    sources: NDArray[np.float64]
    lines: NDArray[np.float64]
    likelihood: NDArray[np.float64]
    converged: bool


def maximise(
    counts: Any,
    sources: NDArray[np.float64],
    lines: NDArray[np.float64],
    sieve: Sieve,
    *,
    iterations: int,
    tolerance: float,
    step: Callable[[], None] = lambda: None,
    prior: float = 0.0,
    looks: int = 2,
) -> PoissonFit:
    """Return the factors of largest likelihood that are reached from a start.

    With ``H = S G`` (maps, blurred sources) and ``W = R V`` (spectra, blurred lines) the counts are Poisson of mean
    ``H W^T``. Each step shares out the counts among components and sources by their expectation (EM [1]_), which never
    lowers the likelihood; without blurs it is the multiplicative update of Kullback-Leibler NMF, of both factors at
    once. Steps are made longer while the likelihood rises; a few that would lower it are taken back (adaptive
    overrelaxation [2]_).

    Parameters
    ----------
    counts : scipy.sparse.csr_array of float64, shape (rows, energy)
    sources, lines : ndarray, shapes (rows, n) and (energy, n)
        Start of G and V; zeros stay zeros.
    sieve : Sieve
        The blurs, and how many of the spectra are held fixed.
    iterations : int
        At most so many steps.
    tolerance : float
        Ends when the last looks at the logarithm of the likelihood find it risen by less.
    step : callable
        Called after each step.
    prior : float
        What is taken from the expected counts of each source in each step: the likelihood is multiplied by the power
        ``-prior`` of all sources, that is by a Gamma distribution of shape ``1 - prior``. One half is Jeffreys' prior
        of a Poisson mean. Sources below `LEAST_SOURCE` count as that, so that there is a largest value.

    looks : int
        How many looks these are, `LOOK` steps apart.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird, D. B. Rubin, J. R. Stat. Soc. B 39, 1 (1977).
    .. [2] R. Salakhutdinov, S. Roweis, Proc. ICML 20, 664 (2003).
    """
    cells = (counts.indptr, counts.indices, counts.data)
    reach = sieve.of_maps(np.ones_like(sources))
    width = sieve.of_spectra(np.ones_like(lines))
    least = LEAST_SOURCE if prior else 0.0

    def place(at: _State, judged: bool) -> None:
        at.spectra, at.abundances = sieve.of_spectra(at.lines), sieve.of_maps(at.sources)
        value = shares_of_counts(*cells, at.abundances, at.spectra, at.map_ratio, at.by_channel, judged)
        quotients(at.map_ratio, at.abundances, at.map_ratio)
        at.map_ratio = sieve.of_maps(at.map_ratio)
        taken_by_prior(at.sources, at.map_ratio, reach, prior, least)
        if judged:
            of_prior = prior * sum_of_logarithms(at.sources, least) if prior else 0.0
            at.likelihood = float(value - of_prior - at.abundances.sum())
        quotients(at.by_channel, at.spectra, at.line_ratio)
        at.line_ratio = sieve.of_spectra(at.line_ratio) / width
        at.line_ratio /= np.maximum((at.lines * at.line_ratio * width).sum(axis=0), 1e-300)
        at.line_ratio[:, : sieve.fixed] = 1

    def go(start: _State, length: float, to: _State) -> None:
        stepped(start.lines, start.line_ratio, length, to.lines)
        to.lines /= (to.lines * width).sum(axis=0)
        stepped(start.sources, start.map_ratio, length, to.sources)

    state, tried = _State.at(sources, lines), _State.at(sources, lines)
    scale = (state.lines * width).sum(axis=0)
    state.sources *= scale
    state.lines /= scale
    place(state, True)
    history = [state.likelihood]
    length, longest, converged, taken = 1.0, LONGEST, False, 0
    while taken < iterations and not converged:
        last = min(LOOK, iterations - taken)
        for number in range(last):
            step()
            go(tried if number else state, length, tried)
            place(tried, number + 1 == last)
        taken += last
        if tried.likelihood < history[-1] and length > 1:
            length, longest = 1.0, length / GROWTH
            continue
        state, tried, length = tried, state, length * GROWTH if length < longest else 1.0
        history.append(state.likelihood)
        converged = len(history) > looks and history[-1] - history[-1 - looks] < tolerance
    return PoissonFit(
        state.abundances, state.spectra, state.by_channel, state.sources, state.lines, np.array(history), converged
    )


@dataclasses.dataclass(slots=True, eq=False)
class _State:
    """Factors, by what the next step multiplies them, and how likely they are; changed in place by steps."""

    sources: NDArray[np.float64]
    lines: NDArray[np.float64]
    abundances: NDArray[np.float64]
    spectra: NDArray[np.float64]
    map_ratio: NDArray[np.float64]
    line_ratio: NDArray[np.float64]
    by_channel: NDArray[np.float64]
    likelihood: float

    @classmethod
    def at(cls, sources: NDArray[np.float64], lines: NDArray[np.float64]) -> _State:
        """Return factors with room for all else."""
        g, v = (np.array(a, order="C") for a in (sources, lines))
        return cls(g, v, g, v, np.empty_like(g), np.empty_like(v), np.empty_like(v), -np.inf)
