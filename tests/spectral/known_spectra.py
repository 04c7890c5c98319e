"""Spectrum images whose components are known."""

from __future__ import annotations

import numpy as np


def phases(rng, n=3, channels=200):
    """Return spectra of phases that share a background and differ in lines: rows of sum 1."""
    energy = np.arange(channels)
    spectra = np.repeat(np.exp(-energy / 60.0)[None], n, axis=0)
    for k in range(n):
        for at in rng.uniform(10, channels - 10, 3):
            spectra[k] += rng.uniform(1, 4) * np.exp(-(((energy - at) / 2.5) ** 2))
    return spectra / spectra.sum(axis=1, keepdims=True)


def regions(rng, shape, n):
    """Return the share of each phase in each pixel, shape (y, x, n): patches with soft rims."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centers = rng.uniform(0, 1, (n, 2)) * shape
    distance = (y[..., None] - centers[:, 0]) ** 2 + (x[..., None] - centers[:, 1]) ** 2
    weight = np.exp(-(distance - distance.min(axis=-1, keepdims=True)) / (2 * shape[0]))
    return weight / weight.sum(axis=-1, keepdims=True)


def rates(rng, counts_per_pixel, n=3, shape=(48, 48), channels=200):
    """Return the mean counts (y, x, energy) of phases, with a thickness that changes by half."""
    thickness = np.linspace(0.75, 1.25, shape[1])[:, None]
    return counts_per_pixel * thickness * (regions(rng, shape, n) @ phases(rng, n, channels))


def matched(found, truth):
    """Return which spectrum found is matched to each true one, and the angles in degrees between them."""
    from scipy.optimize import linear_sum_assignment

    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (truth, found)]
    between = np.degrees(np.arccos(np.clip(unit[0] @ unit[1].T, -1, 1)))
    row, column = linear_sum_assignment(between)
    return column, between[row, column]


def angles(found, truth):
    """Return the angle in degrees of each true spectrum to the one that is matched to it."""
    return matched(found, truth)[1]
