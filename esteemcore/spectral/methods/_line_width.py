"""How wide the lines of spectra are at least, judged by counts that did not help to find them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._nmf_kernels import quotients
from esteemcore.spectral.methods._sieve import Sieve

WIDTHS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0)
"""Standard deviations that are tried, in channels, beside none."""

STEPS = 40
"""Steps of each trial, enough for all but the last percent of the likelihood."""

BACKGROUND = 0.01
"""Share of a level spectrum in the one that is judged: a channel that is empty in one half may not be in the other."""


def line_width(
    by_channel: NDArray[np.float64], column_counts: NDArray[np.float64], fixed: int, rng: np.random.Generator
) -> float:
    """Return the standard deviation, in channels, of the blur that predicts spectra best; 0 for none.

    The counts of each channel are dealt out to the components by their expected shares, then to two halves. Such halves
    are independent, so the spectrum found in one is judged without bias by its likelihood in the other. A detector that
    broadens every line lets neighbouring channels share what they know; lines as narrow as one channel forbid it.

    Parameters
    ----------
    by_channel : ndarray, shape (energy, n)
        Expected counts of each component in each channel.
    column_counts : ndarray, shape (energy,)
        Counts of each channel.
    fixed : int
        The first so many spectra are given; they take no part.
    rng : numpy.random.Generator
    """
    if fixed == by_channel.shape[1]:
        return 0.0
    share = by_channel + 1e-12 * max(float(by_channel.max()), 1e-300)
    share /= share.sum(axis=1, keepdims=True)
    dealt = rng.multinomial(np.rint(column_counts).astype(np.int64), share)[:, fixed:]
    half = rng.binomial(dealt, 0.5)
    halves = (half.astype(np.float64), (dealt - half).astype(np.float64))
    best, width = _judged(halves, 0.0), 0.0
    misses = 0
    for tried in WIDTHS:
        if 6 * tried > len(dealt) or misses == 2:
            break
        value = _judged(halves, tried)
        misses = 0 if value > best else misses + 1
        if value > best:
            best, width = value, tried
    return width


def _judged(halves: tuple[NDArray[np.float64], NDArray[np.float64]], width: float) -> float:
    """Return the logarithm of the likelihood of each half under the spectra found in the other one."""
    spectra = deblurred(np.hstack(halves), width)  # both at once, which takes little longer than one
    spectra /= np.maximum(spectra.sum(axis=0), 1e-300)
    others = np.hstack(halves[::-1])
    return float((others * np.log((1 - BACKGROUND) * spectra + BACKGROUND / len(spectra))).sum())


def deblurred(counts: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the blurred spectra (energy, n) of largest likelihood for counts (Richardson and Lucy)."""
    if width == 0:
        return counts.copy()
    sieve = Sieve(np.ones((1, 1), np.bool_), channels=width)
    reach = sieve.of_spectra(np.ones_like(counts))
    lines = sieve.of_spectra(counts) + 1e-12
    ratio = np.empty_like(counts)
    for _ in range(STEPS):
        quotients(counts, sieve.of_spectra(lines), ratio)
        lines = lines * sieve.of_spectra(ratio) / reach
    return sieve.of_spectra(lines)
