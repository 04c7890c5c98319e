"""Abundances and spectra of largest Poisson likelihood, from the counts alone: the zeros are never touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._nmf_kernels import quotients, shares_of_counts, stepped, taken_by_prior
from esteemcore.spectral.methods._sieve import Sieve

GROWTH = 2.0
"""Steps are made longer by this factor after each look that finds the likelihood risen."""

LEAST_SOURCE = 1e-2
"""Counts of a source below which a prior does not make it smaller."""

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
        Ends when ten steps raise the logarithm of the likelihood by less.
    step : callable
        Called after each step.
    prior : float
        What is taken from the expected counts of each source in each step: the likelihood is multiplied by the power
        ``-prior`` of all sources, that is by a Gamma distribution of shape ``1 - prior``. One half is Jeffreys' prior
        of a Poisson mean. Sources below `LEAST_SOURCE` count as that, so that there is a largest value.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird, D. B. Rubin, J. R. Stat. Soc. B 39, 1 (1977).
    .. [2] R. Salakhutdinov, S. Roweis, Proc. ICML 20, 664 (2003).
    """
    reach = sieve.of_maps(np.ones_like(sources[:, :1]))
    width = sieve.of_spectra(np.ones_like(lines))
    by_pixel = np.empty_like(sources)
    cells = (counts.indptr, counts.indices, counts.data)

    def place(g: NDArray[np.float64], v: NDArray[np.float64], judged: bool) -> _State:
        w = sieve.of_spectra(v)
        scale = w.sum(axis=0)
        g, v, w = g * scale, v / scale, w / scale
        h = sieve.of_maps(g)
        by_channel = np.empty_like(w)
        value = shares_of_counts(*cells, h, w, by_pixel, by_channel, judged)
        map_ratio = np.empty_like(g)
        quotients(by_pixel, h, map_ratio)
        map_ratio = sieve.of_maps(map_ratio)
        logarithms = taken_by_prior(g, map_ratio, reach, prior, LEAST_SOURCE if prior else 0.0)
        if prior:
            value -= prior * logarithms
        line_ratio = np.empty_like(v)
        quotients(by_channel, w, line_ratio)
        line_ratio = sieve.of_spectra(line_ratio) / width
        line_ratio /= np.maximum((v * line_ratio * width).sum(axis=0), 1e-300)
        line_ratio[:, : sieve.fixed] = 1
        return _State(g, v, h, w, map_ratio, line_ratio, by_channel, float(value - h.sum()) if judged else -np.inf)

    def after(state: _State, length: float, judged: bool) -> _State:
        g, v = np.empty_like(state.sources), np.empty_like(state.lines)
        stepped(state.sources, state.map_ratio, length, g)
        stepped(state.lines, state.line_ratio, length, v)
        return place(g, v, judged)

    state = place(np.ascontiguousarray(sources), np.ascontiguousarray(lines), True)
    history = [state.likelihood]
    length, converged, taken = 1.0, False, 0
    while taken < iterations and not converged:
        tried, last = state, min(LOOK, iterations - taken)
        for number in range(last):
            step()
            tried = after(tried, length, judged=number + 1 == last)
        taken += last
        if tried.likelihood < history[-1] and length > 1:
            length = 1.0
            continue
        state, length = tried, length * GROWTH
        history.append(tried.likelihood)
        converged = len(history) > 2 and history[-1] - history[-3] < tolerance
    return PoissonFit(
        state.abundances, state.spectra, state.by_channel, state.sources, state.lines, np.array(history), converged
    )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _State:
    """Factors, by what the next step multiplies them, and how likely they are."""

    sources: NDArray[np.float64]
    lines: NDArray[np.float64]
    abundances: NDArray[np.float64]
    spectra: NDArray[np.float64]
    map_ratio: NDArray[np.float64]
    line_ratio: NDArray[np.float64]
    by_channel: NDArray[np.float64]
    likelihood: float
