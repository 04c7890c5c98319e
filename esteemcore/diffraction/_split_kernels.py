"""Compiled loops that look for a second disk beside each fitted one."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction._fit_kernels import add_disk
from esteemcore.diffraction._pair_kernels import COMMON, EACH, LEAST_RATE, MOST, fit_together, gather_pair, solved
from esteemcore.diffraction._score_kernels import sum_disk
from esteemcore.diffraction.look import OVERLAP_PER_PX

APART, BESIDE = 0.4, 2.2
"""Least and largest distance of a second disk, in radii."""

WORTH = 4.0
"""Least significance of what is left beside a disk, in standard deviations, for a fit of two."""

MORE = 2.5
"""By how much more significant than a disk alone a second one must be: its place is free as well."""

LEAST_PART = 0.2
"""Least height of the fainter disk of a pair, relative to the brighter one: less is the inside of one disk."""


@njit(cache=True, nogil=True)
def known_inside(y, x, look, mean, sd):
    """Write what is known about the inside of the reflection at a place relative to the direct beam."""
    known = look.reflections
    nearest, which = 0.25 * look.radius * look.radius, -1
    for i in range(known.shape[0]):
        distance = (y - known[i, 0]) ** 2 + (x - known[i, 1]) ** 2
        if distance < nearest:
            nearest, which = distance, i
    for i in range(3):
        mean[i] = look.inside[which, i] if which >= 0 else 0.0
        sd[i] = look.inside_sd[which, i] if which >= 0 else look.usual_sd[i]


@njit(cache=True, nogil=True)
def expected_counts(y, x, area, guess, n, background, look):
    """Return the counts that ``n`` fitted disks and the background leave in the disk round a pixel."""
    total = background * area
    last = look.overlap.shape[0] - 1
    for j in range(n):
        dy, dx = y - guess[j, 0], x - guess[j, 1]
        if dy * dy + dx * dx < look.meet * look.meet:
            a = look.to_circle[0, 0] * dy + look.to_circle[0, 1] * dx
            b = look.to_circle[1, 0] * dy + look.to_circle[1, 1] * dx
            total += guess[j, 2] * look.overlap[min(int(math.sqrt(a * a + b * b) * OVERLAP_PER_PX + 0.5), last)]
    return total


@njit(cache=True, nogil=True)
def beside(prefix, i, n, guess, background, look):
    """Return where round fitted disk `i` the most significant counts are left, and their significance."""
    rows, columns = look.share.shape
    nearest, furthest = APART * look.radius, BESIDE * look.radius
    y0, x0 = guess[i, 0], guess[i, 1]
    best, best_y, best_x = 0.0, -1, -1
    every = max(1, int(0.5 * look.radius))
    for y in range(max(0, int(y0 - furthest)), min(rows, int(y0 + furthest) + 2), every):
        for x in range(max(0, int(x0 - furthest)), min(columns, int(x0 + furthest) + 2), every):
            distance = (y - y0) ** 2 + (x - x0) ** 2
            if distance < nearest * nearest or distance > furthest * furthest or look.share[y, x] <= 0:
                continue
            held = float(sum_disk(prefix, look.pad, look.inner_span, y, x))
            if held < look.low:
                continue
            expected = max(expected_counts(y, x, look.area[y, x], guess, n, background, look), LEAST_RATE)
            excess = held - expected
            if excess <= 0 or excess * excess < best * best * expected:
                continue  # the root of twice the likelihood ratio is less than the excess in deviations
            value = math.sqrt(2 * (held * math.log(held / expected) - excess) / (1 + look.speckle**2 * expected))
            if value > best:
                best, best_y, best_x = value, y, x
    return best, best_y, best_x


@njit(cache=True, nogil=True)
def _others(window, pixels, y0, x0, i, n, guess, look):
    """Add the rates of all disks but disk i to those of other disks."""
    for j in range(n):
        dy, dx = guess[j, 0] - y0, guess[j, 1] - x0
        if j != i and dy * dy + dx * dx < (look.meet + 3 * look.radius) ** 2:
            add_disk(window, pixels, dy, dx, look.radius, look.edge, look.to_circle, look.profile, guess[j, 2])


@njit(cache=True, nogil=True)
def _back(factor, vector):
    """Replace a vector by the solution of the system whose Cholesky factor is known."""
    for i in range(MOST):
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
        vector[i] /= factor[i, i]
    for i in range(MOST - 1, -1, -1):
        for k in range(i + 1, MOST):
            vector[i] -= factor[k, i] * vector[k]
        vector[i] /= factor[i, i]


@njit(cache=True, nogil=True)
def _write_row(row, p, at, y0, x0, factor, electrons):
    """Write what was fitted of one disk of a pair, whose radius is not measured."""
    variance = np.empty(EACH)
    unit = np.empty(MOST)
    for i in range(EACH):
        unit[:] = 0
        unit[at + i] = 1
        _back(factor, unit)
        variance[i] = unit[at + i]
    height = p[at]
    row[0], row[1], row[2] = y0 + p[at + 3], x0 + p[at + 4], height * electrons
    row[3] = math.sqrt(0.5 * (variance[3] + variance[4]))
    row[5], row[6], row[7], row[8] = p[0], p[at + 1] / height, p[at + 2] / height, p[1]
    row[9] = math.sqrt(0.5 * (variance[1] + variance[2])) / height
    unit[:] = 0
    unit[1] = 1
    _back(factor, unit)
    row[10], row[11] = math.sqrt(unit[1]), np.nan


@njit(cache=True, nogil=True)
def split_disks(frame, prefix, n, center_y, center_x, look, guess, rows):
    """Look beside each of ``n`` fitted disks for another one, fit both together, and return the number of disks.

    ``prefix`` holds the sums down the columns of the frame; ``guess`` and ``rows`` are those of the fits. A second disk
    is written behind the others where it makes the counts likelier by more than `look.least` + `MORE` deviations.
    """
    total = n
    window = np.empty((4, look.pair_pixels), np.float32)
    p, single = np.empty(MOST), np.empty(MOST)
    normal, gradient = np.empty((MOST, MOST)), np.empty(MOST)
    prior, prior_sd, outward = np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2)
    needed = (look.least + MORE) ** 2
    for i in range(n):
        row = rows[i]
        if math.isnan(row[3]) or total >= guess.shape[0] or total >= rows.shape[0]:
            continue
        value, y1, x1 = beside(prefix, i, total, guess, row[5], look)
        if value < WORTH:
            continue
        y0, x0 = math.floor(guess[i, 0] + 0.5), math.floor(guess[i, 1] + 0.5)
        pixels = gather_pair(frame, look.valid, y0, x0, y1, x1, look.reach, window)
        _others(window, pixels, y0, x0, i, total, guess, look)
        dy, dx = y0 - center_y, x0 - center_x
        distance = max(math.sqrt(dy * dy + dx * dx), look.radius)
        outward[0], outward[1] = dy / distance, dx / distance
        known_inside(dy, dx, look, prior[0], prior_sd[0])
        known_inside(y1 - center_y, x1 - center_x, look, prior[1], prior_sd[1])
        height = guess[i, 2]
        single[0], single[1], single[2], single[3], single[4] = row[5], row[8], height, row[6] * height, row[7] * height
        single[5], single[6] = guess[i, 0] - y0, guess[i, 1] - x0
        p[:7] = single[:7]
        alone = fit_together(
            window, pixels, single, 1, outward, prior, prior_sd, look.radius, look.edge, look.to_circle, look.profile,
            0.2, normal, gradient,
        )  # fmt: skip
        away_y, away_x = y1 - guess[i, 0], x1 - guess[i, 1]
        close = 1.0 if away_y * away_y + away_x * away_x < (1.6 * look.radius) ** 2 else 0.0
        p[2] = height * (1 - 0.3 * close)
        p[3], p[4] = prior[0, 0] * p[2], prior[0, 1] * p[2]
        p[5], p[6] = p[5] - 0.25 * close * away_y, p[6] - 0.25 * close * away_x
        p[7] = 0.5 * height
        p[8], p[9] = prior[1, 0] * p[7], prior[1, 1] * p[7]
        p[10], p[11] = y1 - y0, x1 - x0
        both = fit_together(
            window, pixels, p, 2, outward, prior, prior_sd, look.radius, look.edge, look.to_circle, look.profile,
            0.2, normal, gradient,
        )  # fmt: skip
        brighter, fainter = max(p[2], p[7]), min(p[2], p[7])
        gain = 2 * (both - alone) / (1 + look.speckle**2 * brighter * look.electrons)
        between = (p[5] - p[10]) ** 2 + (p[6] - p[11]) ** 2
        moved = (p[10] + y0 - y1) ** 2 + (p[11] + x0 - x1) ** 2
        if (
            not gain >= needed
            or fainter < LEAST_PART * brighter
            or between < (APART * look.radius) ** 2
            or moved > look.radius**2
            or not solved(normal, MOST, gradient)
        ):
            continue
        rows[total, 4] = math.sqrt(gain) - MORE
        _write_row(row, p, 2, y0, x0, normal, look.electrons)
        _write_row(rows[total], p, 7, y0, x0, normal, look.electrons)
        for d, k in ((0, i), (1, total)):
            at = COMMON + EACH * d
            guess[k, 0], guess[k, 1], guess[k, 2] = y0 + p[at + 3], x0 + p[at + 4], p[at]
        total += 1
    return total
