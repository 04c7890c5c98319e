"""Compiled loops that sort the bits of values by their place: all lowest bits, then all second ones, and so on."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def transpose_bits(word):
    """Transpose the 8 x 8 bits of an uint64: bit j of byte i becomes bit i of byte j."""
    t = (word ^ (word >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
    word = word ^ t ^ (t << np.uint64(7))
    t = (word ^ (word >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
    word = word ^ t ^ (t << np.uint64(14))
    t = (word ^ (word >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
    return word ^ t ^ (t << np.uint64(28))


@njit(cache=True, nogil=True)
def to_planes(values, planes):
    """Write bit b of byte i of values (8 m, itemsize) to ``planes[8 i + b]``, (8 itemsize, m), lowest bit first."""
    for i in range(values.shape[1]):
        for g in range(planes.shape[1]):
            word = np.uint64(0)
            for e in range(8):
                word |= np.uint64(values[8 * g + e, i]) << np.uint64(8 * e)
            word = transpose_bits(word)
            for b in range(8):
                planes[8 * i + b, g] = np.uint8((word >> np.uint64(8 * b)) & np.uint64(255))


@njit(cache=True, nogil=True)
def from_planes(planes, values):
    """Undo `to_planes`."""
    for i in range(values.shape[1]):
        for g in range(planes.shape[1]):
            word = np.uint64(0)
            for b in range(8):
                word |= np.uint64(planes[8 * i + b, g]) << np.uint64(8 * b)
            word = transpose_bits(word)
            for e in range(8):
                values[8 * g + e, i] = np.uint8((word >> np.uint64(8 * e)) & np.uint64(255))
