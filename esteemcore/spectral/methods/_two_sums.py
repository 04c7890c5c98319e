"""Both factors of counts in turn, each from sums of the counts that tell nearly all that there is to know of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral._matching import angles_deg
from esteemcore.spectral.methods._nmf_kernels import quotients, stepped
from esteemcore.spectral.methods._poisson_factors import LEAST_SOURCE
from esteemcore.spectral.methods._sieve import Sieve
from esteemcore.spectral.methods._two_sums_kernels import regressed, summed_rows

ABUNDANCE_STEPS, SPECTRUM_STEPS = 5, 8
"""Steps of abundances and of spectra in each round."""

LENGTH = 1.8
"""How much longer these are than steps of EM, which they overtake; from 2 on they can pass the maximum for good."""

FINENESS = {1: 1, 2: 16, 3: 5, 4: 4, 5: 3}
"""Parts that the root of a share is divided into where groups are formed, by the number of components; else 2."""

LANES = 16
"""Groups of channels are filled up by empty ones to a multiple of this, which vector instructions take at once."""

MOST_GROUPS, MOST_KEYS = 256, 2**16
"""Groups that are worth their memory, and kinds of shares that are told apart to find them."""


def two_sums(
    counts: Any,
    abundances: NDArray[np.float64],
    lines: NDArray[np.float64],
    sieve: Sieve,
    *,
    rounds: int,
    step: Callable[[], None] = lambda: None,
    prior: float = 0.0,
    settled_deg: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return factors of counts that are nearer to the most likely ones, abundances (rows, n) and lines (energy, n).

    Channels in which the components have the same shares tell the same of the abundances: their counts can be added up
    without loss, and are Poisson of the added rates. So can those of pixels of the same shares, for the spectra. With
    channels in some 30 groups and pixels in some 100 the steps of one factor at a time (EM, see `maximise`) take next
    to no time, so that each round, which reads the counts twice, comes about as far as ten steps on all of them. What
    groups of nearly the same shares lose is regained by `maximise`, which has the last word.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of float64, shape (rows, energy)
    abundances, lines : ndarray, shapes (rows, n) and (energy, n)
        Start; zeros stay zeros.
    sieve : Sieve
        The blur of lines, and how many of the spectra are held fixed. Maps are not blurred.
    rounds : int
        At most so many.
    step : callable
        Called after each round.
    prior : float
        What is taken from the expected counts of each abundance, as in `maximise`.
    settled_deg : float
        Ends before, when a round turns no spectrum by more.
    """
    h, v = np.array(abundances, order="C"), np.array(lines, order="C")
    cells = (counts.indptr, counts.indices, counts.data)
    for _ in range(rounds):
        w = sieve.of_spectra(v)
        group, number = groups_of(w * h.sum(axis=0))
        design = np.ascontiguousarray(_added(w, group, number + -number % LANES).T)
        least = LEAST_SOURCE if prior else 0.0
        regressed(*cells, group, design, h, prior, least, ABUNDANCE_STEPS, LENGTH)
        before, v = v, SummedRows(counts, h).spectra(v, sieve, SPECTRUM_STEPS)
        scale = sieve.of_spectra(v).sum(axis=0)
        h, v = h * scale, v / scale
        step()
        if angles_deg(v.T, before.T).max() < settled_deg:
            break
    return h, v


class SummedRows:
    """Counts added up over rows of nearly the same shares of the components: what they tell of the spectra.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of float64, shape (rows, energy)
    abundances : ndarray, shape (rows, n)
    """

    def __init__(self, counts: Any, abundances: NDArray[np.float64]) -> None:
        group, number = groups_of(abundances)
        self._counts = np.empty((number, counts.shape[1]))
        summed_rows(counts.indptr, counts.indices, counts.data, group, self._counts)
        self._design = _added(abundances, group, number)

    def spectra(self, lines: NDArray[np.float64], sieve: Sieve, steps: int) -> NDArray[np.float64]:
        """Return lines (energy, n) that are steps nearer to the most likely ones for these abundances."""
        v = np.array(lines, order="C")
        ratio = np.empty_like(self._counts)
        size = np.maximum(self._design.sum(axis=0) * sieve.of_spectra(np.ones_like(v)), 1e-300)
        for _ in range(steps):
            quotients(self._counts, self._design @ sieve.of_spectra(v).T, ratio)
            longer = sieve.of_spectra(ratio.T @ self._design) / size
            longer[:, : sieve.fixed] = 1
            stepped(v, longer, LENGTH, v)
        return v


def groups_of(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Return a group for each row of values (rows, n), none below zero, and how many there are.

    Rows of nearly the same shares are in the same group. Shares are told apart by their roots, whose noise is the same
    for few and for many counts: near pure rows, where it matters most, by less than in mixtures.
    """
    n = values.shape[1]
    roots = np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-300))
    for fineness in range(FINENESS.get(n, 2), 0, -1):
        if (fineness + 1) ** n > MOST_KEYS:
            continue
        key = np.rint(fineness * roots).astype(np.int64) @ (fineness + 1) ** np.arange(n)
        there = np.bincount(key, minlength=(fineness + 1) ** n) > 0
        number = int(there.sum())
        if number <= MOST_GROUPS:
            return (there.cumsum() - 1)[key], number
    return roots.argmax(axis=1), n


def _added(values: NDArray[np.float64], group: NDArray[np.int64], number: int) -> NDArray[np.float64]:
    """Return the sums (groups, n) of values (rows, n)."""
    return np.stack([np.bincount(group, column, number) for column in values.T], axis=1)
