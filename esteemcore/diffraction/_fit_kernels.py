"""Compiled loops that fit a soft disk with an inner structure to the counts of a frame."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction._fit_intrinsics import (
    GRADIENT,
    GROWTH,
    GROWTH_GROWTH,
    GROWTH_RESIDUAL,
    LEAST_RATE,
    MODEL,
    ROW_DISK,
    ROW_GROWTH,
    ROW_STEEP,
    ROW_U,
    ROW_V,
    SUMS,
    sum_pixels,
)
from esteemcore.diffraction._fit_intrinsics import WORK_ROWS as SHAPE_AND_MORE
from esteemcore.diffraction.look import PROFILE_PER_PX

PARAMETERS = 7
"""Background, height, two tilts, slope of the background, two coordinates; the place last, to tell it from the rest."""

AT_ONCE = 32
"""Pixels of a window are padded to a multiple of this; the vector instructions of a loop work on as many or half."""

WORK_ROWS = SHAPE_AND_MORE + 1
"""Rows of the work space: those of `sum_pixels`, and room to lay them to where vectors are loaded fast."""


@njit(cache=True, nogil=True)
def padded(n):
    """Return the number of pixels that the loops run over: a multiple of what they do at once, so that none is left."""
    return (n + AT_ONCE - 1) // AT_ONCE * AT_ONCE


@njit(cache=True, nogil=True)
def gather(frame, valid, y0, x0, reach, window):
    """Copy the valid pixels within `reach` of a place and return their number.

    ``window`` (4, pixels) gets the coordinates relative to the place (y, x), the counts, and 0 for other disks; what
    follows up to the padded number is 0.
    """
    rows, columns = frame.shape
    n = 0
    limit = reach * reach
    r = int(reach)
    for y in range(max(0, y0 - r), min(rows, y0 + r + 1)):
        for x in range(max(0, x0 - r), min(columns, x0 + r + 1)):
            dy, dx = y - y0, x - x0
            if dy * dy + dx * dx <= limit and valid[y, x]:
                window[0, n], window[1, n], window[2, n] = dy, dx, frame[y, x]
                n += 1
    for k in range(n, padded(n)):
        window[0, k] = window[1, k] = window[2, k] = 0
    for k in range(padded(n)):
        window[3, k] = 0
    return n


@njit(cache=True, nogil=True)
def gather_whole(frame, y0, x0, places, whole, window):
    """Do the same where all pixels are on the detector and valid, from the middle outward.

    ``places`` holds where the pixels lie in a flat frame, relative to the middle, ``whole`` (2, pixels) the same as
    coordinates.
    """
    n, flat, first = places.shape[0], frame.ravel(), y0 * frame.shape[1] + x0
    for k in range(padded(n)):
        window[0, k], window[1, k], window[2, k], window[3, k] = whole[0, k], whole[1, k], 0, 0
    for k in range(n):
        window[2, k] = flat[first + places[k]]
    return n


@njit(cache=True, nogil=True, fastmath=True)
def add_disk(window, n, cy, cx, radius, edge, to_circle, profile, height):
    """Add the rates of a flat disk to those of other disks; see `_shape` for what it looks like."""
    a, b = np.float32(to_circle[0, 0]), np.float32(to_circle[0, 1])
    c, d = np.float32(to_circle[1, 0]), np.float32(to_circle[1, 1])
    y0, x0, top = np.float32(cy), np.float32(cx), np.float32(radius / edge + 0.5)
    inverse, high = np.float32(1 / edge), np.float32(height)
    zero, one, two, three = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
    if profile.shape[1]:
        per_px, half, last = np.float32(PROFILE_PER_PX), np.float32(0.5), profile.shape[1] - 1
        for k in range(n):
            dy, dx = window[0, k] - y0, window[1, k] - x0
            u, v = a * dy + b * dx, c * dy + d * dx
            window[3, k] += high * profile[0, min(int(math.sqrt(u * u + v * v) * per_px + half), last)]
        return
    for k in range(padded(n)):
        dy, dx = window[0, k] - y0, window[1, k] - x0
        u, v = a * dy + b * dx, c * dy + d * dx
        s = min(max(top - math.sqrt(u * u + v * v) * inverse, zero), one)
        window[3, k] += high * s * s * (three - two * s)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _shape(window, n, p, radius, edge, to_circle, profile, work):
    """Write what a disk at the place of the model looks like at each pixel to the first rows of ``work``.

    The edge of a disk is a smooth step of width `edge`; where there is a ``profile`` (2, steps), that tells the height
    along the radius, and how steeply it falls.
    """
    a, b = np.float32(to_circle[0, 0]), np.float32(to_circle[0, 1])
    c, d = np.float32(to_circle[1, 0]), np.float32(to_circle[1, 1])
    y0, x0, top, whole = np.float32(p[5]), np.float32(p[6]), np.float32(radius / edge + 0.5), np.float32(radius)
    inverse, per_radius, tiny = np.float32(1 / edge), np.float32(1 / radius), np.float32(1e-12)
    zero, one, two, three, six = np.float32(0), np.float32(1), np.float32(2), np.float32(3), np.float32(6)
    if profile.shape[1]:
        per_px, half, last = np.float32(PROFILE_PER_PX), np.float32(0.5), profile.shape[1] - 1
        for k in range(n):
            dy, dx = window[0, k] - y0, window[1, k] - x0
            u, v = a * dy + b * dx, c * dy + d * dx
            r = math.sqrt(u * u + v * v + tiny)
            i = min(int(r * per_px + half), last)
            work[ROW_U, k], work[ROW_V, k] = u * per_radius, v * per_radius
            work[ROW_DISK, k], work[ROW_GROWTH, k] = profile[0, i], profile[1, i]
            work[ROW_STEEP, k] = profile[1, i] * whole / r
        for k in range(n, padded(n)):
            work[: ROW_GROWTH + 1, k] = 0
        return
    for k in range(padded(n)):
        dy, dx = window[0, k] - y0, window[1, k] - x0
        u, v = a * dy + b * dx, c * dy + d * dx
        r = math.sqrt(u * u + v * v + tiny)
        s = min(max(top - r * inverse, zero), one)
        growth = six * s * (one - s) * inverse
        work[ROW_U, k], work[ROW_V, k] = u * per_radius, v * per_radius
        work[ROW_DISK, k], work[ROW_GROWTH, k] = s * s * (three - two * s), growth
        work[ROW_STEEP, k] = growth * whole / r


@njit(cache=True, nogil=True)
def _aligned(work, n):
    """Return the rows of the work space for n pixels, each at the beginning of a line of the cache."""
    columns, flat = padded(n), work.ravel()
    first = (-work.ctypes.data // 4) % 16
    return flat[first : first + SHAPE_AND_MORE * columns].reshape(SHAPE_AND_MORE, columns)


@njit(cache=True, nogil=True)
def _products(window, n, p, outward, radius, to_circle, work, model, sums, normal, gradient):
    """Write the normal matrix (lower triangle) and the gradient of the log-likelihood; see `sum_pixels`.

    The background grows as (1 + slope * out / 4)^4, which is nearly an exponential, and is never negative.
    """
    model[0], model[1], model[2], model[3], model[4] = p[0], p[1], p[2], p[3], 0.25 * p[4]
    model[5], model[6], model[7], model[8] = outward[0], outward[1], to_circle[0, 0], to_circle[0, 1]
    model[9], model[10], model[11] = to_circle[1, 0], to_circle[1, 1], 1 / radius
    sum_pixels(window, work, n, model, sums)
    at = 0
    for i in range(PARAMETERS):
        gradient[i] = sums[GRADIENT + i]
        for j in range(i + 1):
            normal[i, j] = sums[at]
            at += 1


@njit(cache=True, nogil=True, error_model="numpy")
def factorize(normal):
    """Replace the lower triangle of a matrix by that of L, with 1 / D on the diagonal; False if it has no L D L^T."""
    for j in range(PARAMETERS):
        pivot = normal[j, j]
        if pivot <= 1e-12:
            return False
        inverse = 1 / pivot
        for i in range(j + 1, PARAMETERS):
            share = normal[i, j] * inverse
            for k in range(j + 1, i):
                normal[i, k] -= share * normal[k, j] * pivot
            normal[i, i] -= share * normal[i, j]
            normal[i, j] = share
        normal[j, j] = inverse
    return True


@njit(cache=True, nogil=True)
def solve(factor, vector):
    """Replace a vector by the solution of the system that was factorised."""
    for i in range(PARAMETERS):
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
    for i in range(PARAMETERS - 1, -1, -1):
        vector[i] *= factor[i, i]
        for k in range(i + 1, PARAMETERS):
            vector[i] -= factor[k, i] * vector[k]


@njit(cache=True, nogil=True)
def variance(factor, i, vector):
    """Return the variance of one parameter, all others free: a diagonal element of the inverse of the matrix."""
    total = factor[i, i]
    vector[i] = 1
    for j in range(i + 1, PARAMETERS):  # a column of the inverse of L
        value = 0.0
        for k in range(i, j):
            value -= factor[j, k] * vector[k]
        vector[j] = value
        total += value * value * factor[j, j]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _radius_step(sums, factor, vector):
    """Return by how much the radius should grow, and the information on it with all other parameters free."""
    information = float(sums[GROWTH_GROWTH])
    whole = information
    for i in range(PARAMETERS):  # what the other parameters explain of it, by forward substitution
        value = float(sums[GROWTH + i])
        for k in range(i):
            value -= factor[i, k] * vector[k]
        vector[i] = value
        whole -= value * value * factor[i, i]
    whole = max(whole, 1e-3 * information + 1e-9)
    return sums[GROWTH_RESIDUAL] / whole, whole


@njit(cache=True, nogil=True, fastmath=True)
def center_of_counts(window, n, radius, background):
    """Return how far the centre of the counts above the background lies from the place, at most 2 px either way."""
    total = sum_y = sum_x = np.float32(0)
    limit, level, zero = np.float32((radius + 1) ** 2), np.float32(background), np.float32(0)
    for k in range(padded(n)):
        dy, dx = window[0, k], window[1, k]
        value = window[2, k] - level if dy * dy + dx * dx <= limit else zero
        total += value
        sum_y += value * dy
        sum_x += value * dx
    total += (padded(n) - n) * level  # the padding is in the middle
    if total <= 0:
        return 0.0, 0.0
    return min(max(sum_y / total, -2.0), 2.0), min(max(sum_x / total, -2.0), 2.0)


@njit(cache=True, nogil=True, fastmath=True)
def first_guess(window, n, start, prior, radius, p):
    """Write to ``p`` where a fit starts; ``start``: height, and the place relative to the window."""
    y0, x0, limit = np.float32(start[1]), np.float32(start[2]), np.float32((radius + 1.2) ** 2)
    beyond = pixels = np.float32(0)
    one, zero = np.float32(1), np.float32(0)
    for k in range(padded(n)):
        dy, dx = window[0, k] - y0, window[1, k] - x0
        outside = one if dy * dy + dx * dx > limit else zero
        beyond += outside * (window[2, k] - window[3, k])
        pixels += outside
    if y0 * y0 + x0 * x0 > limit:  # the padding is in the middle
        pixels -= padded(n) - n
    p[0] = max(beyond / max(pixels, 1), 0.01)
    p[1] = max(start[0], 0.02)
    p[2], p[3], p[4] = prior[0] * p[1], prior[1] * p[1], prior[2]
    p[5], p[6] = start[1], start[2]


@njit(cache=True, nogil=True)
def fit_disk(
    window, n, outward, prior, prior_sd, radius, edge, to_circle, profile, near, iterations, work, normal, p, result
):
    """Fit a disk to pixels by Fisher scoring, from ``p`` on: see `PARAMETERS`, the place relative to the window.

    The tilts, in units of the height, and the relative slope of the background along ``outward`` (2,) have a Gaussian
    prior ``prior`` (3,), ``prior_sd`` (3,). The last step is one of the place by less than `near` standard errors, for
    the counts do not say more: the likeliest place is no truer than one that is close to it. ``work`` and ``normal``
    (8, 7) are scratch memory. Writes to ``p`` what is fitted, and to ``result`` the variance of the place along rows
    and columns, the step of the radius that the counts ask for with its information, and the variances of tilts and
    slope.

    Returns
    -------
    bool
        False where the counts do not determine a place within half a radius of the start.
    """
    gradient, work = normal[PARAMETERS], _aligned(work, n)
    model, sums = np.empty(MODEL, np.float32), np.empty(SUMS, np.float32)
    y0, x0, last_y, last_x = p[5], p[6], 0.0, 0.0
    for _ in range(iterations):
        _shape(window, n, p, radius, edge, to_circle, profile, work)
        _products(window, n, p, outward, radius, to_circle, work, model, sums, normal, gradient)
        for i in range(3):
            unit = p[1] if i < 2 else 1.0
            certainty = 1 / (prior_sd[i] * unit) ** 2
            normal[2 + i, 2 + i] += certainty
            gradient[2 + i] -= (p[2 + i] - prior[i] * unit) * certainty
        normal[0, 0] += 1e-6
        normal[1, 1] += 1e-6
        if not factorize(normal):
            return False
        solve(normal, gradient)
        along = gradient[5] * last_y + gradient[6] * last_x
        before = last_y * last_y + last_x * last_x
        if along < -0.2 * before:  # to and fro: with few counts a whole step goes too far
            shorter = before / (before - along)
            for i in range(PARAMETERS):
                gradient[i] *= shorter
        far = max(abs(gradient[5]), abs(gradient[6]))
        if far > 1.0:
            gradient[5] /= far
            gradient[6] /= far
        for i in range(PARAMETERS):
            p[i] += gradient[i]
        last_y, last_x = gradient[5], gradient[6]
        sideways = last_y + normal[6, 5] * last_x
        deviations = sideways * sideways / normal[5, 5] + last_x * last_x / normal[6, 6]
        p[0] = max(p[0], 3 * LEAST_RATE)
        p[1] = max(p[1], 0.01)
        p[4] = min(max(p[4], -0.4), 0.4)
        if (p[5] - y0) ** 2 + (p[6] - x0) ** 2 > 0.25 * radius * radius:
            return False
        if deviations < near * near:
            break
    result[2], result[3] = _radius_step(sums, normal, gradient)
    result[0], result[1] = variance(normal, 5, gradient), normal[6, 6]
    for i in (2, 3, 4):
        unit = p[1] if i < 4 else 1.0
        result[2 + i] = variance(normal, i, gradient) / (unit * unit)
    return True
