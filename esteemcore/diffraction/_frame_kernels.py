"""Compiled loops over frames: find the disks of each, fit them, write one row per disk."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from esteemcore.diffraction._fit_kernels import PARAMETERS, WORK_ROWS, disk_rates, fit_disk, gather
from esteemcore.diffraction._score_kernels import best_places, score_frame, stands_out, sum_disk, sum_rows

COLUMNS = 12
"""Numbers in a row: y, x, intensity, sigma, score, background, two tilts, slope, their errors, radius."""

WHOLE = 0.99
"""Share of a disk on the detector from which on the centre of its counts is believed without a fit."""


class Scratch(NamedTuple):
    """Memory for the work on one frame, used again for the next."""

    prefix: Any
    inner: Any
    outer: Any
    score: Any
    place: Any
    best: Any
    guess: Any
    ring: Any
    window: Any
    work: Any


@njit(cache=True, nogil=True)
def make_scratch(ky, kx, zero, look):
    """Return scratch memory for frames (ky, kx) whose sums have the dtype of ``zero``."""
    size = (2 * int(look.reach) + 1) ** 2
    return Scratch(
        np.full((ky + 2 * look.pad, kx + 2 * look.pad + 1), zero),
        np.full((ky, kx), zero),
        np.full((ky, kx), zero),
        np.zeros((ky, kx)),
        np.empty(ky * kx, np.int64),
        np.empty(look.most, np.int64),
        np.empty((look.most, 6)),
        np.empty(128),
        np.empty((4, size), np.float32),
        np.empty((WORK_ROWS, size), np.float32),
    )


@njit(cache=True, nogil=True)
def _centroid(ys, xs, counts, n, radius, background):
    """Return how far the centre of the counts above the background lies from the place, at most 2 px either way."""
    total, sum_y, sum_x = 0.0, 0.0, 0.0
    limit = (radius + 1) ** 2
    for k in range(n):
        if ys[k] * ys[k] + xs[k] * xs[k] <= limit:
            value = counts[k] - background
            total += value
            sum_y += value * ys[k]
            sum_x += value * xs[k]
    if total <= 0:
        return 0.0, 0.0
    return min(max(sum_y / total, -2.0), 2.0), min(max(sum_x / total, -2.0), 2.0)


@njit(cache=True, nogil=True)
def _known_inside(y, x, center_y, center_x, look, mean, sd):
    """Write what is known about the inside of the reflection at a place."""
    nearest, which = 0.25 * look.radius * look.radius, -1
    known = look.reflections
    for i in range(known.shape[0]):
        distance = (y - center_y - known[i, 0]) ** 2 + (x - center_x - known[i, 1]) ** 2
        if distance < nearest:
            nearest, which = distance, i
    for i in range(3):
        mean[i] = look.inside[which, i] if which >= 0 else 0.0
        sd[i] = look.inside_sd[which, i] if which >= 0 else look.usual_sd[i]


@njit(cache=True, nogil=True)
def _fit_places(frame, look, n_best, center_y, center_x, scratch, rows):
    """Fit the disks at the best places of a frame, each on top of its neighbours, and write their rows.

    ``guess`` (places, 6): place, height, background and significance; the last says whether neighbours are near.
    """
    best, guess, window = scratch.best, scratch.guess, scratch.window
    columns = frame.shape[1]
    ys, xs, counts, others = window[0], window[1], window[2], window[3]
    p, result, start, mean = np.empty(PARAMETERS), np.zeros(7), np.empty(3), np.zeros(3)
    sd, outward = np.zeros(3), np.zeros(2)
    meet = (look.radius + look.edge + look.reach) ** 2
    for i in range(n_best):
        guess[i, 5] = 0
        for j in range(n_best):
            dy, dx = guess[j, 0] - guess[i, 0], guess[j, 1] - guess[i, 1]
            if j != i and dy * dy + dx * dx < meet:
                guess[i, 5] = 1
    for sweep in range(2):
        for i in range(n_best):
            crowded = guess[i, 5] > 0
            if sweep > 0 and not crowded:
                continue
            y0, x0 = best[i] // columns, best[i] % columns
            n = gather(frame, look.valid, y0, x0, look.reach, ys, xs, counts)
            others[:n] = 0
            if crowded:
                for j in range(n_best):
                    dy, dx = guess[j, 0] - y0, guess[j, 1] - x0
                    if j != i and dy * dy + dx * dx < meet:
                        disk_rates(ys, xs, n, dy, dx, look.radius, look.edge, look.to_circle, guess[j, 2], others)
            start[0] = guess[i, 2]
            if sweep == 0:
                start[1], start[2] = _centroid(ys, xs, counts, n, look.radius, guess[i, 3])
            else:
                start[1], start[2] = guess[i, 0] - y0, guess[i, 1] - x0
            _known_inside(y0 + start[1], x0 + start[2], center_y, center_x, look, mean, sd)
            dy, dx = y0 - center_y, x0 - center_x
            distance = max(math.sqrt(dy * dy + dx * dx), look.radius)
            outward[0], outward[1] = dy / distance, dx / distance
            good = fit_disk(ys, xs, counts, others, n, start, outward, mean, sd, look, scratch.work, p, result)
            row = rows[i]
            row[4] = guess[i, 4]
            if good:
                guess[i, 0], guess[i, 1], guess[i, 2] = y0 + p[5], x0 + p[6], p[1]
                row[3] = math.sqrt(0.5 * (result[0] + result[1]))
                row[5], row[6], row[7], row[8] = p[0], p[2] / p[1], p[3] / p[1], p[4]
                radius = look.radius + result[2]
                row[9], row[10] = math.sqrt(0.5 * (result[4] + result[5])), math.sqrt(result[6])
                row[11] = min(max(radius, 0.5 * look.radius), 2 * look.radius)
            else:
                guess[i, 0], guess[i, 1] = y0 + start[1], x0 + start[2]
                row[3], row[5] = np.nan, guess[i, 3]
                row[6:12] = np.nan
            row[0], row[1], row[2] = guess[i, 0], guess[i, 1], guess[i, 2] * look.electrons


@njit(cache=True, nogil=True)
def _find_in_frame(frame, look, scratch, rows):
    """Find and fit the disks of a frame, the most significant first, and return their number."""
    inner, score, place, best, guess = scratch.inner, scratch.score, scratch.place, scratch.best, scratch.guess
    prefix = scratch.prefix
    columns = frame.shape[1]
    sum_rows(frame, look.pad, prefix)
    found = score_frame(prefix, look, inner, scratch.outer, score, place)
    n = best_places(score, place, found, look, best)
    center_y, center_x = look.axis[0], look.axis[1]
    if n > 0 and math.isnan(center_y):
        brightest = 0
        for i in range(n):
            if inner.ravel()[best[i]] > inner.ravel()[best[brightest]]:
                brightest = i
        center_y, center_x = float(best[brightest] // columns), float(best[brightest] % columns)
    kept = 0
    for i in range(n):
        y, x = best[i] // columns, best[i] % columns
        value = min(score[y, x], stands_out(inner, y, x, center_y, center_x, look, scratch.ring))
        if value < look.least:
            continue
        held, area = float(inner[y, x]), look.area[y, x]
        around = float(sum_disk(prefix, look.pad, look.outer_span, y, x)) - held
        background = around / (area / look.share[y, x] - area)
        best[kept] = best[i]
        guess[kept, 0], guess[kept, 1] = y, x
        guess[kept, 2] = max((held - background * area) / look.electrons, 0.02)
        guess[kept, 3], guess[kept, 4] = background, value
        kept += 1
    for i in range(found):
        score[place[i] // columns, place[i] % columns] = 0
    _fit_places(frame, look, kept, center_y, center_x, scratch, rows)
    written = 0
    for i in range(kept):
        cut = look.area.ravel()[best[i]] < WHOLE * look.whole
        if cut and math.isnan(rows[i, 3]):
            continue  # the centre of the counts of a part of a disk says nothing
        rows[written] = rows[i]
        written += 1
    return written


@njit(cache=True, nogil=True)
def find_in_frames(frames, look, zero, number, rows):
    """Write the rows of the disks of frames (n, ky, kx) and how many each has; ``zero`` is a 0 of the sums' dtype.

    Returns
    -------
    int
        Number of rows.
    """
    n, ky, kx = frames.shape
    scratch = make_scratch(ky, kx, zero, look)
    frame = np.full((ky, kx), zero)  # whatever the dtype of the frames, the long work is compiled for two only
    at = 0
    for f in range(n):
        if look.masked:
            for y in range(ky):
                for x in range(kx):
                    if look.valid[y, x]:
                        frame[y, x] = frames[f, y, x]
        else:
            frame[:] = frames[f]
        number[f] = _find_in_frame(frame, look, scratch, rows[at:])
        at += number[f]
    return at


@njit(cache=True, nogil=True)
def find_in_events(offset, pixel, count, ky, kx, look, number, rows):
    """Do the same from the electrons of frames, which are spread out one frame after the other and taken back."""
    scratch = make_scratch(ky, kx, np.int32(0), look)
    frame, valid = np.zeros((ky, kx), np.int32), look.valid.ravel()
    flat = frame.reshape(ky * kx)
    at = 0
    for f in range(offset.shape[0] - 1):
        for e in range(offset[f], offset[f + 1]):
            if valid[pixel[e]]:
                flat[pixel[e]] += count[e]
        number[f] = _find_in_frame(frame, look, scratch, rows[at:])
        at += number[f]
        for e in range(offset[f], offset[f + 1]):
            flat[pixel[e]] = 0
    return at
