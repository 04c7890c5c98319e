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
    rows, columns = frame.shape
    height, width = total.shape
    for i in range(rows):
        y = i + moved[i, 0] + offset
        y0 = math.floor(y)
        if y0 < 0 or y0 >= height - 1:
            continue
        x = moved[i, 1] + offset
        x0 = math.floor(x)
        fy, fx = y - y0, x - x0
        a = np.float32((1 - fy) * (1 - fx) * sign)
        b = np.float32((1 - fy) * fx * sign)
        c = np.float32(fy * (1 - fx) * sign)
        d = np.float32(fy * fx * sign)
        first, last = max(0, -x0), min(columns, width - 1 - x0)
        for j in range(first, last):
            w = weight[i, j]
            v = frame[i, j] * w
            total[y0, x0 + j] += a * v
            weights[y0, x0 + j] += a * w
            total[y0 + 1, x0 + j] += c * v
            weights[y0 + 1, x0 + j] += c * w
        for j in range(first, last):
            w = weight[i, j]
            v = frame[i, j] * w
            total[y0, x0 + j + 1] += b * v
            weights[y0, x0 + j + 1] += b * w
            total[y0 + 1, x0 + j + 1] += d * v
            weights[y0 + 1, x0 + j + 1] += d * w


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
def blur(image, taps, between, result):
    """Convolve with symmetric taps (centre first) along both axes; beyond the edge the image is zero."""
    rows, columns = image.shape
    reach = taps.shape[0] - 1
    for i in range(rows):
        for j in range(columns):
            between[i, j] = taps[0] * image[i, j]
        for t in range(1, reach + 1):
            w = taps[t]
            if i - t >= 0 and i + t < rows:
                for j in range(columns):
                    between[i, j] += w * (image[i - t, j] + image[i + t, j])
            elif i - t >= 0:
                for j in range(columns):
                    between[i, j] += w * image[i - t, j]
            elif i + t < rows:
                for j in range(columns):
                    between[i, j] += w * image[i + t, j]
        for j in range(columns):
            result[i, j] = taps[0] * between[i, j]
        for t in range(1, reach + 1):
            w = taps[t]
            for j in range(t, columns - t):
                result[i, j] += w * (between[i, j - t] + between[i, j + t])
            for j in range(max(t, columns - t), columns):
                result[i, j] += w * between[i, j - t]
            for j in range(min(t, columns - t)):
                result[i, j] += w * between[i, j + t]


@njit(cache=True, nogil=True, fastmath=True)
def blur_halved(image, taps, row, result):
    """Do what `blur` does, for every other row and column only; ``row`` (columns,) is for what is between."""
    rows, columns = image.shape
    reach = taps.shape[0] - 1
    for half in range(result.shape[0]):
        i = 2 * half
        for j in range(columns):
            row[j] = taps[0] * image[i, j]
        for t in range(1, reach + 1):
            w = taps[t]
            if i - t >= 0 and i + t < rows:
                for j in range(columns):
                    row[j] += w * (image[i - t, j] + image[i + t, j])
            elif i - t >= 0:
                for j in range(columns):
                    row[j] += w * image[i - t, j]
            elif i + t < rows:
                for j in range(columns):
                    row[j] += w * image[i + t, j]
        for k in range(result.shape[1]):
            j = 2 * k
            total = taps[0] * row[j]
            for t in range(1, reach + 1):
                if j - t >= 0:
                    total += taps[t] * row[j - t]
                if j + t < columns:
                    total += taps[t] * row[j + t]
            result[half, k] = total


@njit(cache=True, nogil=True, fastmath=True)
def mean_and_gradient(total, weights, least, level, mean, gradient_y, gradient_x):
    """Write ``total / weights`` and its gradient; ``level`` and no gradient where weights are below ``least``."""
    rows, columns = total.shape
    for i in range(rows):
        for j in range(columns):
            if weights[i, j] > least:
                mean[i, j] = total[i, j] / weights[i, j]
            else:
                mean[i, j] = level
    half = np.float32(0.5)
    for i in range(rows):
        if i == 0 or i == rows - 1:
            for j in range(columns):
                gradient_y[i, j] = 0
                gradient_x[i, j] = 0
            continue
        gradient_x[i, 0] = 0
        gradient_y[i, 0] = 0
        gradient_x[i, columns - 1] = 0
        gradient_y[i, columns - 1] = 0
        for j in range(1, columns - 1):
            inside = min(weights[i - 1, j], weights[i + 1, j], weights[i, j - 1], weights[i, j + 1], weights[i, j])
            share = half if inside > least else np.float32(0)
            gradient_y[i, j] = share * (mean[i + 1, j] - mean[i - 1, j])
            gradient_x[i, j] = share * (mean[i, j + 1] - mean[i, j - 1])
