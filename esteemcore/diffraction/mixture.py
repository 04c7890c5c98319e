"""A mixture of diffraction patterns with Poisson noise, in which neighbours are likely to be alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from esteemcore.diffraction.patterns import Binned
from esteemcore.lowrank import truncated_svd

PRIOR = 2.0
"""Weight of the neighbours: a position among others of one component takes it for sure unless its counts object."""

NEIGHBOURS_PX = 1.0
"""Standard deviation of the Gaussian over which the neighbours are averaged, in scan px."""

FLOOR = 1e-3
"""Share of every component that is added to that of the neighbours, so that none is impossible."""

SMOOTHING_PX = 1.2
"""Standard deviation of the Gaussian over the scan before the first grouping."""

COMPONENTS = 40
"""Principal components in which positions are grouped first."""

TRAINING = 16_384
"""Positions on which the first groups are formed; the others join them."""

ROUNDING = 1e-5
"""Part of the largest value by which points differ that rounding tells apart."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """A fitted mixture.

    Attributes
    ----------
    share : ndarray of float32, shape (positions, k)
        Posterior probability of each component at each position.
    profiles : ndarray of float64, shape (k, bins)
        Pattern of each component; each adds up to 1.
    bound : float
        Log-likelihood of the counts with the spatial prior, without the terms that all mixtures share.
    """

    share: NDArray[np.float32]
    profiles: NDArray[np.float64]
    bound: float


def features(data: Binned, seed: int) -> NDArray[np.float32]:
    """Return scores of the square roots of the counts, smoothed over the scan, (positions, c)."""
    ny, nx = data.scan_shape
    reach = int(np.ceil(4 * SMOOTHING_PX))
    every = max(1, round(ny * nx / TRAINING))
    kept: list[NDArray[np.float32]] = []
    for _, rows in _smoothed_rows(data, reach):
        kept.append(rows[::every])
    sample = np.concatenate(kept)
    mean = sample.mean(axis=0)
    rank = min(COMPONENTS, *sample.shape)
    basis = truncated_svd(sample - mean, rank, seed=seed)[2].T.astype(np.float32)
    scores = np.empty((ny * nx, basis.shape[1]), np.float32)
    for place, rows in _smoothed_rows(data, reach):
        scores[place] = (rows - mean) @ basis
    return scores


def _smoothed_rows(data: Binned, reach: int) -> Any:
    """Yield positions and the square roots of their smoothed counts, some rows of the scan at a time."""
    ny, nx = data.scan_shape
    cube = data.counts.reshape(ny, nx, -1)
    step = max(1, 4096 // nx)
    sigma = (SMOOTHING_PX, SMOOTHING_PX, 0)
    for y in range(0, ny, step):
        low, high = max(0, y - reach), min(ny, y + step + reach)
        soft = ndimage.gaussian_filter(cube[low:high].astype(np.float32), sigma, mode="nearest", truncate=4.0)
        rows = soft[y - low : y - low + min(step, ny - y)]
        yield slice(y * nx, y * nx + rows.shape[0] * nx), np.sqrt(rows).reshape(-1, cube.shape[2])


def first_groups(scores: NDArray[np.float32], k: int, seed: int) -> NDArray[np.float32]:
    """Return k groups of positions by their features, as shares of 0 and 1, (positions, k)."""
    if k == 1:
        return np.ones((len(scores), 1), np.float32)
    every = max(1, len(scores) // TRAINING)
    grouped = k_means(scores[::every], k, 1, seed)
    return np.asarray(np.eye(k, dtype=np.float32)[grouped.predict(scores)])


def k_means(points: NDArray[Any], k: int, restarts: int, seed: int) -> Any:
    """Return the fitted k-means of points (n, m) in k groups, or in as many as there are different points."""
    from sklearn.cluster import KMeans

    along = points @ np.random.default_rng(0).normal(size=points.shape[1])
    different = len(np.unique(np.rint(along / max(float(ROUNDING * np.abs(along).max()), 1e-300))))
    return KMeans(min(k, different), n_init=restarts, random_state=seed).fit(points)


def fit_mixture(data: Binned, share: NDArray[np.float32], *, iterations: int = 50, tolerance: float = 1e-3) -> Mixture:
    r"""Fit a mixture of patterns from shares (positions, k) on, by expectation and maximisation.

    The counts of position n are Poisson distributed with rates :math:`t_n p_{kd}` for its component k; whatever the
    total :math:`t_n` is, the component has the log-posterior (mean field)

    .. math:: \log r_{nk} = \sum_d x_{nd} \log p_{kd} + \beta \log(\epsilon + (G * r_k)_n) + \mathrm{const},

    with a Gaussian G over the scan; then :math:`p_{kd} \propto \sum_n r_{nk} x_{nd}`.
    """
    profiles = _profiles(data, share)
    bound = -np.inf
    for _ in range(iterations):
        new, bound, sums = _posterior(data, share, profiles)
        change = float(np.abs(new - share).sum(axis=1).mean())
        share, profiles = new, _normalised(sums)
        if change < tolerance:
            break
    return Mixture(share, profiles, bound)


def settle(data: Binned, share: NDArray[np.float32], profiles: NDArray[np.float64], iterations: int = 8) -> Mixture:
    """Return the posterior with given patterns: only the shares change."""
    bound = -np.inf
    for _ in range(iterations):
        share, bound, _ = _posterior(data, share, profiles)
    return Mixture(share, profiles, bound)


def log_likelihood(data: Binned, mixture: Mixture) -> NDArray[np.float64]:
    """Return the log-likelihood of each position under the component that it most likely has, (positions,)."""
    logs = np.log(mixture.profiles.T).astype(np.float32)
    chosen = mixture.share.argmax(axis=1)
    result = np.empty(len(chosen))
    for place, block in data.blocks():
        result[place] = np.take_along_axis(block @ logs, chosen[place, None], axis=1)[:, 0]
    return result


def _posterior(
    data: Binned, share: NDArray[np.float32], profiles: NDArray[np.float64]
) -> tuple[NDArray[np.float32], float, NDArray[np.float64]]:
    """Return the new shares, the bound, and the counts that each component gets."""
    ny, nx = data.scan_shape
    k = len(profiles)
    cube = share.reshape(ny, nx, k)
    around = ndimage.gaussian_filter(cube, (NEIGHBOURS_PX, NEIGHBOURS_PX, 0), mode="nearest").reshape(-1, k)
    prior = PRIOR * np.log(around + FLOOR)
    logs = np.log(profiles.T).astype(np.float32)
    new = np.empty_like(share)
    sums = np.zeros(profiles.shape)
    bound = 0.0
    for place, block in data.blocks():
        part = block @ logs + prior[place]
        top = part.max(axis=1, keepdims=True)
        part = np.exp(part - top)
        norm = part.sum(axis=1, keepdims=True)
        bound += float((top + np.log(norm)).sum(dtype=np.float64))
        part /= norm
        new[place] = part
        sums += part.T @ block
    return new, bound, sums


def _profiles(data: Binned, share: NDArray[np.float32]) -> NDArray[np.float64]:
    sums = np.zeros((share.shape[1], data.counts.shape[1]))
    for place, block in data.blocks():
        sums += share[place].T @ block
    return _normalised(sums)


def _normalised(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return patterns that add up to 1; a little of the mean pattern keeps every bin possible."""
    mean = sums.sum(axis=0)
    mean = (mean + 1e-3 * mean.mean() + 1e-12) / mean.sum().clip(1e-12)
    counts = sums + (1.0 + 1e-4 * sums.sum(axis=1, keepdims=True)) * mean
    profiles: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return profiles
