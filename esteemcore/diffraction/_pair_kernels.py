"""Compiled loops that fit two disks to the same counts together, or one without the other."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from esteemcore.diffraction._fit_kernels import add_disk
from esteemcore.diffraction.look import PROFILE_PER_PX

COMMON, EACH = 2, 5
"""Parameters: background and its slope; of each disk height, two tilts and two coordinates."""

MOST = COMMON + 2 * EACH
"""Parameters of a pair."""

LEAST_RATE = 1e-3
"""Counts per pixel below which no rate is believed."""

STEPS = 8
"""Steps of a fit at most."""


NEAR = 0.2
"""A step of all places shorter than this, in standard errors, is the last one of a fit."""


class Pair(NamedTuple):
    """What the fit of no, one or two disks works on, used again for the next.

    Attributes
    ----------
    window : ndarray of float32, shape (4, pixels)
        Coordinates of pixels relative to a pixel next to the first disk, counts, rate of other disks.
    outward : ndarray, shape (2,)
        Direction away from the direct beam.
    prior, prior_sd : ndarray, shape (2, 3)
        What is known of each disk: its tilts, in units of its height, and the slope; that of the first counts.
    anchor : ndarray, shape (2, 3)
        Where each is expected, and the inverse variance of that: 0 for anywhere.
    alone, both : ndarray, shape (12,)
        Parameters of the fit without and with the last disk: background and its slope, and of each disk height, tilts,
        and place.
    normal, gradient : ndarray, shapes (12, 12) and (12,)
        Information on the parameters, and how the log-likelihood grows with them.
    """

    window: Any
    outward: Any
    prior: Any
    prior_sd: Any
    anchor: Any
    alone: Any
    both: Any
    normal: Any
    gradient: Any


@njit(cache=True, nogil=True)
def make_pair(look):
    """Return memory for fits."""
    return Pair(
        np.empty((4, look.pair_pixels), np.float32),
        np.empty(2),
        np.zeros((2, 3)),
        np.ones((2, 3)),
        np.zeros((2, 3)),
        np.empty(MOST),
        np.empty(MOST),
        np.empty((MOST, MOST)),
        np.empty(MOST),
    )


@njit(cache=True, nogil=True)
def gather_pair(frame, y0, x0, y1, x1, but, total, beam, look, guess, pair):
    """Copy the valid pixels within reach of either of two places and return their number.

    Coordinates are relative to pixel (y0, x0). To the rates of other disks the ``total`` fitted ones are added, except
    disk `but`.
    """
    window, (rows, columns) = pair.window, frame.shape
    limit, n = look.reach * look.reach, 0
    for y in range(max(0, int(min(y0, y1) - look.reach)), min(rows, int(max(y0, y1) + look.reach) + 1)):
        for x in range(max(0, int(min(x0, x1) - look.reach)), min(columns, int(max(x0, x1) + look.reach) + 1)):
            near = (y - y0) ** 2 + (x - x0) ** 2 <= limit or (y - y1) ** 2 + (x - x1) ** 2 <= limit
            if near and look.valid[y, x] and n < window.shape[1]:
                window[0, n], window[1, n], window[2, n], window[3, n] = y - y0, x - x0, frame[y, x], 0
                n += 1
    for j in range(total):
        dy, dx = guess[j, 0] - y0, guess[j, 1] - x0
        if j != but and dy * dy + dx * dx < (look.meet + 3 * look.radius) ** 2:
            add_disk(window, n, dy, dx, look.radius, look.edge, look.to_circle, look.profile, guess[j, 2])
    dy, dx = y0 - beam[0], x0 - beam[1]
    distance = max(math.sqrt(dy * dy + dx * dx), look.radius)
    pair.outward[0], pair.outward[1] = dy / distance, dx / distance
    return n


@njit(cache=True, nogil=True)
def put_disk(d, place_y, place_x, height, tilts, p):
    """Write height, tilts in units of it, and place of disk `d` to parameters."""
    at = COMMON + EACH * d
    p[at], p[at + 1], p[at + 2] = height, tilts[0] * height, tilts[1] * height
    p[at + 3], p[at + 4] = place_y, place_x


@njit(cache=True, nogil=True, error_model="numpy")
def _rate(dy, dx, others, p, disks, outward, radius, edge, to_circle, profile, slopes):
    """Return the rate at a pixel and write its derivatives to ``slopes``; see `fit_together` for the model."""
    out = outward[0] * dy + outward[1] * dx
    root = 1 + 0.25 * p[1] * out
    cube = root * root * root
    slopes[0] = max(cube * root, 1e-12)
    slopes[1] = p[0] * cube * out
    rate = others + p[0] * slopes[0]
    for i in range(disks):
        at = COMMON + EACH * i
        v, u = dy - p[at + 3], dx - p[at + 4]
        a = to_circle[0, 0] * v + to_circle[0, 1] * u
        b = to_circle[1, 0] * v + to_circle[1, 1] * u
        r = math.sqrt(a * a + b * b + 1e-12)
        if profile.shape[1]:
            step = min(int(r * PROFILE_PER_PX + 0.5), profile.shape[1] - 1)
            soft, steep = float(profile[0, step]), float(profile[1, step])
        else:
            s = min(max(radius / edge + 0.5 - r / edge, 0.0), 1.0)
            soft, steep = s * s * (3 - 2 * s), 6 * s * (1 - s) / edge
        structure = p[at] + (p[at + 1] * a + p[at + 2] * b) / radius
        falling, along_a, along_b = structure * steep / r, p[at + 1] / radius, p[at + 2] / radius
        slopes[at] = soft
        slopes[at + 1], slopes[at + 2] = soft * a / radius, soft * b / radius
        by_a, by_b = falling * a - soft * along_a, falling * b - soft * along_b
        slopes[at + 3] = by_a * to_circle[0, 0] + by_b * to_circle[1, 0]
        slopes[at + 4] = by_a * to_circle[0, 1] + by_b * to_circle[1, 1]
        rate += structure * soft
    return max(rate, LEAST_RATE)


@njit(cache=True, nogil=True)
def _evidence(pair, n, p, disks, look, normal, gradient):
    """Return the log-likelihood with the prior, and write normal matrix and gradient."""
    window, prior, prior_sd, anchor = pair.window, pair.prior, pair.prior_sd, pair.anchor
    size = COMMON + EACH * disks
    slopes = np.empty(MOST)
    normal[:] = 0
    gradient[:] = 0
    total = 0.0
    for k in range(n):
        rate = _rate(
            window[0, k], window[1, k], window[3, k], p, disks, pair.outward, look.radius, look.edge, look.to_circle,
            look.profile, slopes,
        )  # fmt: skip
        count, weight = window[2, k], 1 / rate
        total += count * math.log(rate) - rate
        residual = (count - rate) * weight
        for i in range(size):
            if slopes[i] == 0:  # beyond a disk its parameters change nothing
                continue
            gradient[i] += slopes[i] * residual
            over = slopes[i] * weight
            for j in range(i + 1):
                normal[i, j] += over * slopes[j]
    certainty = 1 / prior_sd[0, 2] ** 2
    normal[1, 1] += certainty
    gradient[1] -= (p[1] - prior[0, 2]) * certainty
    total -= 0.5 * certainty * (p[1] - prior[0, 2]) ** 2
    for d in range(disks):
        at = COMMON + EACH * d
        for i in range(2):  # tilts are relative to the height
            unit = max(p[at], 0.01)
            certainty = 1 / (prior_sd[d, i] * unit) ** 2
            excess = p[at + 1 + i] - prior[d, i] * unit
            normal[at + 1 + i, at + 1 + i] += certainty
            gradient[at + 1 + i] -= excess * certainty
            total -= 0.5 * certainty * excess * excess
            off = p[at + 3 + i] - anchor[d, i]
            normal[at + 3 + i, at + 3 + i] += anchor[d, 2]
            gradient[at + 3 + i] -= off * anchor[d, 2]
            total -= 0.5 * anchor[d, 2] * off * off
    for i in range(size):
        for j in range(i):
            normal[j, i] = normal[i, j]
        normal[i, i] += 1e-6
    return total


@njit(cache=True, nogil=True)
def solved(matrix, size, vector):
    """Replace a vector by the solution of a positive definite system, whose lower triangle becomes its Cholesky factor.

    False if it has none.
    """
    for j in range(size):
        for i in range(j, size):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i > j:
                matrix[i, j] = total / matrix[j, j]
            elif total <= 1e-12:
                return False
            else:
                matrix[j, j] = math.sqrt(total)
    for i in range(size):
        for k in range(i):
            vector[i] -= matrix[i, k] * vector[k]
        vector[i] /= matrix[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            vector[i] -= matrix[k, i] * vector[k]
        vector[i] /= matrix[i, i]
    return True


@njit(cache=True, nogil=True)
def fit_together(pair, n, p, disks, look):
    """Fit no, one or two disks to the same ``n`` pixels by Fisher scoring with shortened steps, from ``p`` on.

    The rates are those of one disk after the other on a common background. The fit ends with a step of all places by
    less than `NEAR` standard errors.

    Returns
    -------
    float
        Log-likelihood with the prior; minus infinity where the counts do not determine the parameters. ``pair.normal``
        holds the information on them.
    """
    size, normal, gradient = COMMON + EACH * disks, pair.normal, pair.gradient
    tried, next_normal, next_gradient = p.copy(), np.empty((MOST, MOST)), np.empty(MOST)
    best = _evidence(pair, n, p, disks, look, normal, gradient)
    damping = 0.0
    for _ in range(STEPS):
        system = normal[:size, :size].copy()
        for i in range(size):
            system[i, i] *= 1 + damping
        step = gradient[:size].copy()
        if not solved(system, size, step):
            return -np.inf
        far = 1.0
        for d in range(disks):
            far = max(far, abs(step[COMMON + EACH * d + 3]), abs(step[COMMON + EACH * d + 4]))
        tried[:] = p
        for i in range(size):
            tried[i] += step[i] / far
        tried[0] = max(tried[0], 3 * LEAST_RATE)
        tried[1] = min(max(tried[1], -0.4), 0.4)
        for d in range(disks):
            tried[COMMON + EACH * d] = max(tried[COMMON + EACH * d], 0.01)
        value = _evidence(pair, n, tried, disks, look, next_normal, next_gradient)
        if value < best - 0.01:
            damping = max(4 * damping, 0.25)
            continue
        small = disks > 0 or value < best + 0.01
        best, damping = value, damping / 4 if damping > 0.1 else 0.0
        p[:], normal[:], gradient[:] = tried, next_normal, next_gradient
        for d in range(disks):
            for i in (COMMON + EACH * d + 3, COMMON + EACH * d + 4):
                small = small and step[i] * step[i] * normal[i, i] < NEAR * NEAR
        if small:
            break
    return best


@njit(cache=True, nogil=True)
def _variance(factor, size, i):
    """Return the variance of parameter i from the Cholesky factor of the information on all."""
    unit = np.zeros(size)
    unit[i] = 1
    total = 0.0
    for j in range(i, size):  # the rows above are 0
        for k in range(i, j):
            unit[j] -= factor[j, k] * unit[k]
        unit[j] /= factor[j, j]
        total += unit[j] * unit[j]
    return total


@njit(cache=True, nogil=True)
def write_disk(d, k, y0, x0, disks, look, pair, guess, rows):
    """Write what was fitted of disk `d` of ``disks`` as disk `k` of a frame; its radius is not measured.

    ``pair.normal`` holds the Cholesky factor of the information.
    """
    p, at, size, row = pair.both, COMMON + EACH * d, COMMON + EACH * disks, rows[k]
    height = p[at]
    guess[k, 0], guess[k, 1], guess[k, 2] = y0 + p[at + 3], x0 + p[at + 4], height
    row[0], row[1], row[2] = guess[k, 0], guess[k, 1], height * look.electrons
    row[3] = math.sqrt(0.5 * (_variance(pair.normal, size, at + 3) + _variance(pair.normal, size, at + 4)))
    row[5], row[6], row[7], row[8] = p[0], p[at + 1] / height, p[at + 2] / height, p[1]
    row[9] = math.sqrt(0.5 * (_variance(pair.normal, size, at + 1) + _variance(pair.normal, size, at + 2))) / height
    row[10], row[11] = math.sqrt(_variance(pair.normal, size, 1)), np.nan
