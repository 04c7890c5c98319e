"""Compiled loop of Poisson factorisation: the expected share of each component in each count."""

from __future__ import annotations

import numpy as np
from numba import njit

TINY, HUGE = 1e-150, 1e150
"""Between these a product of rates still has room for one more factor."""


@njit(cache=True, nogil=True, fastmath=True)
def shares_of_counts(offset, channel, count, abundances, spectra, by_pixel, by_channel):
    """Share out each count among the components by their expected rates; return the sum of count * log(rate).

    Rows are compressed: the counts of row i are ``count[offset[i] : offset[i + 1]]``. ``abundances`` (rows, n) and
    ``spectra`` (energy, n) have one column per component; the shares are added up by row into ``by_pixel`` and by
    channel into ``by_channel``, of the same shapes. Most counts of sparse images are one: their rates are multiplied,
    and the logarithm is taken of the product.
    """
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
