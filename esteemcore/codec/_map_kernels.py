"""Maps of classes of pixels, coded by the difference to what their neighbours predict."""

from __future__ import annotations

import numpy as np
from numba import njit

from esteemcore.codec._range_kernels import finish, get_bit, new_model, put_bit, start
from esteemcore.codec.maps import MOST


@njit(cache=True, nogil=True)
def predict(classes, row, column):
    """Return the median of west, north and west + north - north-west, and the context: how far the two differ."""
    west = np.int64(classes[row, column - 1]) if column > 0 else np.int64(-1)
    north = np.int64(classes[row - 1, column]) if row > 0 else np.int64(-1)
    if west < 0 and north < 0:
        return np.int64(0), np.int64(3)
    if west < 0:
        return north, np.int64(3)
    if north < 0:
        return west, np.int64(3)
    corner = np.int64(classes[row - 1, column - 1])
    low, high = min(west, north), max(west, north)
    context = min(high - low, np.int64(2))
    if corner >= high:
        return low, context
    if corner <= low:
        return high, context
    return west + north - corner, context


@njit(cache=True, nogil=True)
def put_map(classes, out):
    """Code a map (rows, columns) of classes below `MOST`; returns the bytes, -1 without room."""
    model = new_model(4 * 2 * MOST)
    low, high, at = np.int64(0), np.int64(4294967295), np.int64(0)
    for row in range(classes.shape[0]):
        for column in range(classes.shape[1]):
            guess, context = predict(classes, row, column)
            more = np.int64(classes[row, column]) - guess
            more = 2 * more if more >= 0 else -2 * more - 1
            first = context * 2 * MOST
            for step in range(more):
                low, high, at = put_bit(low, high, at, out, model, first + step, 1)
            low, high, at = put_bit(low, high, at, out, model, first + more, 0)
            if at + 512 > out.size:
                return np.int64(-1)
    return finish(low, high, at, out)


@njit(cache=True, nogil=True)
def get_map(data, n_classes, classes):
    """Decode a map into ``classes``; returns False when it is damaged."""
    model = new_model(4 * 2 * MOST)
    low, high, code, at = start(data)
    for row in range(classes.shape[0]):
        for column in range(classes.shape[1]):
            guess, context = predict(classes, row, column)
            more = np.int64(0)
            while True:
                bit, low, high, code, at = get_bit(low, high, code, at, data, model, context * 2 * MOST + more)
                if bit == 0:
                    break
                more += 1
                if more == 2 * MOST:
                    return False
            value = guess + (more >> 1 if more & 1 == 0 else -(more >> 1) - 1)
            if value < 0 or value >= n_classes or at > data.size + 8:
                return False
            classes[row, column] = value
    return True


@njit(cache=True, nogil=True)
def rank_pixels(classes, rank, size):
    """Write the number of each pixel in its class in ``rank`` and the pixels of each class in ``size``."""
    size[:] = 0
    for p in range(classes.size):
        rank[p] = size[classes[p]]
        size[classes[p]] += 1
