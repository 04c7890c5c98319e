"""Compiled loops that fit a soft disk with an inner structure to the counts of a frame."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction.look import PROFILE_PER_PX

PARAMETERS = 7
"""Background, height, two tilts, slope of the background, two coordinates; the place last, to tell it from the rest."""

ROW_RESIDUAL = PARAMETERS
"""Row of the residuals, behind the derivatives."""

ROW_OVER = PARAMETERS + 1
"""First row of the derivatives over the rates."""

AT_ONCE = 32
"""Pixels that the vector instructions of a loop work on at once."""

ROW_U, ROW_V, ROW_STEEP, ROW_FALLING, ROW_WEIGHT = range(ROW_OVER + PARAMETERS, ROW_OVER + PARAMETERS + 5)
"""Rows of the work space behind them."""

WORK_ROWS = 2 * PARAMETERS + 6
"""Rows of the work space."""

LEAST_RATE = np.float32(1e-3)
"""Counts per pixel below which no background is believed."""


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
def gather_whole(frame, y0, x0, span, whole, window):
    """Do the same where all pixels are on the detector and valid.

    ``span`` holds the half widths of the rows, ``whole`` (2, pixels) the coordinates of all of them.
    """
    n = 0
    for j in range(span.shape[0]):
        half, y = span[j], y0 + j - span.shape[0] // 2
        for x in range(x0 - half, x0 + half + 1):
            window[2, n] = frame[y, x]
            n += 1
    for k in range(n, padded(n)):
        window[2, k] = 0
    for k in range(padded(n)):
        window[0, k], window[1, k], window[3, k] = whole[0, k], whole[1, k], 0
    return n


@njit(cache=True, nogil=True, fastmath=True)
def add_disk(window, n, cy, cx, radius, edge, to_circle, profile, height):
    """Add the rates of a flat disk to those of other disks; see `_derivatives` for what it looks like."""
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
def _derivatives(window, n, p, outward, radius, edge, to_circle, profile, work):
    """Write the derivatives of the rates, the same over the rates, and the residuals of all pixels to ``work``.

    The edge of a disk is a smooth step of width `edge`; where there is a ``profile`` (2, steps), that tells the height
    along the radius, and how steeply it falls.
    The background grows as (1 + slope * out / 4)^4, which is nearly an exponential, and is never negative. Many short
    loops over few rows, because the compiler turns only those into vector instructions. The padding has no weight.
    """
    a, b = np.float32(to_circle[0, 0]), np.float32(to_circle[0, 1])
    c, d = np.float32(to_circle[1, 0]), np.float32(to_circle[1, 1])
    background, height = np.float32(p[0]), np.float32(p[1])
    tilt_u, tilt_v = np.float32(p[2] / radius), np.float32(p[3] / radius)
    quarter, ey, ex = np.float32(0.25 * p[4]), np.float32(outward[0]), np.float32(outward[1])
    y0, x0, top = np.float32(p[5]), np.float32(p[6]), np.float32(radius / edge + 0.5)
    inverse, per_radius = np.float32(1 / edge), np.float32(1 / radius)
    zero, one, two, three, six = np.float32(0), np.float32(1), np.float32(2), np.float32(3), np.float32(6)
    tiny, least = np.float32(1e-12), LEAST_RATE
    flat_y, flat_x = tilt_u * a + tilt_v * c, tilt_u * b + tilt_v * d
    m = padded(n)
    for k in range(m):
        dy, dx = window[0, k] - y0, window[1, k] - x0
        work[ROW_U, k] = a * dy + b * dx
        work[ROW_V, k] = c * dy + d * dx
    if profile.shape[1]:
        per_px, half, last = np.float32(PROFILE_PER_PX), np.float32(0.5), profile.shape[1] - 1
        for k in range(m):
            u, v = work[ROW_U, k], work[ROW_V, k]
            r = math.sqrt(u * u + v * v + tiny)
            i = min(int(r * per_px + half), last)
            work[1, k] = profile[0, i]
            work[ROW_STEEP, k] = profile[1, i] / r
    else:
        for k in range(m):
            u, v = work[ROW_U, k], work[ROW_V, k]
            r = math.sqrt(u * u + v * v + tiny)
            s = min(max(top - r * inverse, zero), one)
            work[1, k] = s * s * (three - two * s)
            work[ROW_STEEP, k] = six * s * (one - s) * inverse / r
    for k in range(m):
        out = ey * window[0, k] + ex * window[1, k]
        root = one + quarter * out
        cube = root * root * root
        work[0, k] = max(cube * root, tiny)
        work[4, k] = background * cube * out
    for k in range(m):
        structure = height + tilt_u * work[ROW_U, k] + tilt_v * work[ROW_V, k]
        rate = max(background * work[0, k] + structure * work[1, k] + window[3, k], least)
        work[ROW_WEIGHT, k] = one / rate
        work[ROW_RESIDUAL, k] = window[2, k] - rate
        work[ROW_FALLING, k] = structure * work[ROW_STEEP, k]
    for k in range(n, m):
        work[ROW_WEIGHT, k] = zero
    for k in range(m):
        work[2, k] = work[1, k] * work[ROW_U, k] * per_radius
        work[3, k] = work[1, k] * work[ROW_V, k] * per_radius
    for k in range(m):
        u, v, falling, disk = work[ROW_U, k], work[ROW_V, k], work[ROW_FALLING, k], work[1, k]
        work[5, k] = falling * (u * a + v * c) - disk * flat_y
        work[6, k] = falling * (u * b + v * d) - disk * flat_x
    for i in range(PARAMETERS):
        for k in range(m):
            work[ROW_OVER + i, k] = work[i, k] * work[ROW_WEIGHT, k]


@njit(cache=True, nogil=True, fastmath=True)
def _four_products(work, one, first, m):
    """Return the sums of the products of one row with four rows in sequence."""
    s = t = u = v = np.float32(0)
    for k in range(m):
        a = work[one, k]
        s += a * work[first, k]
        t += a * work[first + 1, k]
        u += a * work[first + 2, k]
        v += a * work[first + 3, k]
    return s, t, u, v


@njit(cache=True, nogil=True)
def _products(work, n, normal, gradient):
    """Write the normal matrix (lower triangle) and the gradient of the log-likelihood."""
    m = padded(n)
    for i in range(PARAMETERS):
        s, t, u, v = _four_products(work, ROW_OVER + i, 0, m)
        normal[i, 0], normal[i, 1], normal[i, 2], normal[i, 3] = s, t, u, v
        if i >= 4:
            s, t, u, v = _four_products(work, ROW_OVER + i, 4, m)  # the residuals follow the derivatives
            normal[i, 4], normal[i, 5], normal[i, 6], gradient[i] = s, t, u, v
    s, t, u, v = _four_products(work, ROW_RESIDUAL, ROW_OVER, m)
    gradient[0], gradient[1], gradient[2], gradient[3] = s, t, u, v


@njit(cache=True, nogil=True, error_model="numpy")
def _factorize(normal):
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
def _solve(factor, vector):
    """Replace a vector by the solution of the system that was factorised."""
    for i in range(PARAMETERS):
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
    for i in range(PARAMETERS - 1, -1, -1):
        vector[i] *= factor[i, i]
        for k in range(i + 1, PARAMETERS):
            vector[i] -= factor[k, i] * vector[k]


@njit(cache=True, nogil=True)
def _variance(factor, i, vector):
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


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _radius_step(work, n, factor, vector):
    """Return by how much the radius should grow, and the information on it with all other parameters free."""
    m = padded(n)
    slope, information = np.float32(0), np.float32(0)
    for k in range(m):
        u, v = work[ROW_U, k], work[ROW_V, k]
        widening = work[ROW_FALLING, k] * math.sqrt(u * u + v * v)
        work[ROW_STEEP, k] = widening
        w = widening * work[ROW_WEIGHT, k]
        slope += work[ROW_RESIDUAL, k] * w
        information += widening * w
    vector[0], vector[1], vector[2], vector[3] = _four_products(work, ROW_STEEP, ROW_OVER, m)
    _, vector[4], vector[5], vector[6] = _four_products(work, ROW_STEEP, ROW_OVER + 3, m)
    whole = float(information)
    for i in range(PARAMETERS):  # what the other parameters explain of it, by forward substitution
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
        whole -= vector[i] * vector[i] * factor[i, i]
    whole = max(whole, 1e-3 * information + 1e-9)
    return slope / whole, whole


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
    gradient = normal[PARAMETERS]
    y0, x0, last_y, last_x = p[5], p[6], 0.0, 0.0
    for _ in range(iterations):
        _derivatives(window, n, p, outward, radius, edge, to_circle, profile, work)
        _products(work, n, normal, gradient)
        for i in range(3):
            unit = p[1] if i < 2 else 1.0
            certainty = 1 / (prior_sd[i] * unit) ** 2
            normal[2 + i, 2 + i] += certainty
            gradient[2 + i] -= (p[2 + i] - prior[i] * unit) * certainty
        normal[0, 0] += 1e-6
        normal[1, 1] += 1e-6
        if not _factorize(normal):
            return False
        _solve(normal, gradient)
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
    result[2], result[3] = _radius_step(work, n, normal, gradient)
    result[0], result[1] = _variance(normal, 5, gradient), normal[6, 6]
    for i in (2, 3, 4):
        unit = p[1] if i < 4 else 1.0
        result[2 + i] = _variance(normal, i, gradient) / (unit * unit)
    return True
