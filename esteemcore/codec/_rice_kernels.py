"""Golomb-Rice codes: a gap g is written as g >> k zeros, a one, and the k low bits of g; lowest bit first.

Gaps between hits of probability p are geometric; with ``2**k`` just above ``0.24 (2/p - 1)`` they take 3.5 % more than
their entropy at most (R. G. Gallager, D. C. van Voorhis 1975, https://doi.org/10.1109/TIT.1975.1055357).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from esteemcore.events._intrinsics import trailing_zeros

PADDING = 16
"""Bytes that must follow the coded ones when reading: bits are taken from eight bytes at a time."""


@njit(cache=True, nogil=True)
def parameter(hits, places):
    """Return the parameter k for a number of hits among a number of places."""
    if hits <= 0:
        return np.int64(0)
    ratio = (2 * places - hits) * 481 // (2000 * hits)
    k = np.int64(0)
    while k < 56 and (np.int64(1) << k) <= ratio:
        k += 1
    return k


@njit(cache=True, nogil=True)
def put_rice(acc, n_bits, at, out, gap, k):
    """Append the code of a gap to the bits in ``acc`` (fewer than 8); returns accumulator, bits and place.

    ``out`` needs 8 bytes more than are written; `finish_bits` writes the last ones.
    """
    zeros = gap >> k
    if zeros + k > 54:
        return put_long_rice(acc, n_bits, at, out, gap, k)
    low = gap & ((np.int64(1) << k) - 1)
    acc |= ((low << 1) | 1) << (zeros + n_bits)
    return put_bytes(acc, n_bits + zeros + k + 1, at, out)


@njit(cache=True, nogil=True)
def put_long_rice(acc, n_bits, at, out, gap, k):
    """Append a code of more than 55 bits, piece by piece."""
    zeros = gap >> k
    while zeros > 0:
        some = min(zeros, np.int64(48))
        acc, n_bits, at = put_bytes(acc, n_bits + some, at, out)
        zeros -= some
    acc, n_bits, at = put_bytes(acc | (np.int64(1) << n_bits), n_bits + 1, at, out)
    low = gap & ((np.int64(1) << k) - 1)
    while k > 0:
        some = min(k, np.int64(48))
        acc |= (low & ((np.int64(1) << some) - 1)) << n_bits
        acc, n_bits, at = put_bytes(acc, n_bits + some, at, out)
        low >>= some
        k -= some
    return acc, n_bits, at


@njit(cache=True, nogil=True)
def put_bytes(acc, n_bits, at, out):
    """Write eight bytes and keep those that are not full (62 bits at most): nothing for a processor to guess."""
    place = np.uint64(at)  # unsigned places need no check for the end of the array
    for i in range(8):
        out[place + np.uint64(i)] = (acc >> (8 * i)) & 255
    return acc >> (n_bits & ~7), n_bits & 7, at + (n_bits >> 3)


@njit(cache=True, nogil=True)
def finish_bits(acc, n_bits, at, out):
    """Write the last bits; returns the place after them."""
    while n_bits > 0:
        out[at] = acc & 255
        acc >>= 8
        n_bits -= 8
        at += 1
    return at


@njit(cache=True, nogil=True)
def eight_bytes(data, at):
    """Return eight bytes as a little-endian number."""
    word = np.uint64(0)
    place = np.uint64(at)  # unsigned places need no check for the end of the array
    for i in range(8):
        word |= np.uint64(data[place + np.uint64(i)]) << np.uint64(8 * i)
    return word


@njit(cache=True, nogil=True)
def get_rice(data, bit, end, k):
    """Return the gap at a bit and the bit after it; -1 when it does not end before bit ``end``.

    ``data`` needs `PADDING` bytes after bit ``end``.
    """
    zeros = np.int64(0)
    while True:
        if bit >= end:
            return np.int64(-1), bit
        word = eight_bytes(data, bit >> 3) >> np.uint64(bit & 7)
        run = trailing_zeros(word)
        if run < 56:
            break
        zeros += 56
        bit += 56
    zeros += run
    bit += run + 1
    if bit + k > end or zeros > (np.int64(1) << (62 - k)):
        return np.int64(-1), bit
    low = np.int64(0)
    if run + 1 + k <= 56:
        low = np.int64((word >> np.uint64(run + 1)) & ((np.uint64(1) << np.uint64(k)) - np.uint64(1)))
    elif k > 0:
        word = eight_bytes(data, bit >> 3) >> np.uint64(bit & 7)
        low = np.int64(word & ((np.uint64(1) << np.uint64(k)) - np.uint64(1)))
    return (zeros << k) | low, bit + k


@njit(cache=True, nogil=True)
def get_raw(data, bit, end, n):
    """Return ``n`` (at most 56) bits as a number and the bit after them; -1 when they do not end before ``end``."""
    if n < 0 or n > 56 or bit + n > end:
        return np.int64(-1), bit
    word = eight_bytes(data, bit >> 3) >> np.uint64(bit & 7)
    return np.int64(word & ((np.uint64(1) << np.uint64(n)) - np.uint64(1))), bit + n


@njit(cache=True, nogil=True)
def put_gamma(acc, n_bits, at, out, value, scale):
    """Append a number of any size: the length of ``(value >> scale) + 1`` in unary, then its bits (Exp-Golomb)."""
    upper = (value >> scale) + 1
    length = np.int64(0)
    while (upper >> (length + 1)) > 0:
        length += 1
    k = length + scale
    low = ((upper << scale) | (value & ((np.int64(1) << scale) - 1))) & ((np.int64(1) << k) - 1)
    return put_rice(acc, n_bits, at, out, (length << k) | low, k)


@njit(cache=True, nogil=True)
def get_gamma(data, bit, end, scale):
    """Return what `put_gamma` wrote and the bit after it; -1 when it is no number of up to 50 bits."""
    length, bit = get_rice(data, bit, end, np.int64(0))
    if length < 0 or length + scale > 50:
        return np.int64(-1), bit
    low, bit = get_raw(data, bit, end, length + scale)
    if low < 0:
        return np.int64(-1), bit
    return (low | (np.int64(1) << (length + scale))) - (np.int64(1) << scale), bit
