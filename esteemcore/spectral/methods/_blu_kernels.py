"""Compiled draws of the Gibbs sampler for counts: which component, and which source of a blur, each count is from."""

from __future__ import annotations

import numpy as np
from numba import njit

SINGLE = 16
"""So many counts of one entry are dealt out one by one, more of them by binomial draws."""


@njit(cache=True, nogil=True)
def deal_to_components(rng, offset, channel, count, abundances, spectra, by_pixel, by_channel):
    """Draw the component of each count; add the counts up by row (rows, n) and by channel (energy, n).

    Rows are compressed: the counts of row i are ``count[offset[i] : offset[i + 1]]``, integers. Component k has the
    probability ``abundances[i, k] * spectra[j, k]`` over the sum of all.
    """
    n = spectra.shape[1]
    cumulative = np.empty(n)
    by_pixel[:] = 0.0
    by_channel[:] = 0.0
    for i in range(abundances.shape[0]):
        for at in range(offset[i], offset[i + 1]):
            j = channel[at]
            rate = 0.0
            for k in range(n):
                rate += abundances[i, k] * spectra[j, k]
                cumulative[k] = rate
            left = count[at]
            if left > SINGLE:
                for k in range(n - 1, 0, -1):
                    if left == 0 or cumulative[k] <= 0.0:
                        break
                    share = 1.0 - cumulative[k - 1] / cumulative[k]
                    drawn = rng.binomial(left, min(max(share, 0.0), 1.0))
                    by_pixel[i, k] += drawn
                    by_channel[j, k] += drawn
                    left -= drawn
                by_pixel[i, 0] += left
                by_channel[j, 0] += left
                continue
            for _ in range(left):
                level = rng.random() * rate
                k = 0
                while k < n - 1 and level >= cumulative[k]:
                    k += 1
                by_pixel[i, k] += 1.0
                by_channel[j, k] += 1.0


@njit(cache=True, nogil=True)
def deal_again(rng, offset, channel, count, label, concentration, spectra, by_pixel, by_channel):
    """Draw the component of each count anew, one after the other, given those of all other counts of its pixel.

    The shares of a pixel are integrated out: with Dirichlet distributed shares, component k has the probability
    ``(concentration[k] + by_pixel[i, k]) * spectra[j, k]`` over the sum of all, the count itself not counted. Rows are
    compressed as above; ``label`` holds the component of each count, in their order. It and ``by_pixel`` (rows, n) are
    what the last call left, and are brought up to date; ``by_channel`` (energy, n) is filled.
    """
    n = spectra.shape[1]
    cumulative = np.empty(n)
    by_channel[:] = 0.0
    t = 0
    for i in range(by_pixel.shape[0]):
        for at in range(offset[i], offset[i + 1]):
            j = channel[at]
            for _ in range(count[at]):
                by_pixel[i, label[t]] -= 1.0
                rate = 0.0
                for k in range(n):
                    rate += (concentration[k] + by_pixel[i, k]) * spectra[j, k]
                    cumulative[k] = rate
                level = rng.random() * rate
                k = 0
                while k < n - 1 and level >= cumulative[k]:
                    k += 1
                label[t] = k
                by_pixel[i, k] += 1.0
                by_channel[j, k] += 1.0
                t += 1


@njit(cache=True, nogil=True)
def deal_to_sources(rng, counts, label, place, step, weight, sources, by_source):
    """Draw the source of each count of a blurred map; add the counts up by source (rows, n).

    ``label`` is the padded image of row numbers, -1 outside the mask, flat; row i is at ``place[i]`` in it. The source
    at ``place[i] + step[t]`` has the probability ``weight[t] * sources[...]`` over the sum of all.
    """
    rows, n = counts.shape
    reach = step.shape[0]
    cumulative = np.empty(reach)
    row = np.empty(reach, np.int64)
    by_source[:] = 0.0
    for i in range(rows):
        for t in range(reach):
            row[t] = label[place[i] + step[t]]
        for k in range(n):
            if counts[i, k] == 0.0:
                continue
            rate = 0.0
            for t in range(reach):
                if row[t] >= 0:
                    rate += weight[t] * sources[row[t], k]
                cumulative[t] = rate
            for _ in range(int(counts[i, k])):
                level = rng.random() * rate
                low, high = 0, reach - 1
                while low < high:
                    middle = (low + high) // 2
                    if level < cumulative[middle]:
                        high = middle
                    else:
                        low = middle + 1
                if row[low] >= 0:
                    by_source[row[low], k] += 1.0
                else:
                    by_source[i, k] += 1.0
