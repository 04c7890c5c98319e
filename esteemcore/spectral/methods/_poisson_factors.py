"""Abundances and spectra of largest Poisson likelihood, from the counts alone: the zeros are never touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._nmf_kernels import shares_of_counts
from esteemcore.spectral.methods._sieve import Sieve

GROWTH = 1.15
"""Steps are made longer by this factor as long as the likelihood rises."""

LEAST_SOURCE = 1e-2
"""Counts of a source below which a prior does not make it smaller."""

BLOCK = 10
"""Steps between looks at whether it still rises."""


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
    likelihood : ndarray, shape (steps,)
        Logarithm of the likelihood, and of the prior where there is one, after each step, without the terms that only
        the data have.
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
    once. Steps in the logarithms are made longer while the likelihood rises; one that would lower it is taken back
    (adaptive overrelaxation [2]_).

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
    ones = np.ones_like(sources[:, :1])
    reach = sieve.of_maps(ones)
    width = sieve.of_spectra(np.ones_like(lines))
    by_pixel, by_channel = np.empty_like(sources), np.empty_like(lines)

    def place(g: NDArray[np.float64], v: NDArray[np.float64]) -> _State:
        w = sieve.of_spectra(v)
        scale = w.sum(axis=0)
        g, v, w = g * scale, v / scale, np.ascontiguousarray(w / scale)
        h = sieve.of_maps(g)
        value = shares_of_counts(counts.indptr, counts.indices, counts.data, h, w, by_pixel, by_channel)
        map_ratio = sieve.of_maps(_ratio(by_pixel, h)) / reach
        if prior > 0:
            expected = g * map_ratio
            taken = np.maximum(expected - prior / reach, np.minimum(expected, LEAST_SOURCE))
            map_ratio = _ratio(taken, g)
            value -= prior * float(np.log(np.maximum(g, LEAST_SOURCE)).sum())
        line_ratio = sieve.of_spectra(_ratio(by_channel, w)) / width
        line_ratio /= np.maximum((v * line_ratio * width).sum(axis=0), 1e-300)
        line_ratio[:, : sieve.fixed] = 1
        return _State(g, v, h, w, map_ratio, line_ratio, by_channel.copy(), float(value - h.sum()))

    state = place(sources, lines)
    history = [state.likelihood]
    length, converged = 1.0, False
    for _ in range(iterations):
        step()
        tried = place(state.sources * state.map_ratio**length, state.lines * state.line_ratio**length)
        if tried.likelihood < history[-1] and length > 1:
            length = 1.0
            continue
        state, length = tried, length * GROWTH
        history.append(tried.likelihood)
        if len(history) % BLOCK == 0 and history[-1] - history[-BLOCK] < tolerance:
            converged = True
            break
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


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a quotient, zero where nothing is divided by nothing."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 1e-300)
