"""Compiled loops that find the tilt between the templates at which a pattern fits best."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction._orientation_kernels import compare, turned


@njit(cache=True, nogil=True)
def first_of_each(place, allowed, apart, chosen):
    """Write to each row of ``chosen`` (n, k) the first places (n, m, 2) that are allowed and apart from each other."""
    for row in range(chosen.shape[0]):
        kept = 0
        for c in range(place.shape[1]):
            if kept == chosen.shape[1]:
                break
            new = allowed[row, c]
            for k in range(kept):
                other = chosen[row, k]
                away = math.hypot(place[row, c, 0] - place[row, other, 0], place[row, c, 1] - place[row, other, 1])
                new = new and away > apart
            if new:
                chosen[row, kept] = c
                kept += 1


@njit(cache=True, nogil=True)
def summit(values, inverse, reach):
    """Return the tilt (x, y) of the top of a paraboloid through values, and whether it has one between them.

    ``inverse`` (6, n) takes values to the coefficients of 1, x, y, x^2, xy, y^2. A top further than ``reach`` is none.
    """
    c = np.zeros(6)
    for i in range(6):
        for k in range(values.size):
            c[i] += inverse[i, k] * values[k]
    bend = 4 * c[3] * c[5] - c[4] ** 2
    if c[3] >= 0 or bend <= 0:
        return 0.0, 0.0, False
    x = (c[4] * c[2] - 2 * c[5] * c[1]) / bend
    y = (c[4] * c[1] - 2 * c[3] * c[2]) / bend
    return x, y, x**2 + y**2 < reach**2


@njit(cache=True, nogil=True)
def refine_tilts(rows, radius, azimuth, weight, spots, templates, around, tolerance, best, quaternion, found):
    """Move the orientations that `match_frames` found uphill and to the tilts at which they would fit best.

    ``around`` holds, of every template and its mirror image (2 t + mirror), how many templates lie round it, their
    numbers, mirrors and turns, the first of them itself, the matrix of `summit`, and the step of the library in rad.
    Where one of those round a template fits better, that one takes its place; at most twice.
    """
    _, _, _, _, s_radius, s_azimuth, s_share = spots
    offset, rotation = templates[0], templates[1]
    count, number, mirror, turn, inverse, step = around
    span, values, angles = np.empty(2, np.int64), np.empty(number.shape[1]), np.empty(number.shape[1])
    matches = np.empty(number.shape[1])
    for f in range(rows.size - 1):
        a, b = rows[f], rows[f + 1]
        disks = (radius[a:b], azimuth[a:b], weight[a:b])
        for k in range(best.shape[1]):
            if found[f, k, 0] < 0:
                break
            own = 2 * found[f, k, 0] + found[f, k, 1]
            n = 0
            for _ in range(3):
                n, middle = count[own], best[f, k, 1]
                for e in range(n):
                    t, sign = number[own, e], 1 - 2 * mirror[own, e]
                    span[0], span[1] = offset[t], offset[t + 1]
                    angle = middle + turn[own, e]
                    angle += compare(span, s_radius, s_azimuth, s_share, sign, angle, disks, tolerance)[1]
                    values[e], _, matches[e] = compare(
                        span, s_radius, s_azimuth, s_share, sign, angle, disks, tolerance
                    )
                    angles[e] = angle
                if n == 0:
                    break
                e = np.argmax(values[:n])
                if e > 0 and values[e] <= values[0] + 1e-12:
                    e = 0
                best[f, k, 0], best[f, k, 1], best[f, k, 2] = values[e], angles[e], matches[e]
                found[f, k, 0], found[f, k, 1] = number[own, e], mirror[own, e]
                if e == 0:
                    break
                own = 2 * found[f, k, 0] + found[f, k, 1]
                n = 0
            q = turned(rotation[found[f, k, 0]], found[f, k, 1] > 0, 0.0)
            angle = best[f, k, 1]
            if n > 0:
                x, y, there = summit(values[:n], inverse[own, :, :n], step)
                if there:
                    basis = (1.0, x, y, x * x, x * y, y * y)
                    angle = 0.0
                    for i in range(6):
                        for e in range(n):
                            angle += basis[i] * inverse[own, i, e] * (angles[e] - turn[own, e])
                    q = tilted(q, x, y)
            quaternion[f, k, :] = turned(q, False, angle)


@njit(cache=True, nogil=True)
def tilted(q, x, y):
    """Return an orientation (w, x, y, z) before which the crystal is turned by a rotation vector (x, y, 0) in rad."""
    half = math.hypot(x, y) / 2
    s = math.sin(half) / max(2 * half, 1e-300)
    w, u, v = math.cos(half), s * x, s * y
    return (
        q[0] * w - q[1] * u - q[2] * v,
        q[0] * u + q[1] * w - q[3] * v,
        q[0] * v + q[2] * w + q[3] * u,
        q[3] * w + q[1] * v - q[2] * u,
    )
