"""Compiled loops of Poisson factorisation: the expected share of each component in each count, and steps of maps."""

from __future__ import annotations

import numpy as np
from numba import njit

TINY, HUGE = 1e-150, 1e150
"""Between these a product of rates still has room for one more factor."""


@njit(cache=True, nogil=True, fastmath=True)
def shares_of_counts(offset, channel, count, abundances, spectra, by_pixel, by_channel, judged):
    """Share out each count among the components by their expected rates; return the sum of count * log(rate).

    Rows are compressed: the counts of row i are ``count[offset[i] : offset[i + 1]]``. ``abundances`` (rows, n) and
    ``spectra`` (energy, n) have one column per component; the shares are added up by row into ``by_pixel`` and by
    channel into ``by_channel``, of the same shapes. Most counts of sparse images are one: their rates are multiplied,
    and the logarithm is taken of the product. Logarithms take as long as all else; unless ``judged`` they are left out
    and 0 is returned.
    """
    if spectra.shape[1] <= 4:
        return _shares_of_four(offset, channel, count, abundances, spectra, by_pixel, by_channel, judged)
    n = spectra.shape[1]
    part = np.empty(n)
    by_channel[:] = 0.0
    likelihood = 0.0
    product = 1.0
    for i in range(abundances.shape[0]):
        for k in range(n):
            by_pixel[i, k] = 0.0
        for at in range(offset[i], offset[i + 1]):
            j = channel[at]
            rate = 1e-100
            for k in range(n):
                part[k] = abundances[i, k] * spectra[j, k]
                rate += part[k]
            if judged:
                if count[at] == 1.0:
                    product *= rate
                    if product < TINY or product > HUGE:
                        likelihood += np.log(product)
                        product = 1.0
                else:
                    likelihood += count[at] * np.log(rate)
            ratio = count[at] / rate
            for k in range(n):
                by_pixel[i, k] += part[k] * ratio
                by_channel[j, k] += part[k] * ratio
    return likelihood + np.log(product)


@njit(cache=True, nogil=True, fastmath=True)
def _shares_of_four(offset, channel, count, abundances, spectra, by_pixel, by_channel, judged):
    """Do the same for up to four components, whose shares stay in registers."""
    n, channels = spectra.shape[1], spectra.shape[0]
    lines, sums = np.zeros((channels, 4)), np.zeros((channels, 4))
    lines[:, :n] = spectra
    likelihood = 0.0
    product = 1.0
    for i in range(abundances.shape[0]):
        a0 = abundances[i, 0]
        a1 = abundances[i, 1] if n > 1 else 0.0
        a2 = abundances[i, 2] if n > 2 else 0.0
        a3 = abundances[i, 3] if n > 3 else 0.0
        b0 = b1 = b2 = b3 = 0.0
        for at in range(offset[i], offset[i + 1]):
            j = channel[at]
            p0, p1, p2, p3 = a0 * lines[j, 0], a1 * lines[j, 1], a2 * lines[j, 2], a3 * lines[j, 3]
            rate = 1e-100 + ((p0 + p1) + (p2 + p3))
            if judged:
                if count[at] == 1.0:
                    product *= rate
                    if product < TINY or product > HUGE:
                        likelihood += np.log(product)
                        product = 1.0
                else:
                    likelihood += count[at] * np.log(rate)
            ratio = count[at] / rate
            p0, p1, p2, p3 = p0 * ratio, p1 * ratio, p2 * ratio, p3 * ratio
            b0 += p0
            b1 += p1
            b2 += p2
            b3 += p3
            sums[j, 0] += p0
            sums[j, 1] += p1
            sums[j, 2] += p2
            sums[j, 3] += p3
        by_pixel[i, 0] = b0
        if n > 1:
            by_pixel[i, 1] = b1
        if n > 2:
            by_pixel[i, 2] = b2
        if n > 3:
            by_pixel[i, 3] = b3
    by_channel[:] = sums[:, :n]
    return likelihood + np.log(product)


@njit(cache=True, nogil=True, fastmath=True)
def quotients(above, below, out):
    """Write a quotient (rows, n) to ``out``, zero where nothing is divided by nothing."""
    a, b, quotient = above.reshape(-1), below.reshape(-1), out.reshape(-1)
    for i in range(len(a)):
        quotient[i] = a[i] / b[i] if b[i] > 1e-300 else 0.0


@njit(cache=True, nogil=True, fastmath=True)
def taken_by_prior(sources, ratio, reach, prior, least):
    """Take the counts of a prior from the expected counts of sources.

    ``ratio`` (rows, n), by which the next step multiplies the sources, is divided by ``reach`` (rows, n) and lowered
    in place. Sources below ``least`` count as that.
    """
    source, share, part = sources.reshape(-1), ratio.reshape(-1), reach.reshape(-1)
    for i in range(len(source)):
        expected = source[i] * share[i]
        taken = max(expected - prior, min(expected, least * part[i])) / part[i]
        share[i] = taken / source[i] if source[i] > 1e-300 else 0.0


@njit(cache=True, nogil=True, fastmath=True)
def sum_of_logarithms(values, least):
    """Return the sum of the logarithms of values (rows, n), of which those below ``least`` count as that."""
    total = 0.0
    product = 1.0
    for value in values.reshape(-1):
        product *= max(value, least)
        if product < TINY or product > HUGE:
            total += np.log(product)
            product = 1.0
    return total + np.log(product)


@njit(cache=True, nogil=True, fastmath=True)
def stepped(values, ratio, length, out):
    """Write values (rows, n) after a step to ``out``: times the ratio for length 1, farther the same way beyond.

    To first order this is ``values * ratio**length``; it is never negative, and grows no faster than linearly.
    """
    value, share, after = values.reshape(-1), ratio.reshape(-1), out.reshape(-1)
    for i in range(len(value)):
        r = share[i]
        more, less = 1.0 + length * (r - 1.0), r / (r + length * (1.0 - r) + 1e-300)
        after[i] = value[i] * (more if r >= 1.0 else less)
