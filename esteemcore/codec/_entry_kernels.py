"""Compiled loops that sort the entries of sparse spectrum images: by channel, by pixel, into classes and segments."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def find_counts(rows, offset, channel, count):
    """Write the non-zero values of rows (pixels, energy), as a compressed table; most of 16 neighbours are zero."""
    pixels, energy = rows.shape
    at = 0
    offset[0] = 0
    for p in range(pixels):
        row = rows[p]
        whole = energy & ~15
        for block in range(0, whole, 16):
            some = row[block]
            for e in range(block + 1, block + 16):
                some |= row[e]
            if some != 0:
                for e in range(block, block + 16):
                    if row[e] != 0:
                        channel[at] = e
                        count[at] = row[e]
                        at += 1
        for e in range(whole, energy):
            if row[e] != 0:
                channel[at] = e
                count[at] = row[e]
                at += 1
        offset[p + 1] = at


@njit(cache=True, nogil=True)
def channel_hits(channel, hits):
    """Count the entries of each channel."""
    for i in range(channel.size):
        hits[channel[i]] += 1


@njit(cache=True, nogil=True)
def bin_bands(offset, channel, cell, band, counts):
    """Add up entries in ``counts`` (cells, bands), given the cell of each pixel and the band of each channel."""
    for p in range(offset.size - 1):
        row = counts[cell[p]]
        for i in range(offset[p], offset[p + 1]):
            row[band[channel[i]]] += 1


@njit(cache=True, nogil=True)
def nearest_class(counts, area, rates, labels):
    """Write the class with the highest Poisson likelihood for each cell (counts in bands, pixels in ``area``)."""
    classes, bands = rates.shape
    logs = np.log(rates)
    for i in range(area.size):
        best = -np.inf
        for k in range(classes):
            score = np.float64(0.0)
            for b in range(bands):
                score += counts[i, b] * logs[k, b] - area[i] * rates[k, b]
            if score > best:
                best = score
                labels[i] = k


@njit(cache=True, nogil=True)
def add_classes(counts, area, labels, sums, areas):
    """Add up the counts in bands and the pixels of the cells of each class."""
    for i in range(area.size):
        areas[labels[i]] += area[i]
        for b in range(counts.shape[1]):
            sums[labels[i], b] += counts[i, b]


@njit(cache=True, nogil=True)
def by_channel(offset, channel, count, classes, rank, dense, first, pixel, value):
    """Sort the entries of a compressed table by part, channel and pixel.

    The parts are the classes of pixels and, after them, all pixels in channels that are ``dense``. Channel c of part q
    has entries ``first[q, c]`` to ``first[q, c + 1]``; ``pixel`` is the rank in the class, in the last part the pixel.
    """
    last = first.shape[0] - 1
    first[:] = 0
    for p in range(offset.size - 1):
        for i in range(offset[p], offset[p + 1]):
            c = channel[i]
            first[last if dense[c] else np.int64(classes[p]), c + 1] += 1
    total = np.int64(0)
    for q in range(last + 1):
        first[q, 0] = total
        for c in range(first.shape[1] - 1):
            total += first[q, c + 1]
            first[q, c + 1] = total
    place = first.copy()
    for p in range(offset.size - 1):
        for i in range(offset[p], offset[p + 1]):
            c = channel[i]
            q = last if dense[c] else np.int64(classes[p])
            at = place[q, c]
            place[q, c] = at + 1
            pixel[at] = p if q == last else rank[p]
            value[at] = count[i]


@njit(cache=True, nogil=True)
def by_pixel(hits, pixel, value, offset, channel, count):
    """Sort entries by pixel, channels rising; they come part by part, ``hits[q, c]`` of part q in channel c."""
    offset[:] = 0
    for i in range(pixel.size):
        offset[np.int64(pixel[i]) + 1] += 1
    for p in range(offset.size - 1):
        offset[p + 1] += offset[p]
    place = offset.copy()
    at = np.zeros(hits.shape[0], np.int64)
    for q in range(1, hits.shape[0]):
        at[q] = at[q - 1] + hits[q - 1].sum()
    for c in range(hits.shape[1]):
        for q in range(hits.shape[0]):
            for i in range(at[q], at[q] + hits[q, c]):
                to = place[pixel[i]]
                place[pixel[i]] = to + 1
                channel[to] = c
                count[to] = value[i]
            at[q] += hits[q, c]


@njit(cache=True, nogil=True)
def segment_channels(hits, pixels, extra, longest, most, length):
    """Cut the spectrum into segments, so that their entropies and ``extra`` bits for each are least.

    Parameters are the hits of each channel, the pixels, bits per segment, the most channels in a segment, and the bits
    that a segment of several channels may have. Writes the channels of each segment and returns their number.
    """
    n = hits.size
    cost = np.full(n + 1, np.inf)
    came = np.zeros(n + 1, np.int64)
    cost[0] = 0.0
    for a in range(n):
        total = 0.0
        for b in range(a + 1, min(a + longest, n) + 1):
            total += hits[b - 1]
            places = float((b - a) * pixels)
            bits = 0.0
            if total > 0:
                bits += total * np.log2(places / total)
            if total < places:
                bits += (places - total) * np.log2(places / (places - total))
            if b > a + 1 and bits > most:
                break
            if cost[a] + bits + extra < cost[b]:
                cost[b] = cost[a] + bits + extra
                came[b] = a
    segments = 0
    b = n
    while b > 0:
        length[segments] = b - came[b]
        segments += 1
        b = came[b]
    length[:segments] = length[:segments][::-1].copy()
    return segments
