"""Compiled loops that spread samples over a grid and blur images."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath=True)
def splat_lines(frame, weight, moved, offset, sign, total, weights):
    """Spread ``sign * weight * frame`` bilinearly on a grid whose origin lies ``offset`` px before the common one.

    Line i is displaced by ``moved[i]`` (2,). Samples beside the grid are left out.
    """
    height, width = total.shape
    for i in range(frame.shape[0]):
        y, x = i + moved[i, 0] + offset, moved[i, 1] + offset
        y0, x0 = math.floor(y), math.floor(x)
        first = max(0, -x0)
        n = min(frame.shape[1], width - 1 - x0) - first
        if y0 < 0 or y0 >= height - 1 or n <= 0:
            continue
        fx, at = x - x0, first + x0
        w, v = weight[i, first : first + n], frame[i, first : first + n]  # slices: LLVM then makes SIMD of the loops
        for p in range(2):
            share = sign * (y - y0 if p else 1 - (y - y0))
            a, b = np.float32(share * (1 - fx)), np.float32(share * fx)
            there, cover = total[y0 + p, at : at + n + 1], weights[y0 + p, at : at + n + 1]
            there[0] += a * v[0] * w[0]
            cover[0] += a * w[0]
            inner, its_cover, v1, w1 = there[1:n], cover[1:n], v[1:], w[1:]
            for j in range(n - 1):
                inner[j] += a * v1[j] * w1[j] + b * v[j] * w[j]
                its_cover[j] += a * w1[j] + b * w[j]
            there[n] += b * v[n - 1] * w[n - 1]
            cover[n] += b * w[n - 1]


@njit(cache=True, nogil=True)
def splat_field(frame, weight, moved, offset, sign, total, weights):
    """Do what `splat_lines` does with a displacement of each sample, ``moved`` (y, x, 2)."""
    height, width = total.shape
    for i in range(frame.shape[0]):
        for j in range(frame.shape[1]):
            y = i + moved[i, j, 0] + offset
            x = j + moved[i, j, 1] + offset
            y0, x0 = math.floor(y), math.floor(x)
            if y0 < 0 or y0 >= height - 1 or x0 < 0 or x0 >= width - 1:
                continue
            fy, fx = y - y0, x - x0
            w = weight[i, j] * sign
            v = frame[i, j] * w
            for p in range(2):
                for q in range(2):
                    share = (fy if p else 1 - fy) * (fx if q else 1 - fx)
                    total[y0 + p, x0 + q] += share * v
                    weights[y0 + p, x0 + q] += share * w


@njit(cache=True, nogil=True, fastmath=True)
def _blur_along_columns(image, taps, i, row):
    """Write row i of an image that was convolved along its columns; beyond the edge the image is zero."""
    rows, columns = image.shape
    here = image[i]
    for j in range(columns):
        row[j] = taps[0] * here[j]
    t = 1
    while t < taps.shape[0]:
        if t + 1 < taps.shape[0] and i > t and i + t + 1 < rows:  # two at once: half of the loads and stores
            v, w = taps[t], taps[t + 1]
            a, b, c, d = image[i - t], image[i + t], image[i - t - 1], image[i + t + 1]
            for j in range(columns):
                row[j] += v * (a[j] + b[j]) + w * (c[j] + d[j])
            t += 2
            continue
        w = taps[t]
        for y in (i - t, i + t):
            if y >= 0 and y < rows:
                there = image[y]
                for j in range(columns):
                    row[j] += w * there[j]
        t += 1


@njit(cache=True, nogil=True, fastmath=True)
def _blur_along_row(wide, taps, row):
    """Write a row that was convolved; ``wide`` has as many zeros more at both ends as the taps reach."""
    reach, n = taps.shape[0] - 1, row.shape[0]
    middle = wide[reach:]
    for j in range(n):
        row[j] = taps[0] * middle[j]
    for t in range(1, reach, 2):
        v, w = taps[t], taps[t + 1]
        a, b, c, d = wide[reach - t :], wide[reach + t :], wide[reach - t - 1 :], wide[reach + t + 1 :]
        for j in range(n):
            row[j] += v * (a[j] + b[j]) + w * (c[j] + d[j])
    if reach % 2:
        w, last = taps[reach], wide[2 * reach :]
        for j in range(n):
            row[j] += w * (wide[j] + last[j])


@njit(cache=True, nogil=True, fastmath=True)
def blur(image, taps, result):
    """Convolve with symmetric taps (centre first) along both axes; beyond the edge the image is zero."""
    columns, reach = image.shape[1], taps.shape[0] - 1
    wide = np.zeros(columns + 2 * reach, np.float32)
    for i in range(image.shape[0]):
        _blur_along_columns(image, taps, i, wide[reach : reach + columns])
        _blur_along_row(wide, taps, result[i])


@njit(cache=True, nogil=True, fastmath=True)
def blur_halved(image, taps, result):
    """Do what `blur` does, for every other row and column only."""
    columns, reach = image.shape[1], taps.shape[0] - 1
    wide, row = np.zeros(columns + 2 * reach, np.float32), np.empty(columns, np.float32)
    for i in range(result.shape[0]):
        _blur_along_columns(image, taps, 2 * i, wide[reach : reach + columns])
        _blur_along_row(wide, taps, row)  # all of it: with gaps no SIMD
        result[i] = row[::2]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def mean_and_gradient(total, weights, least, level, mean, gradient_y, gradient_x):
    """Write ``total / weights`` and its gradient; ``level`` and no gradient where weights are below ``least``."""
    rows, columns = total.shape
    half, zero = np.float32(0.5), np.float32(0)
    for i in range(rows):
        t, w, m = total[i], weights[i], mean[i]
        for j in range(columns):
            known = w[j] > least
            m[j] = (t[j] if known else level) / (w[j] if known else np.float32(1))
    gradient_y[0] = gradient_y[rows - 1] = gradient_x[0] = gradient_x[rows - 1] = zero
    n = columns - 2
    for i in range(1, rows - 1):
        gy, gx = gradient_y[i], gradient_x[i]
        gy[0] = gy[columns - 1] = gx[0] = gx[columns - 1] = zero
        above, here, below = mean[i - 1, 1:], mean[i], mean[i + 1, 1:]
        w_above, w_here, w_below = weights[i - 1, 1:], weights[i], weights[i + 1, 1:]
        right, centre, gy, gx = here[2:], w_here[1:], gy[1:], gx[1:]
        w_right = w_here[2:]
        for j in range(n):
            least_near = min(min(w_above[j], w_below[j]), min(w_here[j], min(w_right[j], centre[j])))
            share = half if least_near > least else zero
            gy[j] = share * (below[j] - above[j])
            gx[j] = share * (right[j] - here[j])
