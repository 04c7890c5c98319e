"""Compiled loops for frames of few electrons: each adds itself to the disks that it lies in, few places are left."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from esteemcore.diffraction._lane_intrinsics import LANES, LOOK_LANES, add_from, add_lanes, lanes_from, sum_ends
from esteemcore.diffraction._score_kernels import significance
from esteemcore.events._intrinsics import trailing_zeros

MOST_ELECTRONS = 32767
"""Electrons of a frame up to which the sums over disks are kept in 16 bits."""


class Sums(NamedTuple):
    """Sums over the disks round every pixel of a frame of few electrons, and how they are made; all of int16.

    Attributes
    ----------
    padded : ndarray, shape (ky + 2 reach, width)
        Sums over the inner disks, with a margin on every side; zero between frames.
    around : ndarray, shape (ky + 2 reach, width)
        Sums over the outer disks, at and near the places that hold enough electrons.
    inner, outer : ndarray, shape (ky, kx)
        The parts of both without the margin.
    pattern : ndarray, shape (2 reach + 1, lanes)
        The rows of the inner disk, all bits set inside, filled up to a multiple of `LANES`.
    prefix : ndarray, shape (ky + 2 pad + 2, columns)
        Sums down the columns of the frame, as those of `sum_columns`; zero between frames.
    lower, upper : ndarray of int64
        Where the columns of an outer disk end and begin in the flat ``prefix``, relative to the corner of its frame.
    """

    padded: Any
    around: Any
    inner: Any
    outer: Any
    pattern: Any
    prefix: Any
    lower: Any
    upper: Any


@njit(cache=True, nogil=True)
def make_sums(ky, kx, look):
    """Return sums for frames (ky, kx)."""
    span, pad, outer_reach = look.inner_span, look.pad, look.outer_span.shape[0] // 2
    height, reach = span.shape[0], span.shape[0] // 2
    pattern = np.zeros((height, (height + LANES - 1) // LANES * LANES), np.int16)
    for j in range(height):
        pattern[j, reach - span[j] : reach + span[j] + 1] = -1
    padded = np.zeros((ky + 2 * reach, kx + max(pattern.shape[1], LOOK_LANES)), np.int16)
    around = np.zeros(padded.shape, np.int16)
    columns = (kx + 2 * pad + LOOK_LANES - 1) // LOOK_LANES * LOOK_LANES
    lower, upper = np.empty(look.outer_span.shape, np.int64), np.empty(look.outer_span.shape, np.int64)
    for j in range(lower.shape[0]):
        lower[j] = (pad + 1 + look.outer_span[j]) * columns + pad + j - outer_reach
        upper[j] = (pad - look.outer_span[j]) * columns + pad + j - outer_reach
    inside = slice(reach, reach + ky), slice(reach, reach + kx)
    prefix = np.zeros((ky + 2 * pad + 2, columns), np.int16)
    return Sums(padded, around, padded[inside], around[inside], pattern, prefix, lower, upper)


@njit(cache=True, nogil=True)
def sum_events(pixel, count, valid, sums):
    """Add the electrons of a frame to the inner disks that they lie in, which are a disk round each, and to columns."""
    kx, width, columns = valid.shape[1], sums.padded.shape[1], sums.prefix.shape[1]
    height, lanes = sums.pattern.shape
    pad = (sums.prefix.shape[0] - valid.shape[0]) // 2 - 1
    good, padded, pattern, prefix = valid.ravel(), sums.padded.ravel(), sums.pattern.ravel(), sums.prefix.ravel()
    for e in range(pixel.shape[0]):
        at = int(pixel[e])
        if good[at]:
            y = at // kx
            first, n = at + y * (width - kx), np.int16(count[e])
            prefix[at + y * (columns - kx) + (pad + 1) * columns + pad] += n
            for j in range(height):
                for k in range(0, lanes, LANES):
                    add_lanes(padded, first + j * width + k, pattern, j * lanes + k, n)
    for i in range((pad + 2) * columns, prefix.shape[0], LOOK_LANES):
        add_from(prefix, i, i - columns)


@njit(cache=True, nogil=True)
def _bright_places(sums, low, place, where):
    """Write which places hold at least `low` electrons, and where that stands in the sums, and return how many.

    The sums over the larger disks round them are made.
    """
    rows, columns = sums.inner.shape
    reach, width, across = sums.pattern.shape[0] // 2, sums.padded.shape[1], sums.prefix.shape[1]
    padded, prefix, around = sums.padded.ravel(), sums.prefix.ravel(), sums.around.ravel()
    found = 0
    for y in range(rows):
        for left in range(0, columns, LOOK_LANES):
            first = (y + reach) * width + reach + left
            bits = lanes_from(padded, first, low)
            if left + LOOK_LANES > columns:
                bits &= (np.uint64(1) << np.uint64(columns - left)) - np.uint64(1)
            if bits:
                sum_ends(prefix, y * across + left, sums.lower, sums.upper, around, first)
            while bits:
                lane = trailing_zeros(bits)
                bits &= bits - np.uint64(1)
                place[found], where[found] = y * columns + left + lane, first + lane
                found += 1
    return found


@njit(cache=True, nogil=True)
def score_events(sums, look, score, place, where):
    """Do what `score_sums` does, from the sums of few electrons.

    Places that cannot be significant leave the list step by step, without a branch that the processor must guess.
    """
    share, log_share, log_rest, logs = look.share.ravel(), look.log_share.ravel(), look.log_rest.ravel(), look.logs
    scores, least, speckle = score.ravel(), look.least, look.speckle
    inner, outer = sums.padded.ravel(), sums.around.ravel()
    found, n = 0, _bright_places(sums, np.int16(math.ceil(min(look.low, MOST_ELECTRONS))), place, where)
    half = 0.5 * least * least
    for i in range(n):
        at, here = place[i], where[i]
        p = share[at]
        expected = outer[here] * p
        excess = inner[here] - expected
        place[found], where[found] = at, here
        found += (p > 0) & (excess > 0) & (excess * excess >= half * expected * (1 - p))
    n, found = found, 0
    for i in range(n):
        at, here = place[i], where[i]
        value = significance(int(inner[here]), int(outer[here]), share[at], log_share[at], log_rest[at], speckle, logs)
        scores[at] = value if value >= least else 0.0
        place[found] = at
        found += value >= least
    return found
