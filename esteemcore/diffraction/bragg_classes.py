"""Classes by Bragg disks alone: which reflections each position shows, without looking at whole patterns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from esteemcore.diffraction.amorphous import SECTORS, TEXTURE, profile_likeness
from esteemcore.diffraction.mixture import k_means
from esteemcore.diffraction.patterns import Binned, cells
from esteemcore.diffraction.table import DiskTable, bragg_vector_map

FINE = 2
"""Bins of the Bragg-vector map per px."""

OVERSPLIT = 24
"""Groups before those with the same reflections are joined."""

SAME = 0.6
"""Cosine of the shares of positions that show each reflection, from which two groups are one class."""

RESTARTS = 3
"""Groupings of which the tightest is taken."""

LEAST = 12
"""Positions that a class or a reflection has at least."""


def bragg_features(
    disks: DiskTable, center: NDArray[np.float64], frame_shape: tuple[int, int], radius: float
) -> tuple[NDArray[np.float64], sparse.csr_array]:
    """Return the reflections of the whole scan and how bright each is at each position.

    Parameters
    ----------
    disks : DiskTable
    center : ndarray, shape (y, x, 2)
        Direct beam at each position.
    frame_shape : tuple of int
        ``(ky, kx)``.
    radius : float
        Radius of a disk in px.

    Returns
    -------
    place : ndarray of float64, shape (m, 2)
        Reflections (row, column) in px, relative to the beam.
    features : scipy.sparse.csr_array, shape (positions, m)
        Square roots of their electrons.
    """
    origin = center.reshape(-1, 2)
    q = np.stack([disks.y, disks.x], axis=1) - origin[disks.frame]
    chosen = disks.select(np.hypot(*q.T) > 1.5 * radius)
    q = np.stack([chosen.y, chosen.x], axis=1) - origin[chosen.frame]
    seen = ndimage.gaussian_filter(bragg_vector_map(chosen, frame_shape, oversampling=FINE, origin=origin), FINE)
    highest = ndimage.maximum_filter(seen, size=2 * round(0.5 * radius * FINE) + 1)
    sharp = seen > 2.0 * ndimage.median_filter(seen, size=2 * round(1.5 * radius * FINE) + 1)
    least = LEAST / (2 * np.pi * FINE**2 * 2)  # a peak of as many disks with 1 px of spread
    peaks = np.argwhere((seen == highest) & sharp & (seen > least))
    place = (peaks + 0.5) / FINE - 0.5 - np.array([frame_shape[0] // 2, frame_shape[1] // 2])
    shape = (len(origin), len(place))
    if not len(place) or not len(chosen):
        return place, sparse.csr_array(shape)
    from scipy.spatial import cKDTree

    far, nearest = cKDTree(place).query(q)
    near = far < max(1.5, 0.4 * radius)
    values = np.sqrt(np.maximum(chosen.intensity[near], 0))
    return place, sparse.csr_array((values, (chosen.frame[near], nearest[near])), shape=shape)


def bragg_classes(
    features: sparse.csr_array, data: Binned, radius: float, seed: int, method: str = "kmeans"
) -> NDArray[np.int64]:
    """Return the class of each position by its reflections, or by its halo where there are none; -1 for neither.

    Features are averaged over the nearest neighbours, grouped by `METHODS`, and groups whose positions show the same
    reflections are joined. Positions whose neighbourhood has no azimuthal texture are grouped by radial profile.
    """
    ny, nx = data.scan_shape
    soft = ndimage.gaussian_filter(features.toarray().reshape(ny, nx, -1), (0.8, 0.8, 0), mode="nearest")
    soft = soft.reshape(ny * nx, -1)
    halo = _without_texture(data, radius)
    norm = np.linalg.norm(soft, axis=1)
    crystal = ~halo & (norm > 0)
    label = np.full(ny * nx, -1, np.int64)
    if crystal.sum() >= LEAST:
        label[crystal] = _by_reflections(soft[crystal] / norm[crystal, None], features[crystal], seed, method)
    if halo.sum() >= LEAST:
        label[halo] = _by_profile(data, halo, radius, seed) + label.max() + 1
    return label


def _kmeans(soft: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Return more groups than there are classes."""
    k = min(OVERSPLIT, max(1, len(soft) // LEAST))
    return np.asarray(k_means(soft, k, RESTARTS, seed).labels_, np.int64)


def _hdbscan(soft: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Return groups that are denser than what lies between them, which is -1; one group where there are none."""
    from sklearn.cluster import HDBSCAN

    group = np.asarray(HDBSCAN(min_cluster_size=LEAST, copy=True).fit_predict(soft), np.int64)
    return group if (group >= 0).any() else np.zeros(len(soft), np.int64)


METHODS: dict[str, Callable[[NDArray[np.float64], int], NDArray[np.int64]]] = {"kmeans": _kmeans, "hdbscan": _hdbscan}
"""Ways in which positions are grouped by their reflections (n, m) of length 1; the second number is a seed."""


def _by_reflections(soft: NDArray[np.float64], features: sparse.csr_array, seed: int, method: str) -> NDArray[np.int64]:
    group = METHODS[method](soft, seed)
    k, there = int(group.max()) + 1, np.flatnonzero(group >= 0)
    members = sparse.csr_array((np.ones(len(there)), (group[there], there)), shape=(k, len(group)))
    frames = np.maximum(np.bincount(group[there], minlength=k), 1).astype(np.float64)
    shows = (members @ (features > 0).astype(np.float64)).toarray()
    shows = np.where(shows >= 3, shows, 0)  # once or twice is chance

    def cosine(rows: NDArray[Any]) -> NDArray[Any]:
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        return np.asarray(rows @ rows.T)

    groups = [[g] for g in range(k)]
    while len(groups) > 1:
        rate = np.array([np.sqrt(shows[g].sum(axis=0) / frames[g].sum()) for g in groups])
        alike = cosine(rate) - 2 * np.eye(len(groups))
        i, j = np.unravel_index(int(alike.argmax()), alike.shape)
        if alike[i, j] < SAME:
            break
        groups[min(i, j)] += groups.pop(max(i, j))
    of = np.full(k + 1, -1, np.int64)  # the last one is that of no group, -1
    for number, each in enumerate(groups):
        of[each] = number
    result: NDArray[np.int64] = of[group]
    return result


def _without_texture(data: Binned, radius: float) -> NDArray[np.bool_]:
    """Return where the counts of the neighbourhood are the same all round the beam, within their noise."""
    ny, nx = data.scan_shape
    cell, rings = cells(data, radius)
    used = np.flatnonzero(cell >= 0)
    pick = sparse.csr_array((np.ones(len(used)), (used, cell[used])), shape=(len(cell), rings * SECTORS))
    counts = np.empty((ny * nx, rings * SECTORS))
    for place, block in data.blocks():
        counts[place] = block @ pick
    bins = np.bincount(cell[used], minlength=rings * SECTORS).reshape(rings, SECTORS)
    sigma = math.sqrt(np.clip(2000.0 / max(counts.sum(axis=1).mean(), 1.0) / (4 * np.pi), 0.36, 4.0))
    summed = ndimage.gaussian_filter(counts.reshape(ny, nx, -1), (sigma, sigma, 0), mode="nearest")
    scale = 4 * np.pi * sigma**2  # a weighted sum of as many frames has the noise of one with all its counts
    summed = summed.reshape(-1, rings, SECTORS) * scale / np.maximum(bins, 1) * bins.mean(axis=1, keepdims=True)
    waves = np.fft.rfft(summed, axis=2) / SECTORS
    mean = waves[:, :, 0].real
    power = 2 * (np.abs(waves[:, :, 3:-1]) ** 2).sum(axis=2) + np.abs(waves[:, :, -1]) ** 2
    free = SECTORS - 5
    total = np.maximum((mean**2).sum(axis=1), 1e-9)
    excess = (power - mean * free / SECTORS).sum(axis=1) / total
    error = np.sqrt((mean**2).sum(axis=1) * 2 * free) / SECTORS / total
    result: NDArray[np.bool_] = excess < 1.5 * TEXTURE + error
    return result


def _by_profile(data: Binned, halo: NDArray[np.bool_], radius: float, seed: int) -> NDArray[np.int64]:
    """Return groups of positions by radial profile, those that are the same within their noise joined."""
    ny, nx = data.scan_shape
    ring = np.rint(np.hypot(*data.center.T) / data.size).astype(np.int64)
    pick = sparse.csr_array((np.ones(len(ring)), (np.arange(len(ring)), ring)), shape=(len(ring), ring.max() + 1))
    counts = np.empty((ny * nx, ring.max() + 1))
    for place, block in data.blocks():
        counts[place] = block @ pick
    bins = np.maximum(np.bincount(ring), 1)
    inside = halo.reshape(ny, nx, 1).astype(float)
    soft = ndimage.gaussian_filter(counts.reshape(ny, nx, -1) * inside, (1.5, 1.5, 0), mode="constant")
    soft = soft.reshape(ny * nx, -1)[halo]
    soft = np.sqrt(soft / np.maximum(soft.sum(axis=1, keepdims=True), 1e-9))
    grouped = k_means(soft, min(4, max(1, len(soft) // LEAST)), RESTARTS, seed)
    group, k = grouped.labels_, len(grouped.cluster_centers_)
    totals = np.array([counts[halo][group == g].sum(axis=0) for g in range(k)])
    frames = np.maximum(np.bincount(group, minlength=k), 1)
    alike = profile_likeness(totals / bins / frames[:, None], totals, (1.3 * radius + 1) / data.size + 1)
    of = np.arange(k)
    for a in range(k):
        for b in range(a):
            if alike[a, b] > 0.6:
                of[of == of[a]] = of[b]
    result: NDArray[np.int64] = np.unique(of, return_inverse=True)[1][group]
    return result
