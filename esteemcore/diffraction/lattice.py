"""The lattice that the disks of a crystal lie on."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from esteemcore._core.errors import CalibrationError

Floats = NDArray[np.float64]

MOST_PEAKS = 40
"""Peaks that are compared with each other."""
BLUR_PX = 1.2
"""Blur of the map in which peaks are looked for."""
NEAR = 0.15
"""Distance from a lattice point, in units of the basis, within which a peak belongs to it."""
LEAST_SHARE = 0.7
"""Share of the disks that must lie on the lattice."""
WITHIN = 0.25
"""Distance from a lattice point, in units of the shorter basis vector, within which a disk takes part in a fit."""
ON_LATTICE = 0.125
"""The same within which it speaks for the lattice: of disks anywhere 5 % lie so near by chance."""
USUAL_DISKS = 6
"""Disks as far off as usual that are added to those of each position when their distances are judged."""


def find_lattice(vectors: Floats, positions: int) -> Floats:
    """Return two short vectors (rows, each (row, column) in px) of whose sums most vectors are.

    Parameters
    ----------
    vectors : ndarray, shape (n, 2)
        Places of disks from the direct beam, of many positions of one crystal.
    positions : int
        How many positions they come from.

    Raises
    ------
    CalibrationError
        If the vectors do not lie on one lattice.
    """
    peaks, weight = _peaks(vectors, positions)
    if len(peaks) < 3:
        raise CalibrationError(
            f"only {len(peaks)} reflections were found in the reference; a lattice needs three that are not in a line: "
            "take a larger reference, or one on a crystal"
        )
    basis = _shortest(peaks, weight)
    for _ in range(6):
        index = np.round(peaks @ np.linalg.inv(basis))
        near = np.abs(peaks @ np.linalg.inv(basis) - index).max(axis=1) < NEAR
        if near.sum() < 3 or np.linalg.matrix_rank(index[near]) < 2:
            break
        root = np.sqrt(weight[near])[:, None]
        basis = np.linalg.lstsq(index[near] * root, peaks[near] * root, rcond=None)[0]
    index = vectors @ np.linalg.inv(basis)
    on = (np.abs(index - np.round(index)).max(axis=1) < NEAR).mean()
    if on < LEAST_SHARE:
        raise CalibrationError(
            f"only {100 * on:.0f} % of the disks of the reference lie on one lattice (about {100 * 4 * NEAR**2:.0f} % "
            "would by chance): take a reference within one grain, without an amorphous area"
        )
    return _reduced(basis)


def _peaks(vectors: Floats, positions: int) -> tuple[Floats, Floats]:
    """Return places and weights of the clusters of vectors, the direct beam first."""
    low = np.floor(vectors.min(axis=0)) - 4
    shape = tuple((np.ceil(vectors.max(axis=0)) + 5 - low).astype(int) * 2)
    at = np.round((vectors - low) * 2).astype(int)
    counts = np.zeros(shape)
    np.add.at(counts, tuple(at.T), 1.0)
    smooth = ndimage.gaussian_filter(counts, 2 * BLUR_PX)
    least = max(min(3.0, positions), 0.08 * positions) / (2 * np.pi * (2 * BLUR_PX) ** 2) * 0.5
    peak = np.argwhere((smooth == ndimage.maximum_filter(smooth, 9)) & (smooth > least))
    height = smooth[tuple(peak.T)]
    best = np.argsort(-height, kind="stable")[:MOST_PEAKS]
    place = peak[best] / 2 + low
    refined = np.empty_like(place)
    for i, start in enumerate(place):
        near = vectors[np.hypot(*(vectors - start).T) < 2.5]
        refined[i] = np.median(near, axis=0) if len(near) else start
    return refined, height[best] / height.max(initial=1e-9)


def _shortest(peaks: Floats, weight: Floats) -> Floats:
    """Return the two shortest differences of peaks that occur again and again."""
    i, j = np.triu_indices(len(peaks), 1)
    difference, strength = peaks[i] - peaks[j], np.sqrt(weight[i] * weight[j])
    difference[(difference[:, 0] < 0) | ((difference[:, 0] == 0) & (difference[:, 1] < 0))] *= -1
    length = np.hypot(*difference.T)
    apart = np.hypot(*(difference[:, None] - difference[None]).transpose(2, 0, 1))
    opposite = np.hypot(*(difference[:, None] + difference[None]).transpose(2, 0, 1))
    support = ((np.minimum(apart, opposite) < np.maximum(1.0, 0.04 * length)[:, None]) * strength).sum(axis=1)
    often = (support > 0.3 * support.max()) & (length > 3)
    order = np.flatnonzero(often)[np.argsort(length[often], kind="stable")]
    first = difference[order[0]]
    across = np.abs(first[0] * difference[order, 1] - first[1] * difference[order, 0])
    good = order[across > 0.3 * np.hypot(*first) * length[order]]
    if not len(good):
        raise CalibrationError("the reflections of the reference lie in a line: a row of them does not tell the strain")
    return np.stack([first, difference[good[0]]])


def _reduced(basis: Floats) -> Floats:
    """Return the shortest basis of the same lattice."""
    a, b = basis
    while True:
        if a @ a > b @ b:
            a, b = b, a
        shift = np.round(a @ b / (a @ a))
        if shift == 0:
            return np.stack([a, b])
        b = b - shift * a


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Lattices:
    """A lattice at every position.

    Attributes
    ----------
    origin, basis : ndarray of float64, shapes (positions, 2) and (positions, 2, 2)
        NaN where there are too few disks.
    used : ndarray of int64, shape (positions,)
        Disks that count.
    share : ndarray of float64, shape (positions,)
        Share of the disks, the direct beam aside, that lie within `ON_LATTICE` of a lattice point; NaN without disks.
    covariance : ndarray of float64, shape (positions, 2, 2)
        Of the two basis vectors, the same along rows and columns.
    excess : ndarray of float64, shape (positions,)
        By how much the residuals are larger than the errors say, of all positions together 1 at least.
    """

    origin: Floats
    basis: Floats
    used: NDArray[np.int64]
    share: Floats
    covariance: Floats
    excess: Floats


def fit_lattices(
    frame: NDArray[np.int64],
    place: Floats,
    sigma: Floats,
    origin: Floats,
    basis: Floats,
    least: int,
    *,
    rounds: int = 8,
) -> Lattices:
    r"""Fit origin and basis to the disks of every position, all at once.

    .. math:: x_i = c + h_i g_1 + k_i g_2

    by weighted least squares, the weights those of the errors times Tukey's; the indices h, k are those of the nearest
    lattice point of the fit before.

    Parameters
    ----------
    frame, place, sigma : ndarray, shapes (n,), (n, 2), (n,)
        Position, place and error of each disk.
    origin : ndarray, shape (positions, 2)
        Where the direct beam is, roughly.
    basis : ndarray, shape (2, 2)
        The lattice, roughly.
    least : int
        Disks that a position needs.
    """
    positions = len(origin)
    origin, each = origin.copy(), np.broadcast_to(basis, (positions, 2, 2)).copy()
    shortest = np.hypot(*basis.T[::-1]).min()
    robust, excess = np.ones(len(frame)), np.ones(positions)
    for step in range(rounds):
        offset = place - origin[frame]
        index = np.round(np.einsum("ni,nij->nj", offset, np.linalg.inv(each)[frame]))
        residual = offset - np.einsum("ni,nij->nj", index, each[frame])
        distance = np.hypot(*residual.T)
        relative = distance / sigma
        robust = np.clip(1 - (relative / (6 * excess[frame])) ** 2, 0, None) ** 2 * (distance < WITHIN * shortest)
        if step == 0:
            robust = (distance < WITHIN * shortest).astype(float)
        weight = robust / sigma**2
        design = np.concatenate([np.ones((len(frame), 1)), index], axis=1)
        normal, right = np.zeros((positions, 3, 3)), np.zeros((positions, 3, 2))
        np.add.at(normal, frame, weight[:, None, None] * design[:, :, None] * design[:, None, :])
        np.add.at(right, frame, weight[:, None, None] * design[:, :, None] * place[:, None, :])
        used = np.bincount(frame[robust > 0.1], minlength=positions)
        scale = np.sqrt(np.einsum("nii->ni", normal))
        scaled = normal / np.maximum(scale[:, :, None] * scale[:, None, :], 1e-30)
        good = (used >= least) & (np.linalg.det(scaled) > 1e-6)
        inverse = np.zeros_like(normal)
        inverse[good] = np.linalg.inv(normal[good])
        solution = inverse @ right
        origin[good], each[good] = solution[good, 0], solution[good, 1:]
        excess = _excess(frame, relative, good[frame] & (distance < WITHIN * shortest), positions)
    beside = (index != 0).any(axis=1)
    there = np.bincount(frame[beside], minlength=positions)
    on = np.bincount(frame[beside & (distance < ON_LATTICE * shortest)], minlength=positions)
    share = np.divide(on, there, out=np.full(positions, np.nan), where=there > 0)
    origin[~good], each[~good] = np.nan, np.nan
    covariance = inverse[:, 1:, 1:] * excess[:, None, None] ** 2
    covariance[~good] = np.nan
    return Lattices(origin, each, used, share, covariance, excess)


def _excess(frame: NDArray[np.int64], relative: Floats, sure: NDArray[np.bool_], positions: int) -> Floats:
    """Return by how much residuals are larger than their errors, from those of each position and a few of all others.

    The median of squared residuals is that of chi squared with two degrees of freedom, less what the fit of three
    numbers along each axis takes away. A position counts as if `USUAL_DISKS` more disks lay as far off as they do in
    all positions.
    """
    if not sure.any():
        return np.ones(positions)
    number = np.bincount(frame[sure], minlength=positions)
    squared = relative[sure] ** 2 / (2 * np.log(2)) * (number / np.maximum(number - 3, 1))[frame[sure]]
    usual = max(1.0, float(np.median(squared)))
    order = np.lexsort((squared, frame[sure]))
    first = np.cumsum(number) - number
    sorted_ = np.append(squared[order], usual)
    lower, upper = first + np.maximum(number - 1, 0) // 2, first + number // 2
    own = np.where(number > 0, 0.5 * (sorted_[np.minimum(lower, len(sorted_) - 1)] + sorted_[upper]), usual)
    return np.sqrt((number * own + USUAL_DISKS * usual) / (number + USUAL_DISKS))
