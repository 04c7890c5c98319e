"""Compiled loops that look for disks in a frame: sums over disks and rings, their significance, the best places."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

DENSE_FROM = 0.06
"""Share of the places that are worth a look from which on the outer sums are made for all of them at once."""


@njit(cache=True, nogil=True)
def sum_rows(frame, pad, prefix):
    """Write the sums along the rows of a frame (ky, kx) into ``prefix``, which has `pad` more on every side.

    ``prefix[y + pad, x + pad + 1]`` is the sum of ``frame[y, : x + 1]``; four rows at a time, because an addition
    waits for the one before it.
    """
    rows, columns = frame.shape
    y = 0
    while y < rows:
        if y + 4 <= rows:
            a, b, c, d = prefix[y + pad], prefix[y + pad + 1], prefix[y + pad + 2], prefix[y + pad + 3]
            e, f, g, h = frame[y], frame[y + 1], frame[y + 2], frame[y + 3]
            s = t = u = v = prefix[0, 0]
            for x in range(columns):
                s += e[x]
                t += f[x]
                u += g[x]
                v += h[x]
                a[x + pad + 1] = s
                b[x + pad + 1] = t
                c[x + pad + 1] = u
                d[x + pad + 1] = v
            for x in range(columns + pad + 1, prefix.shape[1]):
                a[x], b[x], c[x], d[x] = s, t, u, v
            y += 4
        else:
            a, e, s = prefix[y + pad], frame[y], prefix[0, 0]
            for x in range(columns):
                s += e[x]
                a[x + pad + 1] = s
            for x in range(columns + pad + 1, prefix.shape[1]):
                a[x] = s
            y += 1


@njit(cache=True, nogil=True)
def sum_disks(prefix, pad, span, out):
    """Write the sum over a disk round every pixel to ``out`` (ky, kx); ``span`` holds the half widths of its rows."""
    rows, columns = out.shape
    reach = span.shape[0] // 2
    for y in range(rows):
        line = out[y]
        line[:] = 0
        for j in range(span.shape[0]):
            source = prefix[y + pad + j - reach]
            right = source[pad + 1 + span[j] : pad + 1 + span[j] + columns]
            left = source[pad - span[j] : pad - span[j] + columns]
            for x in range(columns):
                line[x] += right[x] - left[x]


@njit(cache=True, nogil=True)
def sum_disk(prefix, pad, span, y, x):
    """Return the sum over the disk round one pixel."""
    reach = span.shape[0] // 2
    total = prefix[0, 0]
    for j in range(span.shape[0]):
        source = prefix[y + pad + j - reach]
        total += source[x + pad + 1 + span[j]] - source[x + pad - span[j]]
    return total


@njit(cache=True, nogil=True)
def significance(inner, outer, share, speckle):
    """Return by how many standard deviations a disk holds more than the `share` of ``outer`` that it should hold.

    ``outer`` includes ``inner``. The square root of twice the log-likelihood ratio of two Poisson rates against one;
    `speckle` is a relative variation of the background that is not noise of counting.
    """
    expected = outer * share
    if inner <= expected:
        return 0.0
    rest = outer - inner
    gain = inner * math.log(inner / expected)
    if rest > 0:
        gain += rest * math.log(rest / (outer - expected))
    return math.sqrt(max(2 * gain, 0.0) / (1 + speckle * speckle * expected))


@njit(cache=True, nogil=True)
def score_frame(prefix, look, inner, outer, score, place):
    """Write the significance of every place worth a look to ``score`` (ky, kx) and their flat numbers to ``place``.

    Places with a share of 0 are left out. A place that holds less than ``look.low`` cannot be significant however dark
    its surroundings are; and since a Kullback-Leibler divergence is at most chi squared, few others need a logarithm.

    Returns
    -------
    int
        Number of places, all with a score of at least ``look.least``.
    """
    rows, columns = inner.shape
    pad, outer_span, least, low = look.pad, look.outer_span, look.least, look.low
    sum_disks(prefix, pad, look.inner_span, inner)
    bright = 0
    for y in range(rows):
        line = inner[y]
        for x in range(columns):
            bright += line[x] >= low
    dense = bright > DENSE_FROM * rows * columns
    if dense:
        sum_disks(prefix, pad, outer_span, outer)
    found = 0
    half = 0.5 * least * least
    for y in range(rows):
        line, shares = inner[y], look.share[y]
        for x in range(columns):
            if line[x] < low:
                continue
            p = shares[x]
            if p <= 0:
                continue
            a = float(line[x])
            n = float(outer[y, x] if dense else sum_disk(prefix, pad, outer_span, y, x))
            excess = a - n * p
            if excess <= 0 or excess * excess < half * n * p * (1 - p):
                continue
            value = significance(a, n, p, look.speckle)
            if value >= least:
                score[y, x] = value
                place[found] = y * columns + x
                found += 1
    return found


@njit(cache=True, nogil=True)
def best_places(score, place, found, look, best):
    """Write the local maxima of the score to ``best``, the highest first, none too near to a higher one.

    Returns
    -------
    int
        Number of maxima.
    """
    rows, columns = score.shape
    spacing = look.spacing * look.radius
    reach = max(1, int(0.5 * spacing))
    peaks = np.empty(found, np.int64)
    maxima = 0
    for i in range(found):
        y, x = place[i] // columns, place[i] % columns
        value = score[y, x]
        keep = True
        for v in range(max(0, y - reach), min(rows, y + reach + 1)):
            for u in range(max(0, x - reach), min(columns, x + reach + 1)):
                other = score[v, u]
                if other > value or (other == value and v * columns + u < y * columns + x):
                    keep = False
                    break
            if not keep:
                break
        if keep:
            peaks[maxima] = place[i]
            maxima += 1
    values = np.empty(maxima)
    for i in range(maxima):
        values[i] = -score[peaks[i] // columns, peaks[i] % columns]
    order = np.argsort(values, kind="mergesort")
    kept = 0
    for i in order:
        y, x = peaks[i] // columns, peaks[i] % columns
        free = True
        for j in range(kept):
            v, u = best[j] // columns, best[j] % columns
            if (v - y) * (v - y) + (u - x) * (u - x) < spacing * spacing:
                free = False
                break
        if free and kept < best.shape[0]:
            best[kept] = peaks[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def stands_out(inner, y, x, center_y, center_x, look, ring):
    """Return the significance of a disk against what else lies on its ring round the centre.

    A halo is bright all along the ring, a reflection is not. The ring, an ellipse where the detector makes it one, is
    sampled every 0.6 radii and compared with its lower part. Infinite where there is no ring to compare with.
    """
    area, whole, radius = look.area, look.whole, look.radius
    round_, back = look.to_circle, look.to_ellipse
    dy, dx = y - center_y, x - center_x
    u, v = round_[0, 0] * dy + round_[0, 1] * dx, round_[1, 0] * dy + round_[1, 1] * dx
    distance = math.sqrt(u * u + v * v)
    if distance < 2.5 * radius:
        return np.inf
    n = min(ring.shape[0], max(12, int(2 * math.pi * distance / (0.6 * radius))))
    start = math.atan2(u, v)
    used = 0
    for i in range(n):
        angle = start + 2 * math.pi * i / n
        su, sv = distance * math.sin(angle), distance * math.cos(angle)
        sy = center_y + back[0, 0] * su + back[0, 1] * sv
        sx = center_x + back[1, 0] * su + back[1, 1] * sv
        iy, ix = math.floor(sy + 0.5), math.floor(sx + 0.5)
        if iy < 0 or iy >= inner.shape[0] or ix < 0 or ix >= inner.shape[1]:
            continue
        if (iy - y) ** 2 + (ix - x) ** 2 < 4 * radius * radius or area[iy, ix] < 0.6 * whole:
            continue
        ring[used] = inner[iy, ix] * whole / area[iy, ix]
        used += 1
    if used < 8:
        return np.inf
    low = np.sort(ring[:used])[int(0.3 * used)]
    usual = low + 0.5 * math.sqrt(low) + 0.25  # the 30 % quantile of Poisson numbers lies half a deviation below
    here = inner[y, x] * whole / area[y, x]
    if here <= usual:
        return 0.0
    gain = here * math.log(here / usual) - (here - usual)
    return math.sqrt(2 * gain / (1 + look.speckle * look.speckle * usual))
