"""Compiled loops over frames: find the disks of each, fit them, write one row per disk."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from esteemcore.diffraction._event_kernels import MOST_ELECTRONS, make_sums, score_events, sum_events
from esteemcore.diffraction._fit_kernels import (
    AT_ONCE,
    PARAMETERS,
    WORK_ROWS,
    add_disk,
    center_of_counts,
    first_guess,
    fit_disk,
    gather,
    gather_whole,
)
from esteemcore.diffraction._score_kernels import best_places, score_sums, stands_out, sum_columns, sum_disks

COLUMNS = 12
"""Numbers in a row: y, x, intensity, sigma, score, background, two tilts, slope, their errors, radius."""

FEW = 0.05
"""Share of the pixels with electrons up to which these are quicker summed one by one than the frame as a whole."""

NEAR_FIRST, NEAR_AGAIN = 0.5, 0.2
"""A step of the place shorter than this, in standard errors of the place, is the last one of a fit; the next one would
be some five times shorter. The first counts where a disk is fitted once, the second where it is fitted again."""

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
    normal: Any


@njit(cache=True, nogil=True)
def make_scratch(ky, kx, zero, look):
    """Return scratch memory for frames (ky, kx) whose sums have the dtype of ``zero``."""
    size = (2 * int(look.reach) + 1) ** 2 + AT_ONCE
    return Scratch(
        np.full((ky + 2 * look.pad + 1, kx + 2 * look.pad), zero),
        np.full((ky, kx), zero),
        np.full((ky, kx), zero),
        np.zeros((ky, kx)),
        np.empty(ky * kx, np.int64),
        np.empty(look.most, np.int64),
        np.empty((look.most, 6)),
        np.empty((3, 128)),
        np.empty((4, size), np.float32),
        np.empty((WORK_ROWS, size), np.float32),
        np.empty((PARAMETERS + 1, PARAMETERS)),
    )


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
def _fit_places(frame, look, n_best, center_y, center_x, again, scratch, rows):
    """Fit the disks at the best places of a frame, each on top of its neighbours, and write their rows.

    ``guess`` (places, 6): place, height, background and significance; the last says whether neighbours are near. With
    `again` the rows hold what was fitted before: fits start there, and it stays where they fail.
    """
    best, guess, window = scratch.best, scratch.guess, scratch.window
    work, normal, columns = scratch.work, scratch.normal, frame.shape[1]
    radius, edge, to_circle, profile = look.radius, look.edge, look.to_circle, look.profile
    p, result, start, mean = np.empty(PARAMETERS), np.zeros(7), np.empty(3), np.zeros(3)
    sd, outward = np.zeros(3), np.zeros(2)
    meet = (radius + edge + look.reach) ** 2
    for i in range(n_best):
        guess[i, 5] = 0
        for j in range(n_best):
            dy, dx = guess[j, 0] - guess[i, 0], guess[j, 1] - guess[i, 1]
            if j != i and dy * dy + dx * dx < meet:
                guess[i, 5] = 1
    for sweep in range(1 if again else 2):
        for i in range(n_best):
            crowded = guess[i, 5] > 0
            if sweep > 0 and not crowded:
                continue
            y0, x0 = best[i] // columns, best[i] % columns
            if look.clear[y0, x0]:
                n = gather_whole(frame, y0, x0, look.window_places, look.window, window)
            else:
                n = gather(frame, look.valid, y0, x0, look.reach, window)
            if crowded:
                for j in range(n_best):
                    dy, dx = guess[j, 0] - y0, guess[j, 1] - x0
                    if j != i and dy * dy + dx * dx < meet:
                        add_disk(window, n, dy, dx, radius, edge, to_circle, profile, guess[j, 2])
            row = rows[i]
            warm = again and not math.isnan(row[3])
            start[0] = guess[i, 2]
            if sweep == 0 and not warm:
                start[1], start[2] = center_of_counts(window, n, radius, guess[i, 3])
            else:
                start[1], start[2] = guess[i, 0] - y0, guess[i, 1] - x0
            dy, dx = y0 - center_y, x0 - center_x
            known_inside(dy + start[1], dx + start[2], look, mean, sd)
            distance = max(math.sqrt(dy * dy + dx * dx), radius)
            outward[0], outward[1] = dy / distance, dx / distance
            if warm:
                p[0], p[1], p[2], p[3] = row[5], guess[i, 2], row[6] * guess[i, 2], row[7] * guess[i, 2]
                p[4], p[5], p[6] = row[8], start[1], start[2]
            else:
                first_guess(window, n, start, mean, radius, p)
            good = fit_disk(
                window,
                n,
                outward,
                mean,
                sd,
                radius,
                edge,
                to_circle,
                profile,
                NEAR_AGAIN if again else NEAR_FIRST,
                look.iterations,
                work,
                normal,
                p,
                result,
            )
            if not good and warm:
                continue
            row[4] = guess[i, 4]
            if good:
                guess[i, 0], guess[i, 1], guess[i, 2] = y0 + p[5], x0 + p[6], p[1]
                row[3] = math.sqrt(0.5 * (result[0] + result[1]))
                row[5], row[6], row[7], row[8] = p[0], p[2] / p[1], p[3] / p[1], p[4]
                found = radius + result[2]
                row[9], row[10] = math.sqrt(0.5 * (result[4] + result[5])), math.sqrt(result[6])
                row[11] = min(max(found, 0.5 * radius), 2 * radius)
            else:
                guess[i, 0], guess[i, 1] = y0 + start[1], x0 + start[2]
                row[3], row[5] = np.nan, guess[i, 3]
                row[6:12] = np.nan
            row[0], row[1], row[2] = guess[i, 0], guess[i, 1], guess[i, 2] * look.electrons


@njit(cache=True, nogil=True)
def _fit_found(frame, found, look, axis, inner, outer, scratch, rows):
    """Fit the disks at the best of the places with a score, the most significant first, and return their number."""
    score, place, best, guess = scratch.score, scratch.place, scratch.best, scratch.guess
    columns = frame.shape[1]
    n = best_places(score, place, found, look, best)
    center_y, center_x = axis[0], axis[1]
    if n > 0 and math.isnan(center_y):
        most = inner[best[0] // columns, best[0] % columns]
        center_y, center_x = float(best[0] // columns), float(best[0] % columns)
        for i in range(1, n):
            y, x = best[i] // columns, best[i] % columns
            if inner[y, x] > most:
                most, center_y, center_x = inner[y, x], float(y), float(x)
    kept = 0
    for i in range(n):
        y, x = best[i] // columns, best[i] % columns
        value = min(score[y, x], stands_out(inner, y, x, center_y, center_x, look, scratch.ring))
        if value < look.least:
            continue
        held, area = float(inner[y, x]), look.area[y, x]
        around = float(outer[y, x]) - held
        background = around / (area / look.share[y, x] - area)
        best[kept] = best[i]
        guess[kept, 0], guess[kept, 1] = y, x
        guess[kept, 2] = max((held - background * area) / look.electrons, 0.02)
        guess[kept, 3], guess[kept, 4] = background, value
        kept += 1
    scores = score.ravel()
    for i in range(found):
        scores[place[i]] = 0
    _fit_places(frame, look, kept, center_y, center_x, False, scratch, rows)
    written = 0
    for i in range(kept):
        cut = look.area.ravel()[best[i]] < WHOLE * look.whole
        if cut and math.isnan(rows[i, 3]):
            continue  # the centre of the counts of a part of a disk says nothing
        rows[written] = rows[i]
        written += 1
    return written


@njit(cache=True, nogil=True)
def _find_in_frame(frame, look, axis, scratch, rows):
    """Find and fit the disks of a frame, the most significant first, and return their number."""
    sum_columns(frame, look.pad, scratch.prefix)
    sum_disks(scratch.prefix, look.pad, look.inner_span, scratch.inner)
    found = score_sums(scratch.prefix, look, scratch.inner, scratch.outer, scratch.score, scratch.place)
    return _fit_found(frame, found, look, axis, scratch.inner, scratch.outer, scratch, rows)


@njit(cache=True, nogil=True)
def _fit_again(frame, look, axis, known, scratch, rows):
    """Fit the disks of a frame again that the rows ``known`` (n, columns) tell of, and return their number."""
    n = known.shape[0]
    best, guess = scratch.best, scratch.guess
    ky, kx = frame.shape
    center_y, center_x = axis[0], axis[1]
    if n > 0 and math.isnan(center_y):
        brightest = np.argmax(known[:, 2])
        center_y, center_x = float(known[brightest, 0]), float(known[brightest, 1])
    for i in range(n):
        row = known[i]
        rows[i] = row
        y, x = math.floor(row[0] + 0.5), math.floor(row[1] + 0.5)
        best[i] = min(max(y, 0), ky - 1) * kx + min(max(x, 0), kx - 1)
        guess[i, 0], guess[i, 1], guess[i, 2] = row[0], row[1], row[2] / look.electrons
        guess[i, 3], guess[i, 4] = row[5], row[4]
    _fit_places(frame, look, n, center_y, center_x, True, scratch, rows)
    return n


@njit(cache=True, nogil=True)
def find_in_frames(frames, look, zero, known, first, number, rows):
    """Write the rows of the disks of frames (n, ky, kx) and how many each has; ``zero`` is a 0 of the sums' dtype.

    ``first`` (n, 2) says which rows of ``known`` are the disks of a frame, to be fitted again; where it is negative,
    they are looked for.

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
            for y in range(ky):
                for x in range(kx):
                    frame[y, x] = frames[f, y, x]
        axis = look.axis[f % look.axis.shape[0]]
        if first[f, 0] < 0:
            number[f] = _find_in_frame(frame, look, axis, scratch, rows[at:])
        else:
            number[f] = _fit_again(frame, look, axis, known[first[f, 0] : first[f, 1]], scratch, rows[at:])
        at += number[f]
    return at


