"""Compiled loops of the event codec: the codes of segments.

A segment is a run of energy channels. Its places are numbered channel by channel, pixel by pixel; a hit is a place that
is not zero. Segments with few hits are coded by the gaps between them, those with many by the decision at each place.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from esteemcore.codec._place_kernels import get_places, put_places
from esteemcore.codec._rice_kernels import finish_bits, get_gamma, get_rice, parameter, put_gamma, put_rice


@njit(cache=True, nogil=True)
def put_gaps(first, pixel, value, pixels, scale, multiples, out):
    """Code a segment by its gaps; channel c of it has entries ``first[c]`` to ``first[c + 1]``. Returns the bytes.

    Gaps between hits, then gaps between the hits of more than one count, then their counts less two.
    """
    hits = first[-1] - first[0]
    k = parameter(hits, (first.size - 1) * pixels)
    acc, n_bits, at = np.int64(0), np.int64(0), np.int64(0)
    free = np.int64(0)
    for c in range(first.size - 1):
        for i in range(first[c], first[c + 1]):
            place = c * pixels + np.int64(pixel[i])
            acc, n_bits, at = put_rice(acc, n_bits, at, out, place - free, k)
            free = place + 1
    if multiples > 0:
        k = parameter(multiples, hits)
        free = first[0]
        for i in range(first[0], first[-1]):
            if value[i] > 1:
                acc, n_bits, at = put_rice(acc, n_bits, at, out, i - free, k)
                free = i + 1
        for i in range(first[0], first[-1]):
            if value[i] > 1:
                acc, n_bits, at = put_gamma(acc, n_bits, at, out, np.int64(value[i]) - 2, scale)
    return finish_bits(acc, n_bits, at, out)


@njit(cache=True, nogil=True)
def get_gaps(data, end, channels, pixels, scale, multiples, hits, pixel, value):
    """Decode a segment of ``end`` bits into ``pixel``, ``value`` and the hits of each channel; False if damaged."""
    n = pixel.size
    places = channels * pixels
    k = parameter(n, places)
    bit = np.int64(0)
    place = np.int64(-1)
    c = np.int64(0)
    below = np.int64(0)
    for i in range(n):
        gap, bit = get_rice(data, bit, end, k)
        if gap < 0 or gap >= places - place - 1:
            return False
        place += gap + 1
        while place >= below + pixels:
            below += pixels
            c += 1
        hits[c] += 1
        pixel[i] = place - below
        value[i] = 1
    if multiples == 0:
        return True
    k = parameter(multiples, n)
    i = np.int64(-1)
    for _ in range(multiples):
        gap, bit = get_rice(data, bit, end, k)
        if gap < 0 or gap >= n - i - 1:
            return False
        i += gap + 1
        value[i] = 2
    for i in range(n):
        if value[i] == 2:
            more, bit = get_gamma(data, bit, end, scale)
            if more < 0 or more > 4294967293:
                return False
            value[i] = more + 2
    return True


@njit(cache=True, nogil=True)
def expected_bytes(hits, places):
    """Return the bytes that the gaps of a segment have if hits fall anywhere; the table holds what is different."""
    if hits == 0:
        return np.int64(0)
    k = parameter(hits, places)
    half = hits * ((np.int64(1) << k) - 1) // 2
    return (hits * (k + 1) + max(places - hits - half, np.int64(0)) * hits // (hits + 1) // (np.int64(1) << k) + 7) // 8


@njit(cache=True, nogil=True)
def put_segments(length, first, pixel, value, pixels, width, classes, n_classes, dense, table, out):
    """Code the segments of a part one after the other and fill the table; returns the bytes, -1 without room.

    The segments of a ``dense`` part are coded place by place. Rows of the table: channels, hits, hits of
    more than one count, code (0: by places, 1 + s: by gaps and counts of scale s), bytes (of gaps: twice the bytes more
    than `expected_bytes`, or twice the bytes less, less one).
    """
    at = np.int64(0)
    c = np.int64(0)
    for s in range(length.size):
        part = first[c : c + length[s] + 1]
        places = length[s] * pixels
        hits = part[-1] - part[0]
        c += length[s]
        table[s, 0] = length[s]
        table[s, 1] = hits
        table[s, 2] = 0
        table[s, 3] = 1
        table[s, 4] = 0
        if hits == 0:
            continue
        if dense:
            table[s, 3] = 0
            size = put_places(part, pixel, value, pixels, width, classes, n_classes, out[at:])
            if size < 0:
                return size
            table[s, 4] = size
            at += size
            continue
        multiples = np.int64(0)
        more = np.int64(0)
        for i in range(part[0], part[-1]):
            if value[i] > 1:
                multiples += 1
                more += np.int64(value[i]) - 2
        scale = np.int64(0)
        while multiples > 0 and scale < 32 and (multiples << (scale + 1)) < more:
            scale += 1
        k = parameter(hits, places)
        if at + ((hits * (k + 2) + (places >> k)) >> 3) + 12 * multiples + 64 > out.size:
            return np.int64(-1)
        size = put_gaps(part, pixel, value, pixels, scale, multiples, out[at:])
        more = size - expected_bytes(hits, places)
        table[s, 2] = multiples
        table[s, 3] = 1 + scale
        table[s, 4] = 2 * more if more >= 0 else -2 * more - 1
        at += size
    return at


@njit(cache=True, nogil=True)
def check_table(table, sizes, channels, payload, most, rows):
    """Turn the last column of a table into bytes and check that it describes a spectrum for each part.

    ``sizes`` are the pixels of the parts; fills the first row of each part, and the end, in ``rows``. Returns the hits,
    or -1 when the table is damaged.
    """
    c = np.int64(0)
    hits = np.int64(0)
    total = np.int64(0)
    part = np.int64(0)
    rows[:] = 0
    for s in range(table.shape[0]):
        if c == channels:
            c = 0
            part += 1
            if part == sizes.size:
                return np.int64(-1)
            rows[part] = s
        pixels = sizes[part]
        if table[s, 0] < 1 or table[s, 0] > channels - c or table[s, 1] > table[s, 0] * pixels or table[s, 3] > 33:
            return np.int64(-1)
        if table[s, 2] > table[s, 1]:
            return np.int64(-1)
        c += table[s, 0]
        hits += table[s, 1]
        size = table[s, 4]
        if table[s, 3] > 0:
            size = size >> 1 if size & 1 == 0 else -(size >> 1) - 1
            size += expected_bytes(table[s, 1], table[s, 0] * pixels)
            if size < 0 or (size >> 3) > payload or table[s, 1] + table[s, 2] > 8 * size:
                return np.int64(-1)
        table[s, 4] = size
        if size > payload - total or hits > most:
            return np.int64(-1)
        total += size
    rows[sizes.size] = table.shape[0]
    whole = part == sizes.size - 1 and c == channels
    return hits if (whole or channels == 0) and total == payload else np.int64(-1)


@njit(cache=True, nogil=True)
def get_segments(data, at, table, pixels, width, classes, n_classes, hits, pixel, value):
    """Decode the segments of a table from byte ``at`` on; ``data`` has padding. Returns False when they are damaged."""
    c = np.int64(0)
    i = np.int64(0)
    for s in range(table.shape[0]):
        channels, n, size = table[s, 0], table[s, 1], table[s, 4]
        if n > 0:
            part = hits[c : c + channels]
            if table[s, 3] == 0:
                if pixels != classes.size:
                    return False
                good = get_places(
                    data[at : at + size],
                    channels,
                    pixels,
                    width,
                    classes,
                    n_classes,
                    part,
                    pixel[i : i + n],
                    value[i : i + n],
                )
            else:
                good = get_gaps(
                    data[at:],
                    8 * size,
                    channels,
                    pixels,
                    table[s, 3] - 1,
                    table[s, 2],
                    part,
                    pixel[i : i + n],
                    value[i : i + n],
                )
            if not good:
                return False
        c += channels
        i += n
        at += size
    return True
