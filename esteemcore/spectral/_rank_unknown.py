"""How many components stand above noise that is not that of counts: given, or estimated from the data."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral._rank_tests import (
    Scree,
    Step,
    leading_vectors,
    noise_scales,
    shared_by_rows,
    singular_values,
    standing_out,
)

REPEATS = 4
"""Data sets of noise alone that are made for comparison."""

MARGIN = 1.01
"""A singular value counts above this many times the largest of noise, as estimated noise is not quite white."""

LEAST_NOISE = 1e-5
"""What the components leave is no noise below this share of the root mean square: no detector counts 1e10."""

LAGS = 8
"""Neighbours whose noise may have something in common."""

MOST_COMMON = 2.0
"""Noise whose neighbours have more in common than this factor of the largest variance is not taken for noise."""

NO_NOISE = "there is no noise to compare with: the data are simulated or denoised; take the data as they were measured"

NOT_INDEPENDENT = (
    "what the components leave is not noise that is independent from pixel to pixel and from channel to channel; take "
    "the data as they were measured, not smoothed, denoised or interpolated"
)

MOSTLY_ZERO = (
    "most values are zero, but the others do not scatter as counts do: their noise is not known; give the gain if they "
    "are counts times a gain, or add up pixels and channels first"
)


def scree_of_unknown(matrix: NDArray[np.float64], rng: np.random.Generator, step: Step) -> Scree:
    """Return the scree of data whose noise is estimated from the data, beside that of noise of variance 1.

    Each component that stands out is taken out of the estimate of the noise, until none does that had not before. The
    largest singular value of the noise is that of white noise [1]_ or, where it is larger, that of the residual with
    random signs [2]_: those keep the variance and the tails of every entry and nothing that entries have in common.
    Where neighbours have noise in common the largest singular value is at most the root of the largest spectral density
    of the noise, along channels and along both directions of the image, times that; components below that are given up.

    References
    ----------
    .. [1] I. M. Johnstone, Ann. Statist. 29, 295 (2001).
    .. [2] D. Hong, Y. Sheng, E. Dobriban, arXiv:2012.02985 (2020).
    """
    null = _white(matrix.shape, rng, step)
    if _mostly_zero(matrix):
        return dataclasses.replace(null, doubt=MOSTLY_ZERO, sure=False)

    def examined(data: NDArray[np.float64]) -> Scree:
        return _examined(data, null, rng, step)

    scree = examined(matrix)
    if scree.doubt:
        return scree
    kept, alone = shared_by_rows(
        matrix, scree.found, lambda data, k: _weighted_vectors(data, k), lambda data: examined(data).found
    )
    return dataclasses.replace(examined(kept), alone=alone) if alone else scree


def _mostly_zero(matrix: NDArray[np.float64]) -> bool:
    """Return whether most values are zero in the rows and columns that have any others."""
    some = matrix != 0
    return 0 < 2 * int(some.sum()) < int(some.any(axis=0).sum()) * int(some.any(axis=1).sum())


def _examined(matrix: NDArray[np.float64], null: Scree, rng: np.random.Generator, step: Step) -> Scree:
    """Return the scree of data with unknown noise against that of white noise."""
    raw, edge = singular_values(matrix) ** 2, MARGIN * null.edge
    taken, most = 0, min(matrix.shape) // 4
    while True:
        step()
        if raw[taken:].sum() <= LEAST_NOISE**2 * raw.sum():
            return dataclasses.replace(null, values=np.sqrt(raw), doubt=NO_NOISE, sure=False)
        values, left = _left_by(matrix, taken)
        found = standing_out(values, edge)
        if found <= taken or taken == most:
            break
        taken = min(found, most)
    if found > taken:
        return dataclasses.replace(null, values=values, doubt=NOT_INDEPENDENT, sure=False)
    signs = [singular_values(np.where(rng.random(left.shape) < 0.5, 1, -1) * left)[0] for _ in range(2)]
    edge = max(edge, *(MARGIN * value for value in signs))
    while True:
        step()
        common = np.sqrt(_common(left)) * _common(left.T)
        found = standing_out(values, common * edge)
        if found >= taken or not taken:
            break
        taken = found
        values, left = _left_by(matrix, taken)
    scree = dataclasses.replace(null, values=values, edge=float(common * edge), shape=matrix.shape)
    if common > MOST_COMMON:
        return dataclasses.replace(scree, doubt=NOT_INDEPENDENT, sure=False)
    return dataclasses.replace(scree, found=found)


def _left_by(matrix: NDArray[np.float64], taken: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the singular values of the data with equal noise, and what some components leave of them."""
    row, column = noise_scales(matrix, taken)
    weighted = matrix * column * row[:, None]
    u, v, s = leading_vectors(weighted, taken)
    return singular_values(weighted), weighted - (u * s) @ v.T


def _common(noise: NDArray[np.float64]) -> float:
    """Return the largest spectral density of noise along its rows, 1 where neighbours have nothing in common."""
    mean = float(np.square(noise).mean())
    density = np.ones(64)
    for lag in range(1, min(LAGS, noise.shape[1] - 1) + 1):
        shared = float((noise[:, lag:] * noise[:, :-lag]).mean()) / mean
        if abs(shared) > 4 / np.sqrt(noise.shape[0] * (noise.shape[1] - lag)):
            density += 2 * shared * np.cos(np.linspace(0, np.pi, 64) * lag)
    return float(density.max())


def _weighted_vectors(matrix: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    row, column = noise_scales(matrix, k)
    return leading_vectors(matrix * column * row[:, None], k)[0]


def scree_of_white(matrix: NDArray[np.float64], rng: np.random.Generator, step: Step) -> Scree:
    """Return the scree of data with noise of variance 1 against that of such noise alone."""
    null = _white(matrix.shape, rng, step)

    def count(data: NDArray[np.float64]) -> int:
        return standing_out(singular_values(data), null.edge)

    kept, alone = shared_by_rows(matrix, count(matrix), lambda data, k: leading_vectors(data, k)[0], count)
    values = singular_values(kept)
    found = standing_out(values, null.edge)
    scree = dataclasses.replace(null, values=values, shape=kept.shape, found=found, alone=alone)
    typical = float(np.median(values[found:])) / float(np.median(null.noise)) if found < len(values) else np.inf
    if typical > 1.1 + 1 / len(values):
        doubt = f"the noise is {typical:.3g} times sigma" if np.isfinite(typical) else "sigma is smaller than the noise"
        return dataclasses.replace(scree, found=0, doubt=f"{doubt}; leave sigma out, and it is estimated", sure=False)
    return scree


def _white(shape: tuple[int, ...], rng: np.random.Generator, step: Step) -> Scree:
    """Return the scree of noise of variance 1 alone."""
    noise = []
    for _ in range(REPEATS):
        noise.append(singular_values(rng.standard_normal(shape)))
        step()
    edge = max(max(values[0] for values in noise), white_edge(*shape))
    mean = np.mean(noise, axis=0)
    return Scree(mean, mean, float(edge), np.empty(0), (shape[0], shape[1]))


def white_edge(n: int, m: int) -> float:
    """Return a singular value that noise of variance 1 passes once in thousands of cases (Tracy-Widom law)."""
    root = np.sqrt(max(n - 1, 1)) + np.sqrt(m)
    width = root * (1 / np.sqrt(max(n - 1, 1)) + 1 / np.sqrt(m)) ** (1 / 3)
    return float(np.sqrt(root**2 + 4 * width))
