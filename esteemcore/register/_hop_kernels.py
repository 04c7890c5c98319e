"""Compiled loops of the comparison of places: a mean moved by a hop, where it differs from itself, and how much."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.register._splat_kernels import blur

BIN = 4
"""Shading is found on pixels of this many."""
LEAST_COVER = 0.05
"""Where less than this share of what is around is known, its shading is taken to be small."""


@njit(cache=True, nogil=True)
def lanczos(fraction, taps):
    """Write the weights of the pixels around a place that lies this fraction of a pixel behind the middle one."""
    lobes = taps.shape[0] // 2
    for t in range(2 * lobes):
        x = math.pi * (fraction - (t - lobes + 1))
        taps[t] = 1.0 if abs(x) < 1e-9 else math.sin(x) / x * math.sin(x / lobes) / (x / lobes)
    taps /= taps.sum()


@njit(cache=True, nogil=True, fastmath=True)
def move(image, dy, dx, lobes, result):
    """Write ``image(x + d)``, by a windowed sinc (Lanczos) of this many lobes; beyond the edge the image is zero."""
    rows, columns = image.shape
    a, b = math.floor(dy), math.floor(dx)
    along, across = np.empty(2 * lobes, np.float32), np.empty(2 * lobes, np.float32)
    lanczos(dy - a, along)
    lanczos(dx - b, across)
    room = abs(b) + 2 * lobes
    wide = np.zeros(columns + 2 * room, np.float32)
    middle = wide[room : room + columns]
    for i in range(rows):
        middle[:] = 0
        for t in range(2 * lobes):
            y = i + a + t - lobes + 1
            if y >= 0 and y < rows:
                w, there = along[t], image[y]
                for j in range(columns):
                    middle[j] += w * there[j]
        row = result[i]
        row[:] = 0
        for t in range(2 * lobes):
            w, there = across[t], wide[room + b + t - lobes + 1 :]
            for j in range(columns):
                row[j] += w * there[j]


@njit(cache=True, nogil=True)
def both_known(known, a, b, both):
    """Write 1 where an image is known at x and at x + (a, b), else 0."""
    rows, columns = known.shape
    both[:] = 0
    first, last = max(0, -b), min(columns, columns - b)
    n = last - first
    if n <= 0:
        return
    for i in range(max(0, -a), min(rows, rows - a)):
        here, there, result = known[i, first:last], known[i + a, first + b : last + b], both[i, first:last]
        for j in range(n):
            result[j] = here[j] * there[j]


@njit(cache=True, nogil=True, fastmath=True)
def step_sums(here, there, both, sums):
    """Write the normal equations of the shift that makes ``there`` most like ``here``: yy, yx, xx and right sides."""
    rows, columns = here.shape
    sums[:] = 0
    n = columns - 2
    for i in range(1, rows - 1):
        yy = yx = xx = y = x = np.float32(0)
        above, below = there[i - 1, 1:], there[i + 1, 1:]
        left, right = there[i], there[i, 2:]
        r, m, w = here[i, 1:], there[i, 1:], both[i, 1:]
        for j in range(n):
            gy, gx = w[j] * (below[j] - above[j]), w[j] * (right[j] - left[j])
            e = r[j] - m[j]
            yy += gy * gy
            yx += gy * gx
            xx += gx * gx
            y += gy * e
            x += gx * e
        sums[0] += yy
        sums[1] += yx
        sums[2] += xx
        sums[3] += y
        sums[4] += x


@njit(cache=True, nogil=True, fastmath=True)
def squares(here, there, both, weight, some):
    """Write the squared differences, in units of the noise, of every other pixel that is known; return how many."""
    found = 0
    for i in range(0, here.shape[0], 2):
        for j in range(0, here.shape[1], 2):
            if both[i, j] > 0:
                some[found] = (there[i, j] - here[i, j]) ** 2 * weight[i, j]
                found += 1
    return found


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def telling(here, there, both, weight, steepness, doubt, distortion, by_chance, filters, middles, expected, chances):
    """Write the filter that tells two places apart, and what it gives: of their mean, if all is right, by chance.

    Of a squared difference counts what exceeds ``doubt + distortion * steepness``, in units of the noise.
    """
    rows, columns = here.shape
    half, zero, tiny = np.float32(0.5), np.float32(0), np.float32(1e-30)
    doubt, distortion, by_chance = np.float32(doubt), np.float32(distortion), np.float32(by_chance)
    for i in range(rows):
        r, m, w, s, u = here[i], there[i], weight[i], steepness[i], both[i]
        f, mid, e, chance = filters[i], middles[i], expected[i], chances[i]
        for j in range(columns):
            difference = u[j] * (m[j] - r[j])
            square = difference * difference * w[j]
            beyond = square - doubt - distortion * s[j]
            share = (beyond if beyond > zero else zero) / (square if square > tiny else tiny)
            f[j] = difference * share * w[j]
            mid[j] = f[j] * half * (r[j] + m[j])
            chance[j] = by_chance * u[j]
            e[j] = f[j] * difference - chance[j]


@njit(cache=True, nogil=True, fastmath=True)
def power(spectrum, weight, result):
    """Write ``weight * |spectrum|²``, the weight for each column."""
    for i in range(spectrum.shape[0]):
        for j in range(spectrum.shape[1]):
            z = spectrum[i, j]
            result[i, j] = weight[j] * (z.real * z.real + z.imag * z.imag)


@njit(cache=True, nogil=True, fastmath=True)
def take_shading(image, known, taps):
    """Take the local mean of what is known from an image that is 0 elsewhere: a Gaussian of ``taps``, in bins."""
    rows, columns = image.shape
    height, width = (rows + BIN - 1) // BIN, (columns + BIN - 1) // BIN
    total, cover = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for i in range(rows):
        row, its = total[i // BIN], cover[i // BIN]
        for j in range(columns):
            row[j // BIN] += image[i, j]
            its[j // BIN] += known[i, j]
    shading, near = np.empty_like(total), np.empty_like(total)
    blur(total, taps, shading)
    blur(cover, taps, near)
    least = np.float32(LEAST_COVER * BIN * BIN)
    for i in range(height):
        for j in range(width):
            shading[i, j] /= max(near[i, j], least)
    line = np.empty(width, np.float32)
    for i in range(rows):
        y = min(max((i + 0.5) / BIN - 0.5, 0.0), height - 1.0)
        a = min(int(y), max(height - 2, 0))
        f = np.float32(y - a)
        for j in range(width):
            line[j] = shading[a, j] + f * (shading[min(a + 1, height - 1), j] - shading[a, j])
        for j in range(columns):
            x = min(max((j + 0.5) / BIN - 0.5, 0.0), width - 1.0)
            b = min(int(x), max(width - 2, 0))
            if known[i, j]:
                image[i, j] -= line[b] + np.float32(x - b) * (line[min(b + 1, width - 1)] - line[b])
