"""Compiled loops that find the direct beam of each frame and fit it."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction._score_kernels import sum_columns, sum_disk

TILT_SD = 0.2
"""Spread of the gradient across the beam (change from centre to edge over the mean)."""


@njit(cache=True, nogil=True)
def brightest_disks(frames, y0, x0, search, span, out):
    """Write where the disk with most counts lies within `search` px of a place: the middle of equal ones.

    ``span`` holds the half widths of the rows of the disk, ``out`` (n, 2) takes (row, column).
    """
    n, ky, kx = frames.shape
    reach = span.shape[0] // 2
    pad = reach + 1
    prefix = np.zeros((ky + 2 * pad + 1, kx + 2 * pad), np.int64)
    for k in range(n):
        sum_columns(frames[k], pad, prefix)
        most, equal, sum_y, sum_x = -1, 0, 0.0, 0.0
        for y in range(max(0, y0 - search), min(ky, y0 + search + 1)):
            for x in range(max(0, x0 - search), min(kx, x0 + search + 1)):
                counts = sum_disk(prefix, pad, span, y, x)
                if counts > most:
                    most, equal, sum_y, sum_x = counts, 0, 0.0, 0.0
                if counts == most:
                    equal += 1
                    sum_y += y
                    sum_x += x
        out[k, 0], out[k, 1] = sum_y / equal, sum_x / equal


@njit(cache=True, nogil=True)
def _derivatives(p, y, x, radius, edge, out):
    """Write the derivatives of the rate of a pixel by the parameters to ``out`` (6,) and return the rate.

    The parameters: place (row, column), tilt along both, height, background. The disk falls linearly from 1 to 0 over
    its edge.
    """
    dy, dx = y - p[0], x - p[1]
    r = max(math.sqrt(dy * dy + dx * dx), 1e-6)
    fall = 0.5 - (r - radius) / edge
    inside = min(max(fall, 0.0), 1.0)
    steep = 1 / edge if 0 < fall < 1 else 0.0
    tilted = max(1 + (p[2] * dy + p[3] * dx) / radius, 0.05)
    out[0] = p[4] * (steep * tilted * dy / r - inside * p[2] / radius)
    out[1] = p[4] * (steep * tilted * dx / r - inside * p[3] / radius)
    out[2] = p[4] * inside * dy / radius
    out[3] = p[4] * inside * dx / radius
    out[4] = inside * tilted
    out[5] = 1.0
    return p[5] + p[4] * inside * tilted


@njit(cache=True, nogil=True)
def _start(frame, y0, x0, radius, reach, p):
    """Write a first guess to ``p`` and return the counts in the disk."""
    inside, pixels, around, others = 0.0, 0, 0.0, 0
    for y in range(max(0, int(y0) - reach), min(frame.shape[0], int(y0) + reach + 2)):
        for x in range(max(0, int(x0) - reach), min(frame.shape[1], int(x0) + reach + 2)):
            r = math.sqrt((y - y0) ** 2 + (x - x0) ** 2)
            if r < radius:
                inside += frame[y, x]
                pixels += 1
            elif radius + 1 < r < radius + 3:
                around += frame[y, x]
                others += 1
    p[0], p[1], p[2], p[3] = y0, x0, 0.0, 0.0
    p[5] = max(around / max(others, 1), 1e-3)
    p[4] = max(inside / max(pixels, 1) - p[5], 1e-3)
    return inside


@njit(cache=True, nogil=True)
def _eliminate(matrix, right):
    """Replace ``right`` (6, m) by the solution of a positive definite system; ``matrix`` (6, 6) is used up."""
    for i in range(6):
        for j in range(i + 1, 6):
            factor = matrix[j, i] / matrix[i, i]
            for k in range(i, 6):
                matrix[j, k] -= factor * matrix[i, k]
            for k in range(right.shape[1]):
                right[j, k] -= factor * right[i, k]
    for i in range(5, -1, -1):
        for k in range(right.shape[1]):
            for j in range(i + 1, 6):
                right[i, k] -= matrix[i, j] * right[j, k]
            right[i, k] /= matrix[i, i]


@njit(cache=True, nogil=True)
def fit_beams(frames, start, radius, edge, far, out):
    """Fit a soft, tilted disk to the counts of each frame by Fisher scoring, from ``start`` (n, 2) on.

    Writes to ``out`` (n, 4) the place and its variance along rows and columns; NaN where there are fewer than 8 counts,
    or the place is further than ``far`` from the start.
    """
    p, row, normal = np.empty(6), np.empty(6), np.empty((6, 6))
    right = np.empty((6, 3))  # gradient, and two unit vectors that make the variances of the place
    reach = math.ceil(radius + 3)
    for k in range(frames.shape[0]):
        out[k] = np.nan
        frame = frames[k]
        if _start(frame, start[k, 0], start[k, 1], radius, reach, p) < 8:
            continue
        for _ in range(8):
            right[:] = 0
            right[0, 1] = right[1, 2] = 1
            normal[:] = 0
            for y in range(max(0, int(p[0]) - reach), min(frame.shape[0], int(p[0]) + reach + 2)):
                for x in range(max(0, int(p[1]) - reach), min(frame.shape[1], int(p[1]) + reach + 2)):
                    if (y - p[0]) ** 2 + (x - p[1]) ** 2 > (radius + 3) ** 2:
                        continue
                    rate = _derivatives(p, y, x, radius, edge, row)
                    off = frame[y, x] / rate - 1
                    for i in range(6):
                        right[i, 0] += row[i] * off
                        for j in range(i + 1):
                            normal[i, j] += row[i] * row[j] / rate
            for i in range(6):
                normal[i, i] += 1e-6 * normal[i, i] + 1e-9
                for j in range(i):
                    normal[j, i] = normal[i, j]
            for i in (2, 3):
                normal[i, i] += 1 / TILT_SD**2
                right[i, 0] -= p[i] / TILT_SD**2
            _eliminate(normal, right)
            step = right[:, 0]
            p[0] += min(max(step[0], -1.0), 1.0)
            p[1] += min(max(step[1], -1.0), 1.0)
            p[2] = min(max(p[2] + step[2], -0.8), 0.8)
            p[3] = min(max(p[3] + step[3], -0.8), 0.8)
            p[4] = max(p[4] + step[4], 0.2 * p[4])
            p[5] = max(p[5] + step[5], 0.2 * p[5])
            if math.hypot(p[0] - start[k, 0], p[1] - start[k, 1]) > far or abs(step[0]) + abs(step[1]) < 0.005:
                break
        if math.hypot(p[0] - start[k, 0], p[1] - start[k, 1]) > far:
            continue
        out[k, 0], out[k, 1], out[k, 2], out[k, 3] = p[0], p[1], right[0, 1], right[1, 2]
