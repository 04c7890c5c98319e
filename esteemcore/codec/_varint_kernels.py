"""Gaps between hits as variable-length bytes: seven bits in each, the highest bit says that more follow."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def put_varint(out, at, value):
    """Write a whole number; returns the place after it."""
    while value >= 128:
        out[at] = (value & 127) | 128
        at += 1
        value >>= 7
    out[at] = value
    return at + 1


@njit(cache=True, nogil=True)
def get_varint(data, at):
    """Return the number at a place and the place after it; -1 when it does not end or has more than 62 bits."""
    value = np.int64(0)
    shift = 0
    while at < data.size and shift < 63:
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (value, at) if 0 <= value < (np.int64(1) << 62) else (np.int64(-1), at)
        shift += 7
    return np.int64(-1), at


@njit(cache=True, nogil=True)
def put_rows(offset, place, count, width, out):
    """Write the entries of a compressed table: twice the gap, plus one when a count above one follows it.

    ``out`` needs 15 bytes per entry. Returns the number of bytes.
    """
    at = np.int64(0)
    free = np.int64(0)
    for row in range(offset.size - 1):
        for i in range(offset[row], offset[row + 1]):
            here = row * width + np.int64(place[i])
            many = np.int64(count[i] > 1)
            at = put_varint(out, at, ((here - free) << 1) | many)
            free = here + 1
            if many:
                at = put_varint(out, at, np.int64(count[i]) - 2)
    return at


@njit(cache=True, nogil=True)
def get_rows(data, width, offset, place, count):
    """Decode what `put_rows` wrote into a compressed table; returns False when it is damaged."""
    rows = offset.size - 1
    at = np.int64(0)
    here = np.int64(-1)
    row = np.int64(0)
    offset[:] = 0
    for i in range(place.size):
        gap, at = get_varint(data, at)
        if gap < 0 or (gap >> 1) >= rows * width - here - 1:
            return False
        here += (gap >> 1) + 1
        row = here // width
        offset[row + 1] += 1
        place[i] = here - row * width
        count[i] = 1
        if gap & 1:
            more, at = get_varint(data, at)
            if more < 0 or more > 4294967293:
                return False
            count[i] = more + 2
    for row in range(rows):
        offset[row + 1] += offset[row]
    return at == data.size
