"""Compiled loops of the codec for one-bit frames: hits to the codes of their classes, and back."""

from __future__ import annotations

import numpy as np
from numba import njit

from esteemcore.codec._rice_kernels import finish_bits, get_rice, put_rice
from esteemcore.codec._varint_kernels import get_varint, put_varint
from esteemcore.events._intrinsics import trailing_zeros

SORTED = 4096 - 8
"""Hits that are sorted by class at a time; no power of two, lest the rows of all classes share lines of the cache."""


@njit(cache=True, nogil=True)
def pixel_sums(pixel, sums):
    """Count how often each pixel was hit."""
    for i in range(pixel.size):
        sums[pixel[i]] += 1


@njit(cache=True, nogil=True)
def classify(total, places, steps, cells):
    """Sort cells into classes of ``steps`` per octave of their rate; returns how many, brightest first.

    Fills ``cells`` (flat) from the hits and places of each cell; cells without hits are the last class.
    """
    used = np.zeros(64 * steps + 1, np.int64)
    for i in range(total.size):
        c = 64 * steps
        if total[i] > 0:
            c = min(np.int64(np.floor(steps * np.log2(places[i] / total[i]))), 64 * steps - 1)
        used[c] = 1
        cells[i] = c
    n = np.int64(0)
    for c in range(used.size):
        if used[c]:
            used[c] = n
            n += 1
    for i in range(total.size):
        cells[i] = used[cells[i]]
    return n


@njit(cache=True, nogil=True)
def put_frames(offset, pixel, classes, rank, size, k, first, out, length):
    """Code the gaps between the hits of frames, each class of pixels for itself.

    Class c is written from ``out[first[c]]`` on; its bytes are put into ``length[c]``. Some thousand hits at a time are
    sorted by class first, so that each class is coded in one go, with its state in registers.
    """
    state = np.zeros((size.size, 4), np.int64)  # next free place, bits not yet written, their number, place in out
    state[:, 3] = first[: size.size]
    places = np.empty((size.size, SORTED), np.int64)
    filled = np.zeros(size.size, np.int64)
    i = np.int64(0)
    for start in range(0, pixel.size, SORTED):
        for j in range(start, min(start + SORTED, pixel.size)):
            while j >= offset[i + 1]:
                i += 1
            p = pixel[j]
            c = classes[p]
            places[c, filled[c]] = i * size[c] + np.int64(rank[p])
            filled[c] += 1
        for c in range(size.size):
            free, acc, n_bits, at = state[c, 0], state[c, 1], state[c, 2], state[c, 3]
            low_bits = k[c]
            for place in places[c, : filled[c]]:
                acc, n_bits, at = put_rice(acc, n_bits, at, out, place - free, low_bits)
                free = place + 1
            state[c, 0], state[c, 1], state[c, 2], state[c, 3] = free, acc, n_bits, at
            filled[c] = 0
    for c in range(size.size):
        length[c] = finish_bits(state[c, 1], state[c, 2], state[c, 3], out) - first[c]


@njit(cache=True, nogil=True)
def get_class(data, end, hits, k, pixels, frames):
    """Set the electrons of one class (its ``pixels``, rising) in packed frames (n, bytes); returns False if damaged."""
    size = pixels.size
    left = frames.shape[0] * size
    bit = np.int64(0)
    i = np.int64(0)
    place = np.int64(-1)
    for _ in range(hits):
        gap, bit = get_rice(data, bit, end, k)
        if gap < 0 or gap >= left:
            return False
        left -= gap + 1
        place += gap + 1
        if place >= size:
            if place >= 4 * size:
                i += place // size
                place %= size
            else:
                while place >= size:
                    i += 1
                    place -= size
        p = pixels[place]
        frames[i, p >> 3] |= np.uint8(1 << (p & 7))
    return True


@njit(cache=True, nogil=True)
def put_gap_bytes(words, out):
    """Write the gaps between the electrons of all frames as bytes; returns how many, -1 without room."""
    one = np.uint64(1)
    at = np.int64(0)
    free = np.int64(0)
    for i in range(words.shape[0]):
        for w in range(words.shape[1]):
            word = words[i, w]
            while word != 0:
                if at + 16 > out.size:
                    return np.int64(-1)
                place = 64 * (i * words.shape[1] + w) + trailing_zeros(word)
                word &= word - one
                at = put_varint(out, at, place - free)
                free = place + 1
    return at


@njit(cache=True, nogil=True)
def get_gap_bytes(data, words):
    """Set the electrons in words (n, words) of 64 pixels; returns False when the gaps are damaged."""
    flat = words.reshape(-1)
    at = np.int64(0)
    place = np.int64(-1)
    while at < data.size:
        gap, at = get_varint(data, at)
        if gap < 0 or gap >= 64 * flat.size - place - 1:
            return False
        place += gap + 1
        flat[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
    return True
