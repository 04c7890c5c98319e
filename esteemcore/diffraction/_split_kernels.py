"""Compiled loops that look for a second disk beside each fitted one."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction._frame_kernels import known_inside
from esteemcore.diffraction._pair_kernels import (
    LEAST_RATE,
    MOST,
    fit_together,
    gather_pair,
    put_disk,
    solved,
    write_disk,
)
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
def crowded(y, x, but, n, guess, look):
    """Return whether one of ``n`` fitted disks, other than `but`, is so near to a place that both are one."""
    for j in range(n):
        if j != but and (guess[j, 0] - y) ** 2 + (guess[j, 1] - x) ** 2 < (APART * look.radius) ** 2:
            return True
    return False


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
def split_disks(frame, prefix, n, beam, look, pair, guess, rows):
    """Look beside each of ``n`` fitted disks for another one, fit both together, and return the number of disks.

    ``prefix`` holds the sums down the columns of the frame; ``guess`` (disks, 3) place and height of what was fitted. A
    second disk is written behind the others where it makes the counts likelier by more than `look.least` + `MORE`
    deviations.
    """
    total, needed, prior = n, (look.least + MORE) ** 2, pair.prior
    alone, both = pair.alone, pair.both
    pair.anchor[:] = 0
    for i in range(n):
        row = rows[i]
        if math.isnan(row[3]) or total >= rows.shape[0]:
            continue
        value, y1, x1 = beside(prefix, i, total, guess, row[5], look)
        if value < WORTH:
            continue
        y0, x0 = math.floor(guess[i, 0] + 0.5), math.floor(guess[i, 1] + 0.5)
        pixels = gather_pair(frame, y0, x0, y1, x1, i, total, beam, look, guess, pair)
        known_inside(y0 - beam[0], x0 - beam[1], look, prior[0], pair.prior_sd[0])
        known_inside(y1 - beam[0], x1 - beam[1], look, prior[1], pair.prior_sd[1])
        height, away_y, away_x = guess[i, 2], y1 - guess[i, 0], x1 - guess[i, 1]
        close = 1.0 if away_y * away_y + away_x * away_x < (look.spacing * look.radius) ** 2 else 0.0
        alone[0], alone[1] = row[5], row[8]
        both[:2] = alone[:2]
        put_disk(0, guess[i, 0] - y0, guess[i, 1] - x0, height, row[6:8], alone)
        put_disk(
            0, alone[5] - 0.25 * close * away_y, alone[6] - 0.25 * close * away_x, height * (1 - 0.3 * close), prior[0],
            both,
        )  # fmt: skip
        put_disk(1, y1 - y0, x1 - x0, 0.5 * height, prior[1], both)
        gain = -2 * fit_together(pair, pixels, alone, 1, look)
        gain += 2 * fit_together(pair, pixels, both, 2, look)
        brighter, fainter = max(both[2], both[7]), min(both[2], both[7])
        gain /= 1 + look.speckle**2 * brighter * look.electrons
        between = (both[5] - both[10]) ** 2 + (both[6] - both[11]) ** 2
        moved = (both[10] + y0 - y1) ** 2 + (both[11] + x0 - x1) ** 2
        if (
            not needed <= gain < np.inf
            or fainter < LEAST_PART * brighter
            or between < (APART * look.radius) ** 2
            or moved > look.radius**2
            or crowded(y0 + both[5], x0 + both[6], i, total, guess, look)
            or crowded(y0 + both[10], x0 + both[11], i, total, guess, look)
            or not solved(pair.normal, MOST, pair.gradient)
        ):
            continue
        rows[total, 4] = math.sqrt(gain) - MORE
        write_disk(0, i, y0, x0, 2, look, pair, guess, rows)
        write_disk(1, total, y0, x0, 2, look, pair, guess, rows)
        total += 1
    return total
