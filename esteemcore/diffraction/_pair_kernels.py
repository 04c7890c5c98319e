"""Compiled loops that fit two disks to the same counts together."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction.look import PROFILE_PER_PX

COMMON, EACH = 2, 5
"""Parameters: background and its slope; of each disk height, two tilts and two coordinates."""

MOST = COMMON + 2 * EACH
"""Parameters of a pair."""

LEAST_RATE = 1e-3
"""Counts per pixel below which no rate is believed."""

STEPS = 8
"""Steps of a fit at most."""


@njit(cache=True, nogil=True)
def gather_pair(frame, valid, y0, x0, y1, x1, reach, window):
    """Copy the valid pixels within `reach` of either of two places and return their number.

    ``window`` (4, pixels) gets coordinates relative to pixel (y0, x0), the counts, and 0 for other disks.
    """
    rows, columns = frame.shape
    limit, n = reach * reach, 0
    for y in range(max(0, int(min(y0, y1) - reach)), min(rows, int(max(y0, y1) + reach) + 1)):
        for x in range(max(0, int(min(x0, x1) - reach)), min(columns, int(max(x0, x1) + reach) + 1)):
            near = (y - y0) ** 2 + (x - x0) ** 2 <= limit or (y - y1) ** 2 + (x - x1) ** 2 <= limit
            if near and valid[y, x] and n < window.shape[1]:
                window[0, n], window[1, n], window[2, n], window[3, n] = y - y0, x - x0, frame[y, x], 0
                n += 1
    return n


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
def _evidence(window, n, p, disks, outward, prior, prior_sd, radius, edge, to_circle, profile, normal, gradient):
    """Return the log-likelihood with the prior, and write normal matrix and gradient."""
    size = COMMON + EACH * disks
    slopes = np.empty(MOST)
    normal[:] = 0
    gradient[:] = 0
    total = 0.0
    for k in range(n):
        rate = _rate(
            window[0, k], window[1, k], window[3, k], p, disks, outward, radius, edge, to_circle, profile, slopes
        )
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
def fit_together(
    window, n, p, disks, outward, prior, prior_sd, radius, edge, to_circle, profile, near, normal, gradient
):
    """Fit one or two disks to the same counts by Fisher scoring with shortened steps, from ``p`` on.

    The rates are those of one disk after the other on a common background; ``p`` holds the background, its slope, and
    of each disk height, tilts and place. ``prior`` and ``prior_sd`` (2, 3) are those of the tilts of each, in units of
    its height, and of the slope. The fit ends with a step of all places by less than `near` standard errors.

    Returns
    -------
    float
        Log-likelihood with the prior; minus infinity where the counts do not determine the parameters. ``normal`` holds
        the information on them.
    """
    size = COMMON + EACH * disks
    tried, next_normal, next_gradient = p.copy(), np.empty((MOST, MOST)), np.empty(MOST)
    best = _evidence(window, n, p, disks, outward, prior, prior_sd, radius, edge, to_circle, profile, normal, gradient)
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
        value = _evidence(
            window, n, tried, disks, outward, prior, prior_sd, radius, edge, to_circle, profile, next_normal,
            next_gradient,
        )  # fmt: skip
        if value < best - 0.01:
            damping = max(4 * damping, 0.25)
            continue
        best, damping = value, damping / 4 if damping > 0.1 else 0.0
        p[:], normal[:], gradient[:] = tried, next_normal, next_gradient
        small = True
        for d in range(disks):
            for i in (COMMON + EACH * d + 3, COMMON + EACH * d + 4):
                small = small and step[i] * step[i] * normal[i, i] < near * near
        if small:
            break
    return best
