"""Compiled loops that look for disks in a frame: sums over disks and rings, their significance, the best places."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

FEW_VALUES = 6
"""Values that are counted one after the other, from the lowest on, before many numbers are sorted."""


@njit(cache=True, nogil=True)
def sum_columns(frame, pad, prefix):
    """Write the sums down the columns of a frame (ky, kx) to ``prefix`` (ky + 2 pad + 1, kx + 2 pad).

    ``prefix[y + pad + 1, x + pad]`` is the sum of ``frame[: y + 1, x]``; the pads above and beside are zero before.
    """
    rows, columns = frame.shape
    for y in range(rows + pad):
        above, below = prefix[y + pad][pad:], prefix[y + pad + 1][pad:]
        if y < rows:
            line = frame[y]
            for x in range(columns):
                below[x] = above[x] + line[x]
        else:
            for x in range(columns):
                below[x] = above[x]


@njit(cache=True, nogil=True)
def sum_part(prefix, pad, span, y, first, last, out):
    """Write the sums over the disks round the pixels from `first` to before `last` of row y to ``out`` (ky, kx).

    ``span`` holds the half widths of the columns of the disk.
    """
    reach = span.shape[0] // 2
    n = last - first
    line = out[y][first:]
    for j in range(0, span.shape[0] - 1, 2):  # two at a time: the sum is loaded and stored half as often
        x, h, k = first + pad + j - reach, span[j], span[j + 1]
        a, b = prefix[y + pad + 1 + h][x:], prefix[y + pad - h][x:]
        c, d = prefix[y + pad + 1 + k][x + 1 :], prefix[y + pad - k][x + 1 :]
        if j == 0:
            for i in range(n):
                line[i] = a[i] - b[i] + c[i] - d[i]
        else:
            for i in range(n):
                line[i] += a[i] - b[i] + c[i] - d[i]
    x, h = first + pad + reach, span[span.shape[0] - 1]
    a, b = prefix[y + pad + 1 + h][x:], prefix[y + pad - h][x:]
    for i in range(n):
        line[i] += a[i] - b[i]


@njit(cache=True, nogil=True)
def sum_disks(prefix, pad, span, out):
    """Write the sum over a disk round every pixel to ``out`` (ky, kx)."""
    for y in range(out.shape[0]):
        sum_part(prefix, pad, span, y, 0, out.shape[1], out)


@njit(cache=True, nogil=True)
def sum_disk(prefix, pad, span, y, x):
    """Return the sum over the disk round one pixel."""
    reach = span.shape[0] // 2
    total = prefix[0, 0]
    for j in range(span.shape[0]):
        column = x + pad + j - reach
        total += prefix[y + pad + 1 + span[j], column] - prefix[y + pad - span[j], column]
    return total


@njit(cache=True, nogil=True)
def _log(value, logs):
    """Return the logarithm of a number; whole ones are looked up."""
    whole = int(value)
    if whole == value and whole < logs.shape[0]:
        return logs[whole]
    return math.log(value)


@njit(cache=True, nogil=True)
def significance(inner, outer, share, log_share, log_rest, speckle, logs):
    """Return by how many standard deviations a disk holds more than the `share` of ``outer`` that it should hold.

    ``outer`` includes ``inner``. The square root of twice the log-likelihood ratio of two Poisson rates against one;
    `speckle` is a relative variation of the background that is not noise of counting, `log_share` and `log_rest` are
    the logarithms of the share and of what it leaves of 1, ``logs`` those of whole numbers.
    """
    expected = outer * share
    if inner <= expected:
        return 0.0
    rest = outer - inner
    whole = _log(outer, logs)
    gain = inner * (_log(inner, logs) - whole - log_share)
    if rest > 0:
        gain += rest * (_log(rest, logs) - whole - log_rest)
    return math.sqrt(max(2 * gain, 0.0) / (1 + speckle * speckle * expected))


@njit(cache=True, nogil=True)
def worth(inner, outer, share, log_share, log_rest, speckle, logs, least):
    """Return the significance of a place if it is at least `least`, else 0; most need no logarithm to be told apart.

    A Kullback-Leibler divergence is at most chi squared.
    """
    excess = inner - outer * share
    if share <= 0 or excess <= 0 or excess * excess < 0.5 * least * least * outer * share * (1 - share):
        return 0.0
    value = significance(inner, outer, share, log_share, log_rest, speckle, logs)
    return value if value >= least else 0.0


@njit(cache=True, nogil=True)
def _marks(inner, outer, share, y, first, last, half, out):
    """Write to ``out`` what is below 0 for places of row y that cannot be significant: chi squared is too small.

    A Kullback-Leibler divergence is at most chi squared, so few others need a logarithm.
    """
    half, one = np.float32(0.999 * half), np.float32(1)
    held, around, part = inner[y][first:], outer[y][first:], share[y][first:]
    for i in range(last - first):
        p, n = np.float32(part[i]), np.float32(around[i])
        excess = np.float32(held[i]) - n * p
        out[i] = excess * abs(excess) - half * n * p * (one - p)


@njit(cache=True, nogil=True)
def score_sums(prefix, look, inner, outer, score, place):
    """Write the significance of every place worth a look to ``score`` (ky, kx) and their flat numbers to ``place``.

    ``inner`` holds the sums over the disks; those over the larger ones are written to ``outer``, at least at these
    places. Places with a share of 0 are left out. A place that holds less than ``look.low`` cannot be significant
    however dark its surroundings are.

    Returns
    -------
    int
        Number of places, all with a score of at least ``look.least``.
    """
    rows, columns = inner.shape
    pad, span, least, low, speckle = look.pad, look.outer_span, look.least, look.low, look.speckle
    share, log_share, log_rest, logs = look.share, look.log_share, look.log_rest, look.logs
    mark = np.zeros(columns, np.float32)
    found = 0
    half = 0.5 * least * least
    for y in range(rows):
        top = inner[y, 0]
        for x in range(columns):
            top = max(top, inner[y, x])
        if top < low:
            continue
        first, last = 0, columns
        while inner[y, first] < low:
            first += 1
        while inner[y, last - 1] < low:
            last -= 1
        sum_part(prefix, pad, span, y, first, last, outer)
        _marks(inner, outer, share, y, first, last, half, mark)
        for i in range(last - first):
            x = first + i
            if mark[i] < 0 or inner[y, x] < low:
                continue
            a, n = float(inner[y, x]), float(outer[y, x])
            value = worth(a, n, share[y, x], log_share[y, x], log_rest[y, x], speckle, logs, least)
            if value > 0:
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
    peaks, values = np.empty(found, np.int64), np.empty(found)
    maxima = 0
    for i in range(found):
        y, x = place[i] // columns, place[i] % columns
        value = score[y, x]
        keep = True
        for v in range(max(0, y - 1), min(rows, y + 2)):  # the next ones tell most places apart from a maximum
            for u in range(max(0, x - 1), min(columns, x + 2)):
                keep = keep and score[v, u] <= value
        if not keep:
            continue
        for v in range(max(0, y - reach), min(rows, y + reach + 1)):
            for u in range(max(0, x - reach), min(columns, x + reach + 1)):
                other = score[v, u]
                if other > value or (other == value and v * columns + u < y * columns + x):
                    keep = False
                    break
            if not keep:
                break
        if keep:  # there are few: each goes to its rank at once, behind those of the same score
            rank = maxima
            while rank > 0 and values[rank - 1] < value:
                peaks[rank], values[rank] = peaks[rank - 1], values[rank - 1]
                rank -= 1
            peaks[rank], values[rank] = place[i], value
            maxima += 1
    kept = 0
    for i in range(maxima):
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
def _smallest(values, n, k):
    """Return the number that would be at place k if the first n were sorted; they are moved about."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc"})
