"""Compiled loops over frames whose disks look like a template: find those of each, fit them, write their rows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from esteemcore.diffraction._fit_kernels import PARAMETERS
from esteemcore.diffraction._frame_kernels import NEAR_AGAIN, NEAR_FIRST, known_inside
from esteemcore.diffraction._score_kernels import stands_out, sum_columns, sum_disks
from esteemcore.diffraction._template_kernels import (
    LEAST_RATE,
    TEMPLATE_ROWS,
    add_template,
    fit_template,
    gain_of_disk,
)

ROUNDS = 12
"""Steps of Newton's method to the likeliest share of a disk in the counts, at most."""

WHOLE, MOST_TILT = 0.99, 0.6
"""Share of a disk on the detector below which it is cut, and how much brighter a cut one may be at an edge than in the
middle, relative: what is brighter still is the rim of a disk whose middle lies beyond the detector."""

Y, X, SCORE, HEIGHT, BACKGROUND, CROWDED = range(6)
"""Columns of the places of a frame; place as it is found, for that of the fit is in `Scratch.fitted`."""


class Scratch(NamedTuple):
    """Memory for the work on one frame, used again for the next."""

    padded: Any
    prefix: Any
    counted: Any
    excess: Any
    level: Any
    model: Any
    place: Any
    middle: Any
    fitted: Any
    ring: Any
    window: Any
    work: Any
    normal: Any


