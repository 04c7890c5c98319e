"""Compiled loops of blurs: sums of shifted copies, along either axis of an image, with nothing outside of it."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True, fastmath=True)
def blurred_along_rows(values, weights, apart, out):
    """Blur each row of ``values`` (ny, nx * apart), whose neighbours are ``apart`` entries from each other.

    ``weights[t]`` is the weight of either neighbour at distance t; the result is written to ``out``.
    """
    ny, width = values.shape
    for y in range(ny):
        for i in range(width):
            out[y, i] = weights[0] * values[y, i]
        for t in range(1, min(len(weights), (width - 1) // apart + 1)):
            shift, w = t * apart, weights[t]
            both = max(width - shift, shift)
            for i in range(min(shift, width - shift)):
                out[y, i] += w * values[y, i + shift]
            for i in range(shift, width - shift):
                out[y, i] += w * (values[y, i - shift] + values[y, i + shift])
            for i in range(both, width):
                out[y, i] += w * values[y, i - shift]


@njit(cache=True, nogil=True, fastmath=True)
def blurred_along_columns(values, weights, out):
    """Blur each column of ``values`` (ny, width) in the same way."""
    ny, width = values.shape
    for y in range(ny):
        for i in range(width):
            out[y, i] = weights[0] * values[y, i]
        for t in range(1, len(weights)):
            w = weights[t]
            if t <= y < ny - t:
                for i in range(width):
                    out[y, i] += w * (values[y - t, i] + values[y + t, i])
            elif y + t < ny:
                for i in range(width):
                    out[y, i] += w * values[y + t, i]
            elif y >= t:
                for i in range(width):
                    out[y, i] += w * values[y - t, i]
