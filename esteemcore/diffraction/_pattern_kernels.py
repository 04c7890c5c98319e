"""Compiled loops that move frames by whole pixels while they are binned or added up."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def bin_frames(frames, shift, label, margin, out):
    """Add each count of frame k to ``out[k, label[pixel - shift[k]]]``, where the label is not negative.

    ``label`` has `margin` pixels more than the frames on every side.
    """
    n, ky, kx = frames.shape
    for k in range(n):
        row = out[k]
        for y in range(ky):
            line = label[y - shift[k, 0] + margin]
            from_x = margin - shift[k, 1]
            for x in range(kx):
                count = frames[k, y, x]
                if count != 0:
                    number = line[x + from_x]
                    if number >= 0:
                        row[number] += count


@njit(cache=True, nogil=True)
def add_frames(frames, shift, number, total, covered):
    """Add frame k, moved by ``-shift[k]``, to ``total[number[k]]`` and 1 to ``covered`` where it has pixels."""
    n, ky, kx = frames.shape
    for k in range(n):
        if number[k] < 0:
            continue
        dy, dx = shift[k, 0], shift[k, 1]
        for y in range(max(0, dy), min(ky, ky + dy)):
            to, seen, line = total[number[k], y - dy], covered[number[k], y - dy], frames[k, y]
            for x in range(max(0, dx), min(kx, kx + dx)):
                to[x - dx] += line[x]
                seen[x - dx] += 1
