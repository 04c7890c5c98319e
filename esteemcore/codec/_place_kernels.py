"""Code of dense energy channels: a binary decision at each place, learnt for the counts around it."""

from __future__ import annotations

import numpy as np
from numba import njit

from esteemcore.codec._range_kernels import (
    NUMBER,
    finish,
    get_bit,
    get_number,
    new_model,
    put_bit,
    put_number,
    start,
)

LEVELS = 16
"""Classes of the local rate, under which the decisions at dense places are learnt."""

STEPS = 14
"""Counts above this are written as numbers, those below in unary."""

CONTEXTS = LEVELS + LEVELS * STEPS
"""Contexts of one class of pixels; `NUMBER` for the numbers of all classes come after them."""

CLIP = 15
"""Counts above this count as this in the local rate."""

_EDGES = (1, 2, 3, 5, 7, 9, 11, 14, 17, 21, 26, 33, 44, 60, 90)
LEVEL = np.searchsorted(_EDGES, np.arange(18 * CLIP + 1), side="right").astype(np.int64)
"""Class of the weighted sum of the neighbours (weights 18 in all)."""


@njit(cache=True, nogil=True)
def local_level(lines, row, x):
    """Return the class of the local rate from the values left of place x and in the two rows above."""
    now, above, higher = lines[row % 3], lines[(row + 2) % 3], lines[(row + 1) % 3]
    return LEVEL[
        3 * (now[x + 1] + above[x + 2])
        + 2 * (now[x] + above[x + 1] + above[x + 3] + higher[x + 2])
        + above[x]
        + above[x + 4]
        + higher[x + 1]
        + higher[x + 3]
    ]


@njit(cache=True, nogil=True)
def put_places(first, pixel, value, pixels, width, classes, n_classes, out):
    """Code a segment by the decisions at each place, rows of ``width`` pixels; returns the bytes, -1 without room."""
    model = new_model(CONTEXTS * n_classes + NUMBER)
    tail = model[CONTEXTS * n_classes :]
    low, high, at = np.int64(0), np.int64(4294967295), np.int64(0)
    lines = np.zeros((3, width + 4), np.int64)
    for c in range(first.size - 1):
        lines[:] = 0
        i = first[c]
        for row in range(pixels // width):
            lines[row % 3, 2:-2] = 0
            for x in range(width):
                level = local_level(lines, row, x)
                learnt = np.int64(classes[row * width + x]) * CONTEXTS
                if i >= first[c + 1] or np.int64(pixel[i]) != row * width + x:
                    low, high, at = put_bit(low, high, at, out, model, learnt + level, 0)
                else:
                    more = np.int64(value[i]) - 1
                    i += 1
                    lines[row % 3, x + 2] = min(more + 1, CLIP)
                    low, high, at = put_bit(low, high, at, out, model, learnt + level, 1)
                    context = learnt + LEVELS + level * STEPS
                    for step in range(min(more, STEPS)):
                        low, high, at = put_bit(low, high, at, out, model, context + step, 1)
                    if more < STEPS:
                        low, high, at = put_bit(low, high, at, out, model, context + more, 0)
                    else:
                        low, high, at = put_number(low, high, at, out, tail, np.int64(0), more - STEPS)
                if at + 256 > out.size:
                    return np.int64(-1)
    return finish(low, high, at, out)


@njit(cache=True, nogil=True)
def get_places(data, channels, pixels, width, classes, n_classes, hits, pixel, value):
    """Decode a segment into ``pixel``, ``value`` and the hits of each channel; returns False when it is damaged."""
    model = new_model(CONTEXTS * n_classes + NUMBER)
    tail = model[CONTEXTS * n_classes :]
    low, high, code, at = start(data)
    lines = np.zeros((3, width + 4), np.int64)
    i = 0
    for c in range(channels):
        lines[:] = 0
        for row in range(pixels // width):
            lines[row % 3, 2:-2] = 0
            if at > data.size + 8:
                return False
            for x in range(width):
                level = local_level(lines, row, x)
                learnt = np.int64(classes[row * width + x]) * CONTEXTS
                bit, low, high, code, at = get_bit(low, high, code, at, data, model, learnt + level)
                if bit == 0:
                    continue
                if i == pixel.size:
                    return False
                context = learnt + LEVELS + level * STEPS
                more = np.int64(0)
                while more < STEPS:
                    bit, low, high, code, at = get_bit(low, high, code, at, data, model, context + more)
                    if bit == 0:
                        break
                    more += 1
                if more == STEPS:
                    rest, low, high, code, at = get_number(low, high, code, at, data, tail, np.int64(0))
                    if rest < 0 or rest > 4294967294 - STEPS:
                        return False
                    more += rest
                lines[row % 3, x + 2] = min(more + 1, CLIP)
                pixel[i] = row * width + x
                value[i] = more + 1
                hits[c] += 1
                i += 1
    return i == pixel.size
