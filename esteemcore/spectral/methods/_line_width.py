"""How wide the lines of spectra are at least, judged by counts that did not help to find them."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._nmf_kernels import quotients, stepped
from esteemcore.spectral.methods._sieve import Sieve

WIDTHS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0)
"""Standard deviations that are tried, in channels, beside none."""

STEPS, LENGTH = 12, 1.8
"""Steps of each trial, each longer by this factor: enough to tell widths apart."""

FIRST = 3
"""Where in the list of widths the search begins, which goes on to wider or to narrower ones while these are better."""

BACKGROUND = 0.01
"""Share of a level spectrum in the one that is judged: a channel that is empty in one half may not be in the other."""


def line_width(
    by_channel: NDArray[np.float64], column_counts: NDArray[np.float64], fixed: int, rng: np.random.Generator
) -> float:
    """Return the standard deviation, in channels, of the blur that predicts spectra best; 0 for none.

    The counts of each channel are dealt out to the components by their expected shares, then to two halves. Such halves
    are independent, so the spectrum found in one is judged without bias by its likelihood in the other. A detector that
    broadens every line lets neighbouring channels share what they know; lines as narrow as one channel forbid it. Of
    widths that predict as well, within the standard error of the difference, the largest one is taken.

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
    found, judges = np.hstack([half, dealt - half]).astype(np.float64), np.hstack([dealt - half, half])
    widths = (0.0, *(width for width in WIDTHS if 6 * width <= len(dealt)))

    @functools.cache
    def predicted(at: int) -> NDArray[np.float64]:
        """Return the logarithm of the spectra found, both halves at once, which takes little longer than one."""
        spectra = deblurred(found, widths[at])
        spectra /= np.maximum(spectra.sum(axis=0), 1e-300)
        return np.asarray(np.log((1 - BACKGROUND) * spectra + BACKGROUND / len(spectra)))

    def gain(at: int, other: int) -> tuple[float, float]:
        """Return by how much one width predicts better than another, and the standard error of that."""
        more = predicted(at) - predicted(other)
        return float((judges * more).sum()), float(np.sqrt((judges * more**2).sum()))

    best = min(FIRST, len(widths) - 1)
    for way in (1, -1):
        while 0 <= best + way < len(widths) and gain(best + way, best)[0] > 0:
            best += way
    widest = best
    while widest + 1 < len(widths):
        less, error = gain(widest + 1, best)
        if less < -error:
            break
        widest += 1
    return widths[widest]


def deblurred(counts: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the blurred spectra (energy, n) of largest likelihood for counts (Richardson and Lucy)."""
    if width == 0:
        return counts.copy()
    counts = np.ascontiguousarray(counts)
    sieve = Sieve(np.ones((1, 1), np.bool_), channels=width)
    reach = sieve.of_spectra(np.ones_like(counts))
    lines = np.ascontiguousarray(sieve.of_spectra(counts) + 1e-12)
    ratio = np.empty_like(counts)
    for _ in range(STEPS):
        quotients(counts, sieve.of_spectra(lines), ratio)
        stepped(lines, sieve.of_spectra(ratio) / reach, LENGTH, lines)
    return sieve.of_spectra(lines)
