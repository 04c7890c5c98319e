"""Compiled loops of the 4D-STEM reducers: from electrons or dense frames to sums per position or per pixel."""

from __future__ import annotations

import numpy as np
from numba import njit

from esteemcore.events._intrinsics import prefetch

AHEAD = 4
"""Frames whose sums are fetched ahead of use: in a shuffled scan they are anywhere in memory."""


@njit(cache=True, nogil=True)
def project_events(offset, pixel, count, index, weight, out):
    """Add ``weight[pixel] * count`` of each frame to ``out[index]``; weight (pixels, m), out (positions, m)."""
    for i in range(index.shape[0]):
        row = out[index[i]]
        for e in range(offset[i], offset[i + 1]):
            w = weight[pixel[e]]
            c = count[e]
            for j in range(row.shape[0]):
                row[j] += w[j] * c


@njit(cache=True, nogil=True)
def project_frames(frames, index, weight, out):
    """Do the same from dense frames (n, pixels)."""
    for i in range(index.shape[0]):
        row = out[index[i]]
        for p in range(frames.shape[1]):
            value = frames[i, p]
            if value != 0:
                w = weight[p]
                for j in range(row.shape[0]):
                    row[j] += w[j] * value


@njit(cache=True, nogil=True)
def bin_events(offset, pixel, count, index, label, out):
    """Add the counts of each frame to ``out[index, label[pixel]]``, where the label is not negative."""
    n = index.shape[0]
    address, row_bytes = out.ctypes.data, out.strides[0]
    for i in range(n):
        if i + AHEAD < n:
            next_row = address + row_bytes * index[i + AHEAD]
            for line in range(0, row_bytes, 64):
                prefetch(np.int64(next_row + line))
        row = out[index[i]]
        for e in range(offset[i], offset[i + 1]):
            bin_number = label[pixel[e]]
            if bin_number >= 0:
                row[bin_number] += count[e]


@njit(cache=True, nogil=True)
def bin_frames(frames, index, label, out):
    """Do the same from dense frames (n, pixels)."""
    for i in range(index.shape[0]):
        row = out[index[i]]
        for p in range(frames.shape[1]):
            value = frames[i, p]
            if value != 0 and label[p] >= 0:
                row[label[p]] += value


@njit(cache=True, nogil=True)
def moments_events(offset, pixel, count, index, first, second, total):
    """Add counts to ``first[pixel]``, their squares to ``second[pixel]`` and their sum to ``total[index]``."""
    for i in range(index.shape[0]):
        for e in range(offset[i], offset[i + 1]):
            c = np.int64(count[e])
            first[pixel[e]] += c
            second[pixel[e]] += c * c
            total[index[i]] += c


@njit(cache=True, nogil=True)
def moments_frames(frames, index, one, first, second, total):
    """Do the same from dense frames (n, pixels); ``one`` is 1 in the dtype of the sums."""
    for i in range(index.shape[0]):
        for p in range(frames.shape[1]):
            c = one * frames[i, p]
            first[p] += c
            second[p] += c * c
            total[index[i]] += c