def _low_value(values, n, k):
    """Do the same as `_smallest`, for numbers of 0 or more of which the lowest ones are equal more often than not."""
    value = -1.0
    for _ in range(FEW_VALUES):
        following = np.finfo(np.float64).max
        for i in range(n):
            following = min(following, values[i] if values[i] > value else np.finfo(np.float64).max)
        value, below = following, 0
        for i in range(n):
            below += values[i] <= value
        if below > k:
            return value
    return _smallest(values, n, k)


@njit(cache=True, nogil=True)
def _places_round(u, v, n, ring):
    """Write n places round a circle, from (u, v) on, to the first two rows of ``ring``."""
    turn, across = math.cos(2 * math.pi / n), math.sin(2 * math.pi / n)
    for k in range(8):  # eight chains of turns, which do not wait for each other
        ring[0, k], ring[1, k] = u, v
        u, v = turn * u + across * v, turn * v - across * u
    for _ in range(3):
        turn, across = turn * turn - across * across, 2 * turn * across
    for k in range(8, n):
        u, v = ring[0, k - 8], ring[1, k - 8]
        ring[0, k], ring[1, k] = turn * u + across * v, turn * v - across * u


@njit(cache=True, nogil=True)
def stands_out(inner, y, x, center_y, center_x, look, ring):
    """Return the significance of a disk against what else lies on its ring round the centre.

    A halo is bright all along the ring, a reflection is not. The ring, an ellipse where the detector makes it one, is
    sampled every 0.6 radii and compared with its lower part. Infinite where there is no ring to compare with. ``ring``
    (3, most samples) is scratch memory.
    """
    area, whole, radius = look.area, look.whole, look.radius
    round_, back = look.to_circle, look.to_ellipse
    dy, dx = y - center_y, x - center_x
    u, v = round_[0, 0] * dy + round_[0, 1] * dx, round_[1, 0] * dy + round_[1, 1] * dx
    distance = math.sqrt(u * u + v * v)
    if distance < 2.5 * radius:
        return np.inf
    n = min(ring.shape[1], max(12, int(2 * math.pi * distance / (0.6 * radius))))
    _places_round(u, v, n, ring)
    y0, x0, yu, yv, xu, xv = center_y + 0.5, center_x + 0.5, back[0, 0], back[0, 1], back[1, 0], back[1, 1]
    rows, columns, near, least = inner.shape[0], inner.shape[1], 4 * radius * radius, 0.6 * whole
    held, used = ring[2], 0
    for k in range(n):
        u, v = ring[0, k], ring[1, k]
        iy, ix = math.floor(y0 + yu * u + yv * v), math.floor(x0 + xu * u + xv * v)
        if iy < 0 or iy >= rows or ix < 0 or ix >= columns:
            continue
        far_y, far_x, pixels = iy - y, ix - x, area[iy, ix]
        if far_y * far_y + far_x * far_x < near or pixels < least:
            continue
        held[used] = float(inner[iy, ix]) if pixels == whole else inner[iy, ix] * whole / pixels
        used += 1
    if used < 8:
        return np.inf
    low = _low_value(held, used, int(0.3 * used))
    usual = low + 0.5 * math.sqrt(low) + 0.25  # the 30 % quantile of Poisson numbers lies half a deviation below
    here = inner[y, x] * whole / area[y, x]
    if here <= usual:
        return 0.0
    gain = here * math.log(here / usual) - (here - usual)
    return math.sqrt(2 * gain / (1 + look.speckle * look.speckle * usual))
