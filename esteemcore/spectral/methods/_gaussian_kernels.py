"""Compiled draws of the abundances of values with Gaussian noise, some of which are exactly zero."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

FAR = 5.0
"""From so many standard deviations on, tails are expanded."""


@njit(cache=True, nogil=True)
def draw_abundances(rng, products, gram, variance, rate, sets, concentration, abundances):
    """Draw the abundances (rows, n) of each pixel anew, which components it has included.

    ``sets[m]`` is the logarithm of the probability of a set of m components, the shares of those are Dirichlet
    distributed, and the amount in all is exponentially distributed. ``products`` (rows, n) are those of data and
    spectra, ``gram`` (n, n) those of spectra.

    For each pair of components their sum is split anew: the end points, where one of both is zero, have a probability,
    what lies between has a density. The split is drawn for shares that are all equally dense and accepted by how dense
    they are. Then each amount that is not zero is drawn with all others held.
    """
    n = gram.shape[0]
    norm = np.array([math.lgamma(a) for a in concentration])
    for i in range(abundances.shape[0]):
        amount = abundances[i]
        total, size, have = 0.0, 0.0, 0
        for k in range(n):
            total += amount[k]
            if amount[k] > 0.0:
                size += concentration[k]
                have += 1
        for j in range(n):
            for k in range(j + 1, n):
                both = amount[j] + amount[k]
                curvature = gram[j, j] + gram[k, k] - 2.0 * gram[j, k]
                if both <= 0.0 or curvature <= 0.0:
                    continue
                slope = products[i, j] - products[i, k]
                for q in range(n):
                    slope -= amount[q] * (gram[j, q] - gram[k, q])
                sigma = math.sqrt(variance / curvature)
                low = -(amount[j] + slope / curvature) / sigma
                high = low + both / sigma
                of_j, of_k, share = concentration[j], concentration[k], math.log(both / total)
                if amount[j] > 0.0:
                    size -= of_j
                    have -= 1
                if amount[k] > 0.0:
                    size -= of_k
                    have -= 1
                none = sets[have + 1] + math.lgamma(size + of_k) - norm[k] + (of_k - 1.0) * share - 0.5 * low * low
                every = sets[have + 1] + math.lgamma(size + of_j) - norm[j] + (of_j - 1.0) * share - 0.5 * high * high
                some = sets[have + 2] + math.lgamma(size + of_j + of_k) - norm[j] - norm[k] + math.log(sigma / total)
                some += (of_j + of_k - 2.0) * (share - math.log(2.0)) + log_mass(low, high)
                most = max(none, every, some)
                none, every, some = math.exp(none - most), math.exp(every - most), math.exp(some - most)
                level = rng.random() * (none + every + some)
                part = 0.0
                if level < some:
                    part = min(max((between(rng, low, high) - low) * sigma, 0.0), both)
                elif level < some + every:
                    part = both
                gain = denser(part / both, of_j, of_k) - denser(amount[j] / both, of_j, of_k)
                if math.log(1.0 - rng.random()) <= gain:
                    amount[j], amount[k] = part, both - part
                if amount[j] > 0.0:
                    size += of_j
                    have += 1
                if amount[k] > 0.0:
                    size += of_k
                    have += 1
        for k in range(n):
            if amount[k] <= 0.0:
                continue
            slope = products[i, k] - rate * variance
            for q in range(n):
                slope -= amount[q] * gram[k, q]
            sigma = math.sqrt(variance / gram[k, k])
            mean = amount[k] + slope / gram[k, k]
            tried = mean + sigma * between(rng, -mean / sigma, np.inf)
            if tried <= 0.0:
                continue
            after = total + tried - amount[k]
            gain = (concentration[k] - 1.0) * math.log(tried / amount[k]) + (size - 1.0) * math.log(total / after)
            if math.log(1.0 - rng.random()) <= gain:
                amount[k], total = tried, after


@njit(cache=True, nogil=True)
def denser(part, first, second):
    """Return the logarithm of the density of two shares beside that of halves, zero where one of them is all."""
    if part <= 0.0 or part >= 1.0:
        return 0.0
    return (first - 1.0) * math.log(2.0 * part) + (second - 1.0) * math.log(2.0 * (1.0 - part))


@njit(cache=True, nogil=True)
def log_mass(low, high):
    """Return the logarithm of the integral of ``exp(-x^2 / 2)`` from low to high."""
    if low + high < 0.0:
        low, high = -high, -low
    if low < FAR:
        mass = math.sqrt(math.pi / 2) * (math.erfc(low / math.sqrt(2.0)) - math.erfc(high / math.sqrt(2.0)))
        if mass > 1e-12:
            return math.log(mass)
        middle = 0.5 * (low + high)
        return -0.5 * middle * middle + math.log(max(high - low, 1e-300))
    of_low = -0.5 * low * low - math.log(low) + math.log1p(-1.0 / low**2 + 3.0 / low**4)
    of_high = -0.5 * high * high - math.log(high) + math.log1p(-1.0 / high**2 + 3.0 / high**4)
    return of_low + math.log(max(-math.expm1(of_high - of_low), 1e-300))


@njit(cache=True, nogil=True)
def between(rng, low, high):
    """Draw from the standard normal distribution between two bounds, by rejection."""
    if low + high < 0.0:
        return -between_above(rng, -high, -low)
    return between_above(rng, low, high)


@njit(cache=True, nogil=True)
def between_above(rng, low, high):
    """Draw between bounds of which the upper one is positive and farther from zero."""
    if not low < high:  # nothing between them, or no numbers at all: rejection would never end
        return low
    nearest = max(low, 0.0)
    if (high - nearest) * max(nearest, 1.0) < 1.0:  # the density hardly changes
        while True:
            x = low + (high - low) * rng.random()
            if math.log(1.0 - rng.random()) <= 0.5 * (nearest * nearest - x * x):
                return x
    if low < 0.5:
        while True:
            x = rng.standard_normal()
            if low <= x <= high:
                return x
    while True:  # in the tail it falls like an exponential
        step = rng.standard_exponential() / low
        if low + step <= high and rng.standard_exponential() >= 0.5 * step * step:
            return low + step