@njit(cache=True, nogil=True)
def find_in_events(offset, pixel, count, ky, kx, look, known, first, number, rows):
    """Do the same from the electrons of frames, which are spread out one frame after the other and taken back."""
    scratch = make_scratch(ky, kx, np.int32(0), look)
    sums, where = make_sums(ky, kx, look), np.empty(ky * kx, np.int64)
    frame, valid = np.zeros((ky, kx), np.int32), look.valid.ravel()
    most = int(FEW * ky * kx)
    flat = frame.ravel()
    at = 0
    for f in range(offset.shape[0] - 1):
        mine, electrons = slice(offset[f], offset[f + 1]), 0
        for e in range(offset[f], offset[f + 1]):
            if valid[pixel[e]]:
                flat[pixel[e]] += count[e]
                electrons += int(count[e])
        axis = look.axis[f % look.axis.shape[0]]
        if first[f, 0] >= 0:
            number[f] = _fit_again(frame, look, axis, known[first[f, 0] : first[f, 1]], scratch, rows[at:])
        elif offset[f + 1] - offset[f] <= most and electrons <= MOST_ELECTRONS:
            sum_events(pixel[mine], count[mine], look.valid, sums)
            found = score_events(sums, look, scratch.score, scratch.place, where)
            number[f] = _fit_found(frame, found, look, axis, sums.inner, sums.outer, scratch, rows[at:])
            sums.padded[:] = 0
            sums.prefix[:] = 0
        else:
            number[f] = _find_in_frame(frame, look, axis, scratch, rows[at:])
        at += number[f]
        for e in range(offset[f], offset[f + 1]):
            flat[pixel[e]] = 0
    return at