@njit(cache=True, nogil=True)
def make_scratch(ky, kx, look):
    """Return scratch memory for frames (ky, kx)."""
    pad, most, pixels = look.pad, look.most, look.place.shape[1]
    return Scratch(
        np.zeros((ky + look.steps.shape[0], kx + look.steps.shape[0] // 2 + look.steps.shape[1]), np.float32),
        np.zeros((ky + 2 * pad + 1, kx + 2 * pad)),
        np.zeros((ky, kx)),
        np.zeros((ky, kx)),
        np.zeros((ky, kx)),
        np.zeros((ky, kx)),
        np.empty((ky * kx, 6)),
        np.empty((most, 2), np.int64),
        np.empty((most, PARAMETERS)),
        np.empty((3, 128)),
        np.zeros((3, pixels), np.float32),
        np.zeros((TEMPLATE_ROWS, pixels), np.float32),
        np.empty((2 * PARAMETERS + 2, PARAMETERS)),
    )


@njit(cache=True, nogil=True)
def correlate(frame, steps, sums):
    """Add up how much of the template lies on the counts round every pixel, electron by electron; ``sums`` padded.

    ``steps`` (rows, columns) is the template in whole steps turned by half a turn, with some columns of zeros behind.
    """
    ky, kx = frame.shape
    rows, columns = steps.shape
    sums[:] = 0
    for y in range(ky):
        for x in range(kx):
            if frame[y, x] == 0:
                continue
            count = np.float32(frame[y, x])
            for j in range(rows):
                line, own = sums[y + j, x : x + columns], steps[j]
                for i in range(columns):
                    line[i] += count * own[i]


@njit(cache=True, nogil=True, error_model="numpy")
def score_template(sums, counted, look, excess, level):
    r"""Write by how many standard deviations, squared, the counts round each pixel look like the template, roughly.

    The zero-mean kernel :math:`T - S/P`, of the sum S in a window of P pixels that holds N counts, has the variance
    :math:`N/P \sum (T - S/P)^2` without a disk. ``level`` gets the counts that a template holds at each pixel.
    """
    for y in range(sums.shape[0]):
        held, around, share, sure = sums[y], counted[y], look.share[y], look.sure[y]
        for x in range(sums.shape[1]):
            level[y, x] = look.per_step * max(held[x], 0.0)
            more = max(held[x] - around[x] * share[x], 0.0)
            excess[y, x] = more * more * sure[x] / max(around[x], 1e-9)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _slope_of_share(counts, shape, n, share):
    """Return the slope of the log-likelihood with the share of the counts in a disk, and how fast it falls."""
    slope = curve = 0.0
    for k in range(n):
        part = shape[k] / (1 + share * shape[k])
        slope += counts[k] * part
        curve += counts[k] * part * part
    return slope, curve


@njit(cache=True, nogil=True, error_model="numpy")
def significance(frame, look, y0, x0, counts, shape):
    r"""Return the significance of a disk in the window round a pixel, and the likeliest share of the counts in it.

    .. math:: z^2 = 2 \max_a \sum_k n_k \log\left(1 + a\,(P T_k / S - 1)\right)

    for the share a of the counts n in the window, P pixels, S the sum of the template over them. It is right for ten
    counts as well as for ten thousand. ``counts`` and ``shape`` are scratch memory.
    """
    span, own, reach = look.span, look.own, look.span.shape[0] // 2
    n, at, pixels, held, total, whole = 0, 0, 0, 0.0, 0.0, look.clear[y0, x0]
    for j in range(span.shape[0]):
        half, y = span[j], y0 + j - reach
        for x in range(x0 - half, x0 + half + 1):
            if whole or (0 <= y < frame.shape[0] and 0 <= x < frame.shape[1] and look.valid[y, x]):
                pixels += 1
                held += own[at]
                if frame[y, x] > 0:
                    counts[n], shape[n] = frame[y, x], own[at]
                    total += frame[y, x]
                    n += 1
            at += 1
    for k in range(n):
        shape[k] = pixels * shape[k] / held - 1
    share = 0.1
    for _ in range(ROUNDS):
        slope, curve = _slope_of_share(counts, shape, n, share)
        last = share
        share = min(max(share + slope / max(curve, 1e-9), 0.5 * share), 0.5 * (share + 0.999))
        if abs(share - last) < 1e-3 * last:
            break
    gain = 0.0
    for k in range(n):
        gain += counts[k] * math.log1p(share * shape[k])
    under = look.effective * (1 - share) * total / pixels
    score = math.sqrt(max(2 * gain, 0.0) / (1 + look.speckle * look.speckle * under))
    return score, share * total / held, (1 - share) * total / pixels


@njit(cache=True, nogil=True)
def _highest(values, y, x, reach):
    """Return whether no number near a place is higher, and no earlier one as high."""
    value = values[y, x]
    for v in range(max(0, y - reach), min(values.shape[0], y + reach + 1)):
        for u in range(max(0, x - reach), min(values.shape[1], x + reach + 1)):
            if values[v, u] > value or (values[v, u] == value and (v < y or (v == y and u < x))):
                return False
    return True


@njit(cache=True, nogil=True)
def _likely_places(frame, look, excess, place, counts, shape):
    """Write the local maxima that are significant to ``place``, the best first, and return their number."""
    ky, kx = excess.shape
    low, near = 0.5 * look.least * look.least, max(1, int(0.5 * look.spacing * look.radius))
    n = 0
    for y in range(ky):
        for x in range(kx):
            if excess[y, x] < low or not _highest(excess, y, x, 1) or not _highest(excess, y, x, near):
                continue
            score, height, background = significance(frame, look, y, x, counts, shape)
            if score < look.least:
                continue
            rank = n
            while rank > 0 and place[rank - 1, SCORE] < score:
                place[rank] = place[rank - 1]
                rank -= 1
            place[rank, Y], place[rank, X], place[rank, SCORE] = y, x, score
            place[rank, HEIGHT], place[rank, BACKGROUND] = height, background
            n += 1
    return n


@njit(cache=True, nogil=True)
def _apart(place, n, look):
    """Keep those of the places that are not too near to a better one, and return their number."""
    kept, nearest = 0, (look.spacing * look.radius) ** 2
    for i in range(n):
        free = kept < look.most
        for j in range(kept):
            free = free and (place[i, Y] - place[j, Y]) ** 2 + (place[i, X] - place[j, X]) ** 2 >= nearest
        if free:
            place[kept] = place[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _beam(axis, place, n):
    """Return the direct beam: what is known, or the brightest place."""
    y, x = axis
    if math.isnan(y) and n > 0:
        brightest = np.argmax(place[:n, HEIGHT])
        y, x = place[brightest, Y], place[brightest, X]
    return y, x


@njit(cache=True, nogil=True)
def _start(look, place, excess, center_y, center_x, mean, sd, p):
    """Write to ``p`` where the fit of a place starts: at the vertex of a parabola through the scores beside it."""
    y, x = int(place[Y]), int(place[X])
    known_inside(y - center_y, x - center_x, look, mean, sd)
    p[0], p[1] = max(place[BACKGROUND], 3 * LEAST_RATE), max(place[HEIGHT], 0.02)
    p[2], p[3], p[4] = mean[0] * p[1], mean[1] * p[1], mean[2]
    for axis in range(2):
        dy, dx = 1 - axis, axis
        p[5 + axis] = 0
        if dy <= y < excess.shape[0] - dy and dx <= x < excess.shape[1] - dx:
            before, here, behind = excess[y - dy, x - dx], excess[y, x], excess[y + dy, x + dx]
            bend = 2 * here - before - behind
            if bend > 0 and before > 0 and behind > 0:
                p[5 + axis] = min(max(0.5 * (behind - before) / bend, -0.5), 0.5)


@njit(cache=True, nogil=True)
def _fit_places(frame, look, n, center_y, center_x, again, scratch, rows):
    """Fit the disks at the places of a frame, each on top of the others, and write their rows.

    With `again` the rows hold what was fitted before: fits start there, and it stays where they fail.
    """
    place, middle, fitted, model = scratch.place, scratch.middle, scratch.fitted, scratch.model
    window, work, normal = scratch.window, scratch.work, scratch.normal
    p, at, result, outward = np.empty(PARAMETERS), np.empty(2, np.int64), np.zeros(7), np.zeros(2)
    mean, sd, meet = np.zeros(3), np.zeros(3), look.meet * look.meet
    model[:] = 0
    for i in range(n):
        place[i, CROWDED] = 0
        for j in range(n):
            if j != i and (place[i, Y] - place[j, Y]) ** 2 + (place[i, X] - place[j, X]) ** 2 < meet:
                place[i, CROWDED] = 1
    for i in range(n):
        if place[i, CROWDED] > 0:
            add_template(model, look, middle[i], fitted[i], 1.0, work)
    for sweep in range(1 if again else 2):
        for i in range(n):
            crowded, row = place[i, CROWDED] > 0, rows[i]
            if sweep > 0 and not crowded:
                continue
            if crowded:
                add_template(model, look, middle[i], fitted[i], -1.0, work)
            dy, dx = place[i, Y] - center_y, place[i, X] - center_x
            known_inside(dy, dx, look, mean, sd)
            distance = max(math.sqrt(dy * dy + dx * dx), look.radius)
            outward[0], outward[1] = dy / distance, dx / distance
            p[:], at[:] = fitted[i], middle[i]
            near = NEAR_AGAIN if again else NEAR_FIRST
            good = fit_template(frame, model, look, at, outward, mean, sd, near, window, work, normal, p, result)
            good = (
                good and (at[0] + p[5] - place[i, Y]) ** 2 + (at[1] + p[6] - place[i, X]) ** 2 <= 0.25 * look.radius**2
            )
            if good:
                fitted[i], middle[i] = p, at
                score = place[i, SCORE]
                if crowded and not again:
                    score = min(score, math.sqrt(max(2 * gain_of_disk(window, look.own.shape[0], p, work), 0.0)))
                _write_row(row, at, p, result, score, look)
            elif not again:
                row[:] = np.nan
                row[0], row[1], row[2] = place[i, Y], place[i, X], fitted[i, 1] * math.pi * look.radius**2
                row[4], row[5] = place[i, SCORE], place[i, BACKGROUND]
            if crowded:
                add_template(model, look, middle[i], fitted[i], 1.0, work)


@njit(cache=True, nogil=True)
def _write_row(row, at, p, result, score, look):
    """Write the numbers of a fitted disk, as for plain ones."""
    row[0], row[1], row[2] = at[0] + p[5], at[1] + p[6], p[1] * math.pi * look.radius**2
    row[3], row[4], row[5] = math.sqrt(0.5 * (result[0] + result[1])), score, p[0]
    row[6], row[7], row[8] = p[2] / p[1], p[3] / p[1], p[4]
    row[9], row[10] = math.sqrt(0.5 * (result[4] + result[5])), math.sqrt(result[6])
    row[11] = min(max(look.radius + result[2], 0.5 * look.radius), 2 * look.radius)


@njit(cache=True, nogil=True)
def _find_in_frame(frame, sums, axis, look, scratch, rows):
    """Find and fit the disks of a frame and return their number."""
    place, excess, level = scratch.place, scratch.excess, scratch.level
    sum_columns(frame, look.pad, scratch.prefix)
    sum_disks(scratch.prefix, look.pad, look.span, scratch.counted)
    score_template(sums, scratch.counted, look, excess, level)
    n = _likely_places(frame, look, excess, place, scratch.work[0], scratch.work[1])
    n = _apart(place, n, look)
    center_y, center_x = _beam(axis, place, n)
    kept = 0
    mean, sd = np.zeros(3), np.zeros(3)
    for i in range(n):
        y, x = int(place[i, Y]), int(place[i, X])
        place[i, SCORE] = min(place[i, SCORE], stands_out(level, y, x, center_y, center_x, look, scratch.ring))
        if place[i, SCORE] >= look.least:
            place[kept] = place[i]
            scratch.middle[kept, 0], scratch.middle[kept, 1] = y, x
            _start(look, place[kept], excess, center_y, center_x, mean, sd, scratch.fitted[kept])
            kept += 1
    _fit_places(frame, look, kept, center_y, center_x, False, scratch, rows)
    written = 0
    for i in range(kept):
        cut = look.area[int(place[i, Y]), int(place[i, X])] < WHOLE * look.whole
        rim = cut and not rows[i, 6] * rows[i, 6] + rows[i, 7] * rows[i, 7] <= MOST_TILT * MOST_TILT  # or NaN
        if rows[i, 4] >= look.least and not rim:
            rows[written] = rows[i]
            written += 1
    return written


@njit(cache=True, nogil=True)
def _fit_again(frame, axis, look, known, scratch, rows):
    """Fit the disks of a frame again that the rows ``known`` (n, columns) tell of, and return their number."""
    n, place, middle, fitted = known.shape[0], scratch.place, scratch.middle, scratch.fitted
    for i in range(n):
        row = known[i]
        rows[i] = row
        middle[i, 0] = min(max(math.floor(row[0] + 0.5), 0), frame.shape[0] - 1)
        middle[i, 1] = min(max(math.floor(row[1] + 0.5), 0), frame.shape[1] - 1)
        height = row[2] / (math.pi * look.radius**2)
        place[i, Y], place[i, X], place[i, SCORE], place[i, HEIGHT] = row[0], row[1], row[4], height
        fitted[i, 0], fitted[i, 1], fitted[i, 2:5] = row[5], height, 0
        if not math.isnan(row[3]):
            fitted[i, 2], fitted[i, 3], fitted[i, 4] = row[6] * height, row[7] * height, row[8]
        fitted[i, 5], fitted[i, 6] = row[0] - middle[i, 0], row[1] - middle[i, 1]
    center_y, center_x = _beam(axis, place, n)
    _fit_places(frame, look, n, center_y, center_x, True, scratch, rows)
    return n


@njit(cache=True, nogil=True)
def find_templates(frames, sums, direct, look, known, first, scratch, number, rows):
    """Write the rows of the disks of frames (n, ky, kx), masked pixels 0, and how many each has.

    ``sums`` (n or more, ky, kx) says how much of the template, in whole steps, lies on the counts round each pixel;
    where ``direct`` (n,) is not 0 it is added up here, see `correlate`. ``first`` (n, 2) says which rows of ``known``
    are the disks of a frame, to be fitted again; where it is negative, they are looked for.

    Returns
    -------
    int
        Number of rows.
    """
    n, ky, kx = frames.shape
    reach, at = look.steps.shape[0] // 2, 0
    for f in range(n):
        axis = look.axis[f % look.axis.shape[0]]
        if first[f, 0] >= 0:
            number[f] = _fit_again(frames[f], axis, look, known[first[f, 0] : first[f, 1]], scratch, rows[at:])
        else:
            if direct[f]:
                correlate(frames[f], look.steps, scratch.padded)
                sums[f] = scratch.padded[reach : reach + ky, reach : reach + kx]
            number[f] = _find_in_frame(frames[f], sums[f], axis, look, scratch, rows[at:])
        at += number[f]
    return at
