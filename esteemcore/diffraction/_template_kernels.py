"""Compiled loops that fit the image of the probe, with an inner structure, to the counts of a frame."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction._fit_kernels import PARAMETERS, factorize, solve, variance

COUNTS, OTHERS, GOOD = range(3)
"""Rows of a window: counts, rates of other disks, and 1 where a pixel is good."""

ROW_RESIDUAL, ROW_OVER = PARAMETERS, PARAMETERS + 1
"""Rows of the work space behind the derivatives: the residuals, and the first of the derivatives over the rates."""

ROW_V, ROW_U, ROW_ALONG_Y, ROW_ALONG_X, ROW_WEIGHT, ROW_RATE, ROW_BEFORE = range(
    ROW_OVER + PARAMETERS, ROW_OVER + PARAMETERS + 7
)
"""Rows behind them: pixels from the place along rows and columns in radii, both derivatives of the template, the weight
of a pixel, its rate, and that before the last step."""

TEMPLATE_ROWS = ROW_BEFORE + 1
"""Rows of the work space."""

LEAST_RATE = np.float32(1e-3)
"""Counts per pixel below which no background is believed."""

FIRST_DAMPING = 0.01
"""How much longer the diagonal of the information is at first (Levenberg and Marquardt): bright disks on a dark
background have narrow valleys, in which whole steps go to and fro."""

BEYOND = 0.75
"""Distance in px along rows or columns from the middle of a window up to which a place is fitted in it."""


@njit(cache=True, nogil=True)
def gather_window(frame, model, look, y0, x0, window):
    """Copy counts and rates of other disks in the window round a pixel; 0 and not good beyond edge and mask."""
    span, reach = look.span, look.span.shape[0] // 2
    whole = look.clear[y0, x0]
    n = 0
    for j in range(span.shape[0]):
        half, y = span[j], y0 + j - reach
        if whole:
            for x in range(x0 - half, x0 + half + 1):
                window[COUNTS, n], window[OTHERS, n], window[GOOD, n] = frame[y, x], max(model[y, x], 0.0), 1
                n += 1
            continue
        for x in range(x0 - half, x0 + half + 1):
            window[COUNTS, n] = window[OTHERS, n] = window[GOOD, n] = 0
            if 0 <= y < frame.shape[0] and 0 <= x < frame.shape[1] and look.valid[y, x]:
                window[COUNTS, n], window[OTHERS, n], window[GOOD, n] = frame[y, x], max(model[y, x], 0.0), 1
            n += 1


@njit(cache=True, nogil=True)
def _cell(table, y, x):
    """Return the steps of the table round a place, and the weights of its four corners."""
    steps = table.shape[0] - 1
    v, u = (y + 0.5) * steps, (x + 0.5) * steps
    i, j = min(max(math.floor(v), 0), steps - 1), min(max(math.floor(u), 0), steps - 1)
    v, u = v - i, u - j
    return i, j, np.float32((1 - v) * (1 - u)), np.float32((1 - v) * u), np.float32(v * (1 - u)), np.float32(v * u)


@njit(cache=True, nogil=True, fastmath=True)
def _between(a, b, c, d, p, q, r, s, out):
    """Write the weighted sum of four rows."""
    for k in range(out.shape[0]):
        out[k] = p * a[k] + q * b[k] + r * c[k] + s * d[k]


@njit(cache=True, nogil=True)
def template_at(table, y, x, kind, out):
    """Write the template (kind 0) or a derivative (1, 2), a place off the middle of a window, linear between steps."""
    i, j, p, q, r, s = _cell(table, y, x)
    _between(table[i, j, kind], table[i, j + 1, kind], table[i + 1, j, kind], table[i + 1, j + 1, kind],
             p, q, r, s, out)  # fmt: skip


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def derivatives(window, place, p, outward, radius, table, work):
    """Write rates, residuals and the derivatives of the rates of all pixels, see `fit_template`, to ``work``.

    ``place`` (2, pixels) holds the pixels from the middle of the window. Many short loops over few rows, because the
    compiler turns only those into vector instructions. The padding is not good.
    """
    template_at(table, p[5], p[6], 0, work[1])
    template_at(table, p[5], p[6], 1, work[ROW_ALONG_Y])
    template_at(table, p[5], p[6], 2, work[ROW_ALONG_X])
    background, height = np.float32(p[0]), np.float32(p[1])
    tilt_y, tilt_x = np.float32(p[2]), np.float32(p[3])
    quarter, ey, ex = np.float32(0.25 * p[4]), np.float32(outward[0]), np.float32(outward[1])
    y0, x0, per_radius = np.float32(p[5]), np.float32(p[6]), np.float32(1 / radius)
    zero, one, tiny, least = np.float32(0), np.float32(1), np.float32(1e-12), LEAST_RATE
    flat_y, flat_x = tilt_y * per_radius, tilt_x * per_radius
    m = place.shape[1]
    for k in range(m):
        dy, dx = place[0, k], place[1, k]
        out = ey * dy + ex * dx
        root = one + quarter * out
        cube = root * root * root
        work[0, k] = max(cube * root, tiny)
        work[4, k] = background * cube * out
        work[ROW_V, k] = (dy - y0) * per_radius
        work[ROW_U, k] = (dx - x0) * per_radius
    for k in range(m):
        structure = height + tilt_y * work[ROW_V, k] + tilt_x * work[ROW_U, k]
        rate = background * work[0, k] + structure * work[1, k] + window[OTHERS, k]
        moves = window[GOOD, k] if rate > least else zero
        rate = max(rate, least)
        work[ROW_RATE, k] = rate
        work[ROW_WEIGHT, k] = moves / rate
        work[ROW_RESIDUAL, k] = window[COUNTS, k] - rate
        work[5, k] = -structure * work[ROW_ALONG_Y, k] - flat_y * work[1, k]
        work[6, k] = -structure * work[ROW_ALONG_X, k] - flat_x * work[1, k]
    for k in range(m):
        work[2, k] = work[1, k] * work[ROW_V, k]
        work[3, k] = work[1, k] * work[ROW_U, k]
    for i in range(PARAMETERS):
        for k in range(m):
            work[ROW_OVER + i, k] = work[i, k] * work[ROW_WEIGHT, k]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def likelier(window, work):
    """Return by how much the last step has made the counts likelier, precisely where that is little.

    The logarithm of the ratio of two rates a, b is twice the inverse hyperbolic tangent of (a - b) / (a + b), here four
    terms of its series: a step that changes rates more than threefold is judged too cautiously.
    """
    total = np.float32(0)
    one, two = np.float32(1), np.float32(2)
    third, fifth, seventh = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7)
    for k in range(window.shape[1]):
        now, before = work[ROW_RATE, k], work[ROW_BEFORE, k]
        z = (now - before) / (now + before)
        square = z * z
        log = two * z * (one + square * (third + square * (fifth + square * seventh)))
        total += window[GOOD, k] * (window[COUNTS, k] * log - (now - before))
    return float(total)


@njit(cache=True, nogil=True, fastmath=True)
def _four_products(work, one, first):
    """Return the sums of the products of one row with four rows in sequence."""
    s = t = u = v = np.float32(0)
    for k in range(work.shape[1]):
        a = work[one, k]
        s += a * work[first, k]
        t += a * work[first + 1, k]
        u += a * work[first + 2, k]
        v += a * work[first + 3, k]
    return s, t, u, v


@njit(cache=True, nogil=True)
def _information(work, p, prior, prior_sd, normal):
    """Write the normal matrix and, behind it, the gradient, both with the prior; return its logarithm at ``p``."""
    gradient, log = normal[PARAMETERS], 0.0
    for i in range(PARAMETERS):
        s, t, u, v = _four_products(work, ROW_OVER + i, 0)
        normal[i, 0], normal[i, 1], normal[i, 2], normal[i, 3] = s, t, u, v
        s, t, u, v = _four_products(work, ROW_OVER + i, 4)  # the residuals follow the derivatives
        normal[i, 4], normal[i, 5], normal[i, 6], gradient[i] = s, t, u, v
    for i in range(3):
        unit = p[1] if i < 2 else 1.0
        certainty = 1 / (prior_sd[i] * unit) ** 2
        off = p[2 + i] - prior[i] * unit
        normal[2 + i, 2 + i] += certainty
        gradient[2 + i] -= off * certainty
        log -= 0.5 * off * off * certainty
    for i in range(PARAMETERS):
        normal[i, i] += 1e-6
    return log


@njit(cache=True, nogil=True)
def fit_template(frame, model, look, middle, outward, prior, prior_sd, near, window, work, normal, p, result):
    r"""Fit the template to the counts round a place by damped Fisher scoring, from ``p`` on.

    .. math:: \lambda = B (1 + g \rho / 4)^4 + (A + t \cdot u / R)\, T(u) + \text{model}, \quad u = x - c

    ``p`` holds B, A, both t, g and c, relative to the pixel ``middle`` (2,), which moves with it; the last step is one
    of the place by less than `near` standard errors. A step that makes the counts less likely is taken back. ``prior``,
    ``prior_sd`` and ``result`` are those of `esteemcore.diffraction._fit_kernels.fit_disk`, ``model`` the rates of the
    other disks; ``window``, ``work`` and ``normal`` (16, 7) are scratch memory.

    Returns
    -------
    bool
        False where the counts do not determine a place within half a radius of the start.
    """
    radius, table, place = look.radius, look.table, look.place
    kept, damped = normal[: PARAMETERS + 1], normal[PARAMETERS + 1 :]
    trial, step = np.empty(PARAMETERS), damped[PARAMETERS]
    start_y, start_x = middle[0] + p[5], middle[1] + p[6]
    gather_window(frame, model, look, middle[0], middle[1], window)
    derivatives(window, place, p, outward, radius, table, work)
    before = _information(work, p, prior, prior_sd, kept)
    damping, current = FIRST_DAMPING, True
    for _ in range(look.iterations):
        damped[:] = kept
        for i in range(PARAMETERS):
            damped[i, i] *= 1 + damping
        if not factorize(damped):
            return False
        solve(damped, step)
        far = max(abs(step[5]), abs(step[6]), 1.0)
        step[5] /= far
        step[6] /= far
        for i in range(PARAMETERS):
            trial[i] = p[i] + step[i]
        trial[0] = max(trial[0], 0.2 * p[0], 3 * LEAST_RATE)
        trial[1] = max(trial[1], 0.2 * p[1], 0.01)
        trial[4] = min(max(trial[4], -0.4), 0.4)
        trial[5], trial[6] = min(max(trial[5], -BEYOND), BEYOND), min(max(trial[6], -BEYOND), BEYOND)
        sideways = step[5] + damped[6, 5] * step[6]
        small = sideways * sideways / damped[5, 5] + step[6] * step[6] / damped[6, 6] < near * near
        if small and current and abs(trial[5]) < BEYOND and abs(trial[6]) < BEYOND:
            p[:] = trial
            break
        if small and damping >= 1:
            break
        work[ROW_BEFORE] = work[ROW_RATE]
        derivatives(window, place, trial, outward, radius, table, work)
        now = _information(work, trial, prior, prior_sd, damped)
        current = likelier(window, work) + now - before >= 0
        if not current:
            work[ROW_RATE] = work[ROW_BEFORE]
            damping *= 8
            continue
        p[:], kept[:], before = trial, damped, now
        damping *= 0.1
        if (middle[0] + p[5] - start_y) ** 2 + (middle[1] + p[6] - start_x) ** 2 > 0.25 * radius * radius:
            return False
        if max(abs(p[5]), abs(p[6])) > 0.5:  # the window moves along
            move_y, move_x = math.floor(p[5] + 0.5), math.floor(p[6] + 0.5)
            y, x = middle[0] + move_y, middle[1] + move_x
            if not (0 <= y < frame.shape[0] and 0 <= x < frame.shape[1]):
                return False
            middle[0], middle[1] = y, x
            p[5] -= move_y
            p[6] -= move_x
            gather_window(frame, model, look, y, x, window)
            derivatives(window, place, p, outward, radius, table, work)
            before = _information(work, p, prior, prior_sd, kept)
    if not current:
        derivatives(window, place, p, outward, radius, table, work)
    if not factorize(kept):
        return False
    _measure(work, p, kept, step, result)
    return True


@njit(cache=True, nogil=True, fastmath=True)
def _grown(work):
    """Return the information of the growth in `ROW_BEFORE`, and how much of it the residuals ask for."""
    information, slope = np.float32(0), np.float32(0)
    for k in range(work.shape[1]):
        weighted = work[ROW_BEFORE, k] * work[ROW_WEIGHT, k]
        information += work[ROW_BEFORE, k] * weighted
        slope += work[ROW_RESIDUAL, k] * weighted
    return information, slope


@njit(cache=True, nogil=True)
def _measure(work, p, factor, vector, result):
    """Write variances, and the step of the radius with its information, as `fit_disk` of plain disks does."""
    grows = ROW_BEFORE
    for k in range(work.shape[1]):  # how the rates grow with the radius: against the gradient, from the middle on
        v, u = work[ROW_V, k], work[ROW_U, k]
        structure = np.float32(p[1]) + np.float32(p[2]) * v + np.float32(p[3]) * u
        work[grows, k] = -structure * (v * work[ROW_ALONG_Y, k] + u * work[ROW_ALONG_X, k])
    information, slope = _grown(work)
    vector[0], vector[1], vector[2], vector[3] = _four_products(work, grows, ROW_OVER)
    _, vector[4], vector[5], vector[6] = _four_products(work, grows, ROW_OVER + 3)
    whole = information
    for i in range(PARAMETERS):  # what the other parameters explain of it, by forward substitution
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
        whole -= vector[i] * vector[i] * factor[i, i]
    whole = max(whole, 1e-3 * information + 1e-9)
    result[2], result[3] = slope / whole, whole
    result[0], result[1] = variance(factor, 5, vector), factor[6, 6]
    for i in (2, 3, 4):
        unit = p[1] if i < 4 else 1.0
        result[2 + i] = variance(factor, i, vector) / (unit * unit)


@njit(cache=True, nogil=True)
def add_template(model, look, middle, p, sign, work):
    """Add the rates of a fitted disk, without its background, to those of a frame, or take them away."""
    template_at(look.table, p[5], p[6], 0, work[1])
    span, reach, n = look.span, look.span.shape[0] // 2, 0
    for j in range(span.shape[0]):
        half, y = span[j], middle[0] + j - reach
        v = (j - reach - p[5]) / look.radius
        if 0 <= y < model.shape[0]:
            for i in range(2 * half + 1):
                x = middle[1] + i - half
                if 0 <= x < model.shape[1]:
                    structure = p[1] + p[2] * v + p[3] * (i - half - p[6]) / look.radius
                    model[y, x] += sign * max(structure, 0.0) * max(work[1, n + i], 0.0)
        n += 2 * half + 1


@njit(cache=True, nogil=True, error_model="numpy")
def gain_of_disk(window, n, p, work):
    """Return by how much a disk makes the counts likelier than a higher background on top of its neighbours."""
    least, higher = float(LEAST_RATE), 1.0
    for _ in range(6):  # the likeliest factor of the background without the disk, by Fisher scoring
        slope = information = 0.0
        for k in range(n):
            even = window[GOOD, k] * p[0] * work[0, k]
            without = max(higher * p[0] * work[0, k] + window[OTHERS, k], least)
            slope += even * (window[COUNTS, k] / without - 1)
            information += even * even / without
        last = higher
        higher = max(higher + slope / information, 0.5 * higher)
        if abs(higher - last) < 1e-3 * last:
            break
    total = 0.0
    for k in range(n):
        without = max(higher * p[0] * work[0, k] + window[OTHERS, k], least)
        rate = float(work[ROW_RATE, k])
        total -= window[GOOD, k] * (rate - without)
        if window[COUNTS, k] > 0:
            total += window[COUNTS, k] * math.log(rate / without)
    return total
