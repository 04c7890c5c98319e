"""Compiled loops that fit a soft disk with an inner structure to the counts of a frame."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

PARAMETERS = 7
"""Background, height, two tilts, slope of the background, two coordinates; the place last, to tell it from the rest."""

ROW_RESIDUAL, ROW_U, ROW_V, ROW_STEEP, ROW_FALLING, ROW_WEIGHT = range(2 * PARAMETERS, 2 * PARAMETERS + 6)
"""Rows of the work space behind the derivatives and those over the rates."""

WORK_ROWS = 2 * PARAMETERS + 6
"""Rows of the work space."""

LEAST_RATE = np.float32(1e-3)
"""Counts per pixel below which no background is believed."""


@njit(cache=True, nogil=True)
def gather(frame, valid, y0, x0, reach, ys, xs, counts):
    """Copy the valid pixels within `reach` of a place and return their number; coordinates relative to the place."""
    rows, columns = frame.shape
    n = 0
    limit = reach * reach
    r = int(reach)
    for y in range(max(0, y0 - r), min(rows, y0 + r + 1)):
        for x in range(max(0, x0 - r), min(columns, x0 + r + 1)):
            dy, dx = y - y0, x - x0
            if dy * dy + dx * dx <= limit and valid[y, x]:
                ys[n], xs[n], counts[n] = dy, dx, frame[y, x]
                n += 1
    return n


@njit(cache=True, nogil=True, fastmath=True)
def disk_rates(ys, xs, n, cy, cx, radius, edge, to_circle, height, out):
    """Add the rates of a flat disk to ``out``; the edge is a smooth step of width `edge`."""
    a, b = np.float32(to_circle[0, 0]), np.float32(to_circle[0, 1])
    c, d = np.float32(to_circle[1, 0]), np.float32(to_circle[1, 1])
    y0, x0, top = np.float32(cy), np.float32(cx), np.float32(radius / edge + 0.5)
    inverse, high = np.float32(1 / edge), np.float32(height)
    zero, one, two, three = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
    for k in range(n):
        dy, dx = ys[k] - y0, xs[k] - x0
        u, v = a * dy + b * dx, c * dy + d * dx
        s = min(max(top - math.sqrt(u * u + v * v) * inverse, zero), one)
        out[k] += high * s * s * (three - two * s)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _derivatives(ys, xs, counts, others, n, p, outward, radius, edge, to_circle, work):
    """Write the derivatives of the rates, the same over the rates, and the residuals of all pixels to ``work``.

    The background grows as (1 + slope * out / 4)^4, which is nearly an exponential, and is never negative. Many short
    loops over few rows, because the compiler turns only those into vector instructions.
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
    grown, disk, sloping, residual = work[0], work[1], work[4], work[ROW_RESIDUAL]
    us, vs, steep, falling, inverse_rate = (
        work[ROW_U],
        work[ROW_V],
        work[ROW_STEEP],
        work[ROW_FALLING],
        work[ROW_WEIGHT],
    )
    for k in range(n):
        us[k] = a * (ys[k] - y0) + b * (xs[k] - x0)
    for k in range(n):
        vs[k] = c * (ys[k] - y0) + d * (xs[k] - x0)
    for k in range(n):
        r = math.sqrt(us[k] * us[k] + vs[k] * vs[k] + tiny)
        s = min(max(top - r * inverse, zero), one)
        disk[k] = s * s * (three - two * s)
        steep[k] = six * s * (one - s) * inverse / r
    for k in range(n):
        out = ey * ys[k] + ex * xs[k]
        root = one + quarter * out
        cube = root * root * root
        grown[k] = max(cube * root, tiny)
        sloping[k] = background * cube * out
    for k in range(n):
        structure = height + tilt_u * us[k] + tilt_v * vs[k]
        inverse_rate[k] = one / max(background * grown[k] + structure * disk[k] + others[k], least)
    for k in range(n):
        falling[k] = (height + tilt_u * us[k] + tilt_v * vs[k]) * steep[k]
    for k in range(n):
        residual[k] = counts[k] - one / inverse_rate[k]
    along_u, along_v, by_y, by_x = work[2], work[3], work[5], work[6]
    for k in range(n):
        along_u[k] = disk[k] * us[k] * per_radius
    for k in range(n):
        along_v[k] = disk[k] * vs[k] * per_radius
    flat_y, flat_x = tilt_u * a + tilt_v * c, tilt_u * b + tilt_v * d
    for k in range(n):
        by_y[k] = falling[k] * (us[k] * a + vs[k] * c) - disk[k] * flat_y
    for k in range(n):
        by_x[k] = falling[k] * (us[k] * b + vs[k] * d) - disk[k] * flat_x
    for i in range(PARAMETERS):
        row, over = work[i], work[PARAMETERS + i]
        for k in range(n):
            over[k] = row[k] * inverse_rate[k]


@njit(cache=True, nogil=True, fastmath=True)
def _products(work, n, normal, gradient):
    """Write the normal matrix (lower triangle) and the gradient of the log-likelihood."""
    residual = work[ROW_RESIDUAL]
    for i in range(PARAMETERS):
        row = work[PARAMETERS + i]
        total = np.float32(0)
        for k in range(n):
            total += row[k] * residual[k]
        gradient[i] = total
        for j in range(i + 1):
            other = work[j]
            total = np.float32(0)
            for k in range(n):
                total += row[k] * other[k]
            normal[i, j] = total


