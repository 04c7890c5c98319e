"""Compiled loops that spread samples over the fine grid.

A sample is a square of ``extent`` fine pixels a side that begins at ``start`` (row, column), in fine pixels, where fine
pixel ``k`` reaches from ``k`` to ``k + 1``. Every fine pixel gets the share of the square that lies on it. A start that
is NaN is a position that was not measured.
"""

from __future__ import annotations

import math

from numba import njit

SPECTRAL_BLOCK = 256
"""Channels that are worked on together: a few lines of this many stay in the cache of a core."""


@njit(cache=True, nogil=True)
def axis_shares(start, extent, limit, shares):
    """Write the shares of an interval on the pixels of an axis; return the first pixel, how many, and their sum."""
    end = start + extent
    if not (end > 0.0 and start < limit):  # also where it is NaN
        return 0, 0, 0.0
    first = max(math.floor(start), 0)
    last = min(math.ceil(end), limit)
    total = 0.0
    for k in range(first, last):
        share = (min(k + 1.0, end) - max(float(k), start)) / extent
        shares[k - first] = share
        total += share
    return first, last - first, total


@njit(cache=True, nogil=True)
def add_coverage(start, extent, row_shares, column_shares, coverage, squares, inside):
    """Add the weights of samples and their squares; note which part of each sample lies on the grid."""
    rows, columns = coverage.shape
    for i in range(start.shape[0]):
        for j in range(start.shape[1]):
            y0, ny, sy = axis_shares(start[i, j, 0], extent, rows, row_shares)
            x0, nx, sx = axis_shares(start[i, j, 1], extent, columns, column_shares)
            inside[i, j] = sy * sx
            for a in range(ny):
                for b in range(nx):
                    weight = row_shares[a] * column_shares[b]
                    coverage[y0 + a, x0 + b] += weight
                    squares[y0 + a, x0 + b] += weight * weight


@njit(cache=True, nogil=True)
def add_events(
    offset, channel, value, second, start, corner, width, extent, row_shares, column_shares, data, moment, squared
):
    """Add ``weight * value`` of events to ``data``, and ``weight * second`` or ``weight² * second`` to ``moment``.

    The samples are a part of the frame that begins at ``corner``; the frame has ``width`` columns. An empty ``moment``
    is left out.
    """
    rows, columns = data.shape[0], data.shape[1]
    with_moment = moment.size > 0
    for i in range(start.shape[0]):
        for j in range(start.shape[1]):
            pixel = (corner[0] + i) * width + corner[1] + j
            begin, end = offset[pixel], offset[pixel + 1]
            if begin == end:
                continue
            y0, ny, _ = axis_shares(start[i, j, 0], extent, rows, row_shares)
            x0, nx, _ = axis_shares(start[i, j, 1], extent, columns, column_shares)
            for a in range(ny):
                for b in range(nx):
                    weight = row_shares[a] * column_shares[b]
                    other = weight * weight if squared else weight
                    for entry in range(begin, end):
                        data[y0 + a, x0 + b, channel[entry]] += weight * value[entry]
                    if with_moment:
                        for entry in range(begin, end):
                            moment[y0 + a, x0 + b, channel[entry]] += other * second[entry]


@njit(cache=True, nogil=True)
def add_spectra(spectra, second, start, extent, row_shares, column_shares, data, moment, squared):
    """Do what `add_events` does for dense spectra (rows, columns, energy), block by block of the energy."""
    rows, columns, channels = data.shape
    with_moment = moment.size > 0
    for low in range(0, channels, SPECTRAL_BLOCK):
        high = min(low + SPECTRAL_BLOCK, channels)
        for i in range(start.shape[0]):
            for j in range(start.shape[1]):
                y0, ny, _ = axis_shares(start[i, j, 0], extent, rows, row_shares)
                x0, nx, _ = axis_shares(start[i, j, 1], extent, columns, column_shares)
                for a in range(ny):
                    for b in range(nx):
                        weight = row_shares[a] * column_shares[b]
                        if weight == 0.0:
                            continue
                        for e in range(low, high):
                            data[y0 + a, x0 + b, e] += weight * spectra[i, j, e]
                        if with_moment:
                            other = weight * weight if squared else weight
                            for e in range(low, high):
                                moment[y0 + a, x0 + b, e] += other * second[i, j, e]


@njit(cache=True, nogil=True)
def shift_events(offset, channel, count, whole, part, channels, new_offset, new_channel, value, second):
    """Move the counts of sparse spectra by ``whole + part`` channels; return how many entries there are then.

    Each entry is shared by two neighbouring channels, ``1 - part`` and ``part``. ``second`` gets the counts times the
    squares of their shares: the variance of what Poisson counts become.
    """
    filled = 0
    for pixel in range(offset.size - 1):
        new_offset[pixel] = filled
        last = -1
        for entry in range(offset[pixel], offset[pixel + 1]):
            for step in range(2):
                share = part if step else 1.0 - part
                target = int(channel[entry]) + whole + step
                if share == 0.0 or target < 0 or target >= channels:
                    continue
                if target != last:
                    new_channel[filled] = target
                    value[filled] = 0.0
                    second[filled] = 0.0
                    filled += 1
                    last = target
                value[filled - 1] += share * count[entry]
                second[filled - 1] += share * share * count[entry]
    new_offset[offset.size - 1] = filled
    return filled
