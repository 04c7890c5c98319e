"""Compiled loops of the single-side-band reconstruction."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def _edge(distance, radius, width):
    """Transmission of an aperture with an edge one sampling interval wide."""
    return min(max((radius - distance) / width + 0.5, 0.0), 1.0)


@njit(cache=True, nogil=True, inline="always")
def _table_phase(table, scale, row, column):
    """Bilinear interpolation of the aberration phase, tabulated on a square around the axis."""
    half = (table.shape[0] - 1) // 2
    y = min(max(row * scale + half, 0.0), table.shape[0] - 1.001)
    x = min(max(column * scale + half, 0.0), table.shape[0] - 1.001)
    i, j = int(y), int(x)
    u, v = y - i, x - j
    upper = table[i, j] * (1 - v) + table[i, j + 1] * v
    lower = table[i + 1, j] * (1 - v) + table[i + 1, j + 1] * v
    return upper * (1 - u) + lower * u


@njit(cache=True, nogil=True)
def bin_overlaps(q_row, q_column, k_row, k_column, pixels, label, radius, width, table, scale, real, imaginary):
    """Sum gamma(k, q) = A(k-q) A*(k) - A(k) A*(k+q) over the pixels of each bin.

    Writes ``real`` and ``imaginary`` (bins, q). ``pixels`` is how many detector pixels a sample stands for. An empty
    ``table`` means no aberrations.
    """
    aberrated = table.shape[0] > 1
    reach = radius + 0.5 * width
    for s in range(q_row.shape[0]):
        for p in range(k_row.shape[0]):
            ky, kx = k_row[p], k_column[p]
            my, mx = ky - q_row[s], kx - q_column[s]
            py, px = ky + q_row[s], kx + q_column[s]
            minus = math.sqrt(my * my + mx * mx)
            plus = math.sqrt(py * py + px * px)
            if minus >= reach and plus >= reach:
                continue
            here = pixels[p] * _edge(math.sqrt(ky * ky + kx * kx), radius, width)
            a = here * _edge(minus, radius, width)
            b = here * _edge(plus, radius, width)
            if aberrated:
                chi = _table_phase(table, scale, ky, kx)
                if a > 0.0:
                    angle = chi - _table_phase(table, scale, my, mx)
                    real[label[p], s] += a * math.cos(angle)
                    imaginary[label[p], s] += a * math.sin(angle)
                if b > 0.0:
                    angle = _table_phase(table, scale, py, px) - chi
                    real[label[p], s] -= b * math.cos(angle)
                    imaginary[label[p], s] -= b * math.sin(angle)
            else:
                real[label[p], s] += a - b


@njit(cache=True, nogil=True)
def mean_counts(counts, inverse_visits, fill, out):
    """Write the counts per visit of positions (n, bins) to ``out``; ``fill`` (bins,) where ``inverse_visits`` is 0."""
    for r in range(counts.shape[0]):
        once = inverse_visits[r]
        if once > 0:
            for c in range(counts.shape[1]):
                out[r, c] = once * np.float32(counts[r, c])
        else:
            for c in range(counts.shape[1]):
                out[r, c] = fill[c]


@njit(cache=True, nogil=True)
def accumulate_weighted(spectrum, place, weight, out):
    """Add ``weight * spectrum`` over channels at the q inside the band; spectrum (channels, half spectrum, flat)."""
    for j in range(weight.shape[0]):
        for s in range(place.shape[0]):
            out[s] += weight[j, s] * spectrum[j, place[s]]


@njit(cache=True, nogil=True)
def bin_totals(counts, out):
    """Add the counts of every bin over all positions to ``out`` (bins,)."""
    for r in range(counts.shape[0]):
        row = counts[r]
        for c in range(out.shape[0]):
            out[c] += row[c]
