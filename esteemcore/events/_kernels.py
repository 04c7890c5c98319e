"""Compiled loops that find the electrons in frames."""

from __future__ import annotations

import numpy as np
from numba import njit

from esteemcore.events._intrinsics import bit_count, prefetch, trailing_zeros

AHEAD = 2048
"""Bytes fetched ahead of use: the processor's own prefetching stops at each 4 kB page, which is half a frame."""


@njit(cache=True, nogil=True)
def find_bits(words, first, offset, pixel):
    """Write the set bits of frames (n, words), from frame ``first`` on; frame i ends at ``pixel[offset[i + 1]]``.

    Stops before the frame that might not fit and returns its number (n when all are done). Most words of a low-dose
    frame are empty, and which ones is random: the positions of non-empty cache lines, then of non-empty words, are
    collected without branches, and bits are taken out four at a time, because a branch that is mispredicted costs more
    than three wasted steps. ``pixel`` needs 64 places more than there are bits.
    """
    n, n_words = words.shape
    lines = n_words // 8
    line_start = np.empty(lines + 1, np.int64)
    filled = np.empty(n_words + 1, np.int64)
    one = np.uint64(1)
    address = words.ctypes.data
    at = offset[first]
    for i in range(first, n):
        frame = words[i]
        n_lines = 0
        for line in range(lines):
            j = 8 * line
            prefetch(np.int64(address + 8 * (i * n_words + j) + AHEAD))
            any_bit = (
                (frame[j] | frame[j + 1])
                | (frame[j + 2] | frame[j + 3])
                | ((frame[j + 4] | frame[j + 5]) | (frame[j + 6] | frame[j + 7]))
            )
            line_start[n_lines] = j
            n_lines += np.int64(any_bit != 0)
        n_filled = 0
        for line in range(n_lines):
            for w in range(line_start[line], line_start[line] + 8):
                filled[n_filled] = w
                n_filled += np.int64(frame[w] != 0)
        for w in range(8 * lines, n_words):
            filled[n_filled] = w
            n_filled += np.int64(frame[w] != 0)
        bits = 0
        for f in range(n_filled):
            bits += bit_count(frame[filled[f]])
        if at + bits + 64 > pixel.shape[0]:
            return i
        for f in range(n_filled):
            word = frame[filled[f]]
            base = np.uint32(64 * filled[f])
            place = at
            at += bit_count(word)
            while place < at:
                pixel[place] = base + np.uint32(trailing_zeros(word))
                word &= word - one
                pixel[place + 1] = base + np.uint32(trailing_zeros(word))
                word &= word - one
                pixel[place + 2] = base + np.uint32(trailing_zeros(word))
                word &= word - one
                pixel[place + 3] = base + np.uint32(trailing_zeros(word))
                word &= word - one
                place += 4
        offset[i + 1] = at
    return n


@njit(cache=True, nogil=True)
def find_counts(frames, offset, pixel, count):
    """Write the pixels and counts of the non-zero pixels of integer frames (n, pixels)."""
    at = 0
    offset[0] = 0
    for i in range(frames.shape[0]):
        for p in range(frames.shape[1]):
            value = frames[i, p]
            if value != 0:
                pixel[at] = p
                count[at] = value
                at += 1
        offset[i + 1] = at