@njit(cache=True, nogil=True)
def _cholesky(normal):
    """Replace the lower triangle of a matrix by its Cholesky factor; False if it has none."""
    for i in range(PARAMETERS):
        for j in range(i + 1):
            total = normal[i, j]
            for k in range(j):
                total -= normal[i, k] * normal[j, k]
            if i == j:
                if total <= 1e-12:
                    return False
                normal[i, i] = math.sqrt(total)
            else:
                normal[i, j] = total / normal[j, j]
    return True


@njit(cache=True, nogil=True)
def _solve(factor, vector):
    """Replace a vector by the solution of the system that was factorised."""
    for i in range(PARAMETERS):
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
        vector[i] /= factor[i, i]
    for i in range(PARAMETERS - 1, -1, -1):
        for k in range(i + 1, PARAMETERS):
            vector[i] -= factor[k, i] * vector[k]
        vector[i] /= factor[i, i]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _radius_step(work, n, factor, vector):
    """Return by how much the radius should grow, and the information on it with all other parameters free."""
    widening, us, vs, falling = work[ROW_STEEP], work[ROW_U], work[ROW_V], work[ROW_FALLING]
    for k in range(n):
        widening[k] = falling[k] * math.sqrt(us[k] * us[k] + vs[k] * vs[k])
    for i in range(PARAMETERS):
        row = work[PARAMETERS + i]
        total = np.float32(0)
        for k in range(n):
            total += row[k] * widening[k]
        vector[i] = total
    slope, information = np.float32(0), np.float32(0)
    residual, inverse_rate = work[ROW_RESIDUAL], work[ROW_WEIGHT]
    for k in range(n):
        w = widening[k] * inverse_rate[k]
        slope += residual[k] * w
        information += widening[k] * w
    whole = float(information)
    for i in range(PARAMETERS):  # what the other parameters explain of it, by forward substitution
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
        vector[i] /= factor[i, i]
        whole -= vector[i] * vector[i]
    whole = max(whole, 1e-3 * information + 1e-9)
    return slope / whole, whole


@njit(cache=True, nogil=True)
def fit_disk(ys, xs, counts, others, n, start, outward, prior, prior_sd, look, work, p, result):
    """Fit a disk to pixels by Fisher scoring; ``start``: height, and the place relative to the window.

    The tilts, in units of the height, and the relative slope of the background along ``outward`` (2,) have a Gaussian
    prior ``prior`` (3,), ``prior_sd`` (3,). Writes to ``p`` what is fitted, and to ``result`` the variance of the place
    along rows and columns, the step of the radius that the counts ask for with its information, and the variances of
    tilts and slope.

    Returns
    -------
    bool
        False where the counts do not determine a place within half a radius of the start.
    """
    radius = look.radius
    normal, gradient = np.empty((PARAMETERS, PARAMETERS)), np.empty(PARAMETERS)
    y0, x0 = start[1], start[2]
    beyond, pixels = 0.0, 0
    for k in range(n):
        if (ys[k] - y0) ** 2 + (xs[k] - x0) ** 2 > (radius + 1.2) ** 2:
            beyond += counts[k] - others[k]
            pixels += 1
    p[0] = max(beyond / max(pixels, 1), 0.01)
    p[1] = max(start[0], 0.02)
    p[2], p[3], p[4] = prior[0] * p[1], prior[1] * p[1], prior[2]
    p[5], p[6] = y0, x0
    for _ in range(look.iterations):
        _derivatives(ys, xs, counts, others, n, p, outward, radius, look.edge, look.to_circle, work)
        _products(work, n, normal, gradient)
        for i in range(3):
            unit = p[1] if i < 2 else 1.0
            certainty = 1 / (prior_sd[i] * unit) ** 2
            normal[2 + i, 2 + i] += certainty
            gradient[2 + i] -= (p[2 + i] - prior[i] * unit) * certainty
        normal[0, 0] += 1e-6
        normal[1, 1] += 1e-6
        if not _cholesky(normal):
            return False
        _solve(normal, gradient)
        far = max(abs(gradient[5]), abs(gradient[6]))
        if far > 1.0:
            gradient[5] /= far
            gradient[6] /= far
        for i in range(PARAMETERS):
            p[i] += gradient[i]
        p[0] = max(p[0], 3 * LEAST_RATE)
        p[1] = max(p[1], 0.01)
        p[4] = min(max(p[4], -0.4), 0.4)
        if (p[5] - y0) ** 2 + (p[6] - x0) ** 2 > 0.25 * radius * radius:
            return False
        if far < 0.01:
            break
    a, b, c = normal[5, 5], normal[6, 5], normal[6, 6]
    result[0] = (c * c + b * b) / (a * a * c * c)
    result[1] = 1 / (c * c)
    result[2], result[3] = _radius_step(work, n, normal, gradient)
    for i in (2, 3, 4):
        gradient[:] = 0
        gradient[i] = 1
        _solve(normal, gradient)
        unit = p[1] if i < 4 else 1.0
        result[2 + i] = gradient[i] / (unit * unit)
    return True
