"""Compiled loops for frames of few electrons: each adds itself to the disks that it lies in, few places are left."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from esteemcore.diffraction._lane_intrinsics import LANES, LOOK_LANES, add_lanes, lanes_from
from esteemcore.diffraction._score_kernels import significance
from esteemcore.events._intrinsics import trailing_zeros

MOST_ELECTRONS = 32767
"""Electrons of a frame up to which the sums over disks are kept in 16 bits."""


class Sums(NamedTuple):
    """Sums over the disk round every pixel, with a margin on every side, zero between frames; and the disk.

    Attributes
    ----------
    padded : ndarray of int16, shape (ky + 2 reach, width)
        The sums and their margin.
    inside : ndarray of int16, shape (ky, kx)
        The part without the margin.
    pattern : ndarray of int16, shape (2 reach + 1, lanes)
        The rows of the disk, all bits set inside, filled up to a multiple of `LANES`.
    """

    padded: Any
    inside: Any
    pattern: Any


@njit(cache=True, nogil=True)
def _make_sums(ky, kx, span, width):
    """Return sums over disks of the half widths ``span``."""
    height, reach = span.shape[0], span.shape[0] // 2
    pattern = np.zeros((height, (height + LANES - 1) // LANES * LANES), np.int16)
    for j in range(height):
        pattern[j, reach - span[j] : reach + span[j] + 1] = -1
    padded = np.zeros((ky + 2 * reach, width), np.int16)
    return Sums(padded, padded[reach : reach + ky, reach : reach + kx], pattern)


@njit(cache=True, nogil=True)
def make_sums(ky, kx, look):
    """Return sums for frames (ky, kx) over the inner and the outer disks, both of one width."""
    width = kx + 2 * look.pad + LANES + LOOK_LANES
    return _make_sums(ky, kx, look.inner_span, width), _make_sums(ky, kx, look.outer_span, width)


@njit(cache=True, nogil=True)
def sum_events(pixel, count, valid, inner, outer):
    """Add the electrons of a frame to the disks of both sizes that they lie in, which are a disk round each of them."""
    kx, width = valid.shape[1], inner.padded.shape[1]
    good = valid.ravel()
    small, disk, small_height, small_lanes = inner.padded.ravel(), inner.pattern.ravel(), *inner.pattern.shape
    large, wide, large_height, large_lanes = outer.padded.ravel(), outer.pattern.ravel(), *outer.pattern.shape
    for e in range(pixel.shape[0]):
        at = int(pixel[e])
        if good[at]:
            first, n = at + at // kx * (width - kx), np.int16(count[e])
            for j in range(small_height):
                for k in range(0, small_lanes, LANES):
                    add_lanes(small, first + j * width + k, disk, j * small_lanes + k, n)
            for j in range(large_height):
                for k in range(0, large_lanes, LANES):
                    add_lanes(large, first + j * width + k, wide, j * large_lanes + k, n)


@njit(cache=True, nogil=True)
def _bright_places(sums, rows, columns, low, place, where):
    """Write which places hold at least `low` electrons, and where that stands in the sums, and return how many."""
    reach, width, flat = sums.pattern.shape[0] // 2, sums.padded.shape[1], sums.padded.ravel()
    found = 0
    for y in range(rows):
        for left in range(0, columns, LOOK_LANES):
            first = (y + reach) * width + reach + left
            bits = lanes_from(flat, first, low)
            if left + LOOK_LANES > columns:
                bits &= (np.uint64(1) << np.uint64(columns - left)) - np.uint64(1)
            while bits:
                lane = trailing_zeros(bits)
                bits &= bits - np.uint64(1)
                place[found], where[found] = y * columns + left + lane, first + lane
                found += 1
    return found


@njit(cache=True, nogil=True)
def score_events(inner, outer, look, score, place, where):
    """Do what `score_sums` does, from the sums of electrons over both disks.

    Places that cannot be significant leave the list step by step, without a branch that the processor must guess.
    """
    rows, columns = score.shape
    share, log_share, log_rest, logs = look.share.ravel(), look.log_share.ravel(), look.log_rest.ravel(), look.logs
    scores, least, speckle = score.ravel(), look.least, look.speckle
    low = np.int16(math.ceil(min(look.low, MOST_ELECTRONS)))
    held, around = inner.padded.ravel(), outer.padded.ravel()
    across = (outer.pattern.shape[0] // 2 - inner.pattern.shape[0] // 2) * (inner.padded.shape[1] + 1)
    found, n = 0, _bright_places(inner, rows, columns, low, place, where)
    half = 0.5 * least * least
    for i in range(n):
        at, here = place[i], where[i]
        p = share[at]
        expected = around[here + across] * p
        excess = held[here] - expected
        place[found], where[found] = at, here
        found += (p > 0) & (excess > 0) & (excess * excess >= half * expected * (1 - p))
    n, found = found, 0
    for i in range(n):
        at, here = place[i], where[i]
        value = significance(
            int(held[here]), int(around[here + across]), share[at], log_share[at], log_rest[at], speckle, logs
        )
        scores[at] = value if value >= least else 0.0
        place[found] = at
        found += value >= least
    return found
