"""Compiled loops that read off the disks of a frame which lattices they lie on."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction._pair_kernels import solved

MOST_LATTICES = 3
"""Lattices that are looked for in a frame."""

MOST_SHORT = 48
"""Disks next to the direct beam of which two may be a basis: in a frame of hundreds, all pairs would take too long."""

OFF_PX = 1.5
"""Distance from a lattice point within which a disk belongs to it."""

LEAST_ON = 4
"""Disks that a lattice needs, besides the direct beam."""

LEAST_GAIN = 12.0
"""By how much disks must be likelier on a lattice than anywhere, as a logarithm."""

MODEL_PX = 0.3
"""By how much disks lie off their lattice, besides the errors of their places."""

CENTRED = np.array(
    [
        [[1.0, 0.0], [0.0, 1.0]],
        [[1.0, 0.0], [0.5, 0.5]],
        [[1.0, 0.0], [-0.5, 0.5]],
        [[0.5, 0.0], [0.0, 1.0]],
        [[1.0, 0.0], [0.0, 0.5]],
    ]
)
"""Bases that two vectors of a lattice may be twice as coarse as, in units of them."""

CENTRED_COSTS = 8.0
"""By how much such a basis must be likelier: one stray disk halfway between others makes none."""


@njit(cache=True, nogil=True)
def nearest_point(y, x, origin, basis):
    """Return the point of a lattice that is nearest to a place (row, column), and its two indices."""
    det = basis[0, 0] * basis[1, 1] - basis[0, 1] * basis[1, 0]
    v, u = y - origin[0], x - origin[1]
    h = math.floor((v * basis[1, 1] - u * basis[1, 0]) / det + 0.5)
    k = math.floor((basis[0, 0] * u - basis[0, 1] * v) / det + 0.5)
    return origin[0] + h * basis[0, 0] + k * basis[1, 0], origin[1] + h * basis[0, 1] + k * basis[1, 1], h, k


@njit(cache=True, nogil=True)
def lattice_gain(place, free, origin, basis):
    """Return by how much the free ones of some places are likelier on a lattice than anywhere.

    By chance a place is on the lattice with a probability of the area of the neighbourhood of a point over that of a
    cell; two places are the basis itself. The further from its point, the less a place counts.
    """
    det = abs(basis[0, 0] * basis[1, 1] - basis[0, 1] * basis[1, 0])
    on = -2.0
    for i in range(place.shape[0]):
        if free[i]:
            y, x, h, k = nearest_point(place[i, 0], place[i, 1], origin, basis)
            off = ((place[i, 0] - y) ** 2 + (place[i, 1] - x) ** 2) / OFF_PX**2
            if off < 1 and (h != 0 or k != 0):
                on += 1 - 0.5 * off
    return on * math.log(det / (math.pi * OFF_PX**2))


@njit(cache=True, nogil=True)
def _best_basis(place, short, free, origin, least, basis):
    """Write the basis, made of two of the short ones, on which the free places are likeliest, and return the gain."""
    best, tried = 0.0, np.empty((2, 2))
    for i in range(place.shape[0]):
        a0, a1 = place[i, 0] - origin[0], place[i, 1] - origin[1]
        a = math.sqrt(a0 * a0 + a1 * a1)
        for j in range(place.shape[0]):
            if i == j or not (short[i] and short[j]) or not (free[i] or free[j]):
                continue
            b0, b1 = place[j, 0] - origin[0], place[j, 1] - origin[1]
            b = math.sqrt(b0 * b0 + b1 * b1)
            if a > b or abs(a0 * b1 - a1 * b0) < 0.5 * a * b or abs(a0 * b0 + a1 * b1) > 0.6 * a * a:
                continue
            for kind in range(CENTRED.shape[0]):
                for row in range(2):
                    h, k = CENTRED[kind, row, 0], CENTRED[kind, row, 1]
                    tried[row, 0], tried[row, 1] = h * a0 + k * b0, h * a1 + k * b1
                if min(tried[0, 0] ** 2 + tried[0, 1] ** 2, tried[1, 0] ** 2 + tried[1, 1] ** 2) < least * least:
                    continue
                gain = lattice_gain(place, free, origin, tried) - (CENTRED_COSTS if kind else 0.0)
                if gain > best:
                    best = gain
                    basis[:] = tried
    return best


@njit(cache=True, nogil=True)
def _refine(place, sigma, free, beam, beam_px, origin, basis):
    """Fit origin and basis to the free places that lie on a lattice, mark these as no longer free and count them."""
    normal, right, on = np.empty((3, 3)), np.empty((2, 3)), 0
    for step in range(4):
        normal[:], right[:] = 0, 0
        for axis in range(2):
            right[axis, 0] = beam[axis] / beam_px**2
        normal[0, 0] = 1 / beam_px**2
        on = 0
        for i in range(place.shape[0]):
            y, x, h, k = nearest_point(place[i, 0], place[i, 1], origin, basis)
            if not free[i] or (place[i, 0] - y) ** 2 + (place[i, 1] - x) ** 2 > OFF_PX**2:
                continue
            on += 1
            weight = 1 / (sigma[i] ** 2 + MODEL_PX**2)
            index = (1.0, float(h), float(k))
            for r in range(3):
                for c in range(3):
                    normal[r, c] += weight * index[r] * index[c]
                for axis in range(2):
                    right[axis, r] += weight * index[r] * place[i, axis]
            if step == 3:
                free[i] = False
        if step == 3 or on < LEAST_ON:
            break
        fits = True
        for axis in range(2):
            fits = fits and solved(normal.copy(), 3, right[axis])
        if not fits:
            return 0
        for axis in range(2):
            origin[axis], basis[0, axis], basis[1, axis] = right[axis, 0], right[axis, 1], right[axis, 2]
    return on


@njit(cache=True, nogil=True)
def find_lattices(place, sigma, beam, beam_px, apart):
    """Return origins (n, 2) and bases (n, 2, 2) of the lattices that the disks of a frame lie on.

    Parameters
    ----------
    place, sigma : ndarray, shapes (n, 2) and (n,)
        Places (row, column) of the disks and their errors; NaN where there is none.
    beam : ndarray, shape (2,)
        The direct beam, the origin of all lattices.
    beam_px : float
        How well that is known.
    apart : float
        Least distance of two points of a lattice.
    """
    origins, bases = np.empty((MOST_LATTICES, 2)), np.empty((MOST_LATTICES, 2, 2))
    away, free, found = np.empty(place.shape[0]), np.empty(place.shape[0], np.bool_), 0
    for i in range(place.shape[0]):
        away[i] = math.hypot(place[i, 0] - beam[0], place[i, 1] - beam[1])
        free[i] = away[i] > apart and not math.isnan(sigma[i])
    short = free.copy()
    if place.shape[0] > MOST_SHORT:
        short &= away < np.sort(away)[MOST_SHORT]
    while found < MOST_LATTICES:
        origins[found] = beam
        gain = _best_basis(place, short, free, beam, apart, bases[found])
        if gain < LEAST_GAIN or _refine(place, sigma, free, beam, beam_px, origins[found], bases[found]) < LEAST_ON:
            break
        found += 1
    return origins[:found], bases[:found]
