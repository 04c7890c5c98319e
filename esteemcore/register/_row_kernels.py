"""Compiled loops of the scan-line model: normal equations of each line, smoothing along the slow axis."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

STATISTICS = 8
"""Sums over a frame: 1, r, r², I, r I, e², e² m and m² with reference r, sample I, residual e, prediction m."""

# error_model="numpy": a check for division by zero would keep LLVM from making SIMD of a loop.


@njit(cache=True, nogil=True, fastmath=True)
def _interpolate(image, y, x, n, first, row):
    """Write ``image(y, x + first + j)``, bilinear, for n samples of a row."""
    y0, x0 = math.floor(y), math.floor(x)
    fy, fx = y - y0, x - x0
    w00, w01 = np.float32((1 - fy) * (1 - fx)), np.float32((1 - fy) * fx)
    w10, w11 = np.float32(fy * (1 - fx)), np.float32(fy * fx)
    at = first + x0
    a, b, c, d = image[y0, at:], image[y0, at + 1 :], image[y0 + 1, at:], image[y0 + 1, at + 1 :]
    for j in range(n):
        row[j] = w00 * a[j] + w01 * b[j] + w10 * c[j] + w11 * d[j]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def line_normal(
    frame,
    weight,
    reference,
    gradient_y,
    gradient_x,
    moved,
    offset,
    gain,
    level,
    noise,
    slope,
    floor,
    normal,
    right,
    chi,
    sums,
):
    """Write the normal equations of each line's displacement, and the statistics of the whole frame.

    ``frame = gain * reference(x + moved) + level`` with noise of variance ``noise + slope * prediction``, at
    least ``floor``. ``normal``
    (lines, 3) gets the matrix (yy, yx, xx), ``right`` (lines, 2) the right side, ``chi`` (lines, 2) the sum of squared
    residuals in units of the noise and the number of samples.
    """
    rows, columns = frame.shape
    height, width = reference.shape
    sums[:] = 0.0
    zero = np.float32(0)
    g, base = np.float32(gain), np.float32(level)
    v0, v1 = np.float32(noise), np.float32(slope)
    least = np.float32(floor)
    r, dy, dx = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    m, e = np.empty(columns, np.float32), np.empty(columns, np.float32)
    u, w = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for i in range(rows):
        a00 = a01 = a11 = b0 = b1 = zero
        s1 = sr = srr = si = sri = see = seem = smm = sq = zero
        y, x = i + moved[i, 0] + offset, moved[i, 1] + offset
        y0, x0 = math.floor(y), math.floor(x)
        first = max(0, -x0)
        n = min(columns, width - 1 - x0) - first
        if y0 >= 0 and y0 < height - 1 and n > 0:
            value, used = frame[i, first : first + n], weight[i, first : first + n]
            _interpolate(reference, y, x, n, first, r)
            _interpolate(gradient_y, y, x, n, first, dy)
            _interpolate(gradient_x, y, x, n, first, dx)
            for j in range(n):  # short loops: each of them is made SIMD, all together would run out of registers
                dy[j] *= g
                dx[j] *= g
                u[j] = used[j] if dy[j] * dy[j] + dx[j] * dx[j] > zero else zero
            for j in range(n):
                m[j] = g * r[j] + base
                e[j] = value[j] - m[j]
                variance = v0 + v1 * m[j]
                w[j] = u[j] / (variance if variance > least else least)
            for j in range(n):
                wy, wx = w[j] * dy[j], w[j] * dx[j]
                a00 += wy * dy[j]
                a01 += wy * dx[j]
                a11 += wx * dx[j]
                b0 += wy * e[j]
                b1 += wx * e[j]
                sq += w[j] * e[j] * e[j]
            for j in range(n):
                ur = u[j] * r[j]
                s1 += u[j]
                sr += ur
                srr += ur * r[j]
                si += u[j] * value[j]
                sri += ur * value[j]
            for j in range(n):
                ee = u[j] * e[j] * e[j]
                see += ee
                seem += ee * m[j]
                smm += u[j] * m[j] * m[j]
        normal[i, 0], normal[i, 1], normal[i, 2] = a00, a01, a11
        right[i, 0], right[i, 1] = b0, b1
        chi[i, 0], chi[i, 1] = sq, s1
        sums[0] += s1
        sums[1] += sr
        sums[2] += srr
        sums[3] += si
        sums[4] += sri
        sums[5] += see
        sums[6] += seem
        sums[7] += smm


@njit(cache=True, nogil=True)
def smooth_lines(normal, right, correlation, innovation, scale, state, variance, lagged):
    """Solve for the displacements of the lines from their normal equations and an AR(1) prior; return nothing.

    Minimises ``sum_i (x_i' N_i x_i - 2 x_i' r_i) + sum_i scale_i |x_i - c x_(i-1)|² / q`` per axis with correlation c
    (2,) and variance q (2,) of the innovation; ``state`` (lines, 2) gets x, ``variance`` (lines, 2, 2) its posterior
    covariance and ``lagged`` (lines, 2, 2) that of x_i with x_(i+1). Block tridiagonal elimination (2x2 blocks).
    """
    n = normal.shape[0]
    gain = np.empty((n, 2, 2))
    inverse = np.empty((n, 2, 2))
    half = np.empty((n, 2))
    for i in range(n):
        m00, m01, m10, m11 = normal[i, 0], normal[i, 1], normal[i, 1], normal[i, 2]
        r0, r1 = right[i, 0], right[i, 1]
        here = scale[i]
        if i == 0:
            m00 += here * (1 - correlation[0] ** 2) / innovation[0]
            m11 += here * (1 - correlation[1] ** 2) / innovation[1]
        else:
            m00 += here / innovation[0]
            m11 += here / innovation[1]
            k0 = here * correlation[0] / innovation[0]
            k1 = here * correlation[1] / innovation[1]
            m00 -= k0 * gain[i - 1, 0, 0]
            m01 -= k0 * gain[i - 1, 0, 1]
            m10 -= k1 * gain[i - 1, 1, 0]
            m11 -= k1 * gain[i - 1, 1, 1]
            r0 += k0 * half[i - 1, 0]
            r1 += k1 * half[i - 1, 1]
        u0 = u1 = 0.0
        if i < n - 1:
            after = scale[i + 1]
            m00 += after * correlation[0] ** 2 / innovation[0]
            m11 += after * correlation[1] ** 2 / innovation[1]
            u0 = after * correlation[0] / innovation[0]
            u1 = after * correlation[1] / innovation[1]
        determinant = m00 * m11 - m01 * m10
        i00, i01 = m11 / determinant, -m01 / determinant
        i10, i11 = -m10 / determinant, m00 / determinant
        inverse[i, 0, 0], inverse[i, 0, 1], inverse[i, 1, 0], inverse[i, 1, 1] = i00, i01, i10, i11
        gain[i, 0, 0], gain[i, 0, 1], gain[i, 1, 0], gain[i, 1, 1] = i00 * u0, i01 * u1, i10 * u0, i11 * u1
        half[i, 0] = i00 * r0 + i01 * r1
        half[i, 1] = i10 * r0 + i11 * r1
    state[n - 1] = half[n - 1]
    variance[n - 1] = inverse[n - 1]
    for i in range(n - 2, -1, -1):
        for a in range(2):
            state[i, a] = half[i, a] + gain[i, a, 0] * state[i + 1, 0] + gain[i, a, 1] * state[i + 1, 1]
            for b in range(2):
                lagged[i, a, b] = gain[i, a, 0] * variance[i + 1, 0, b] + gain[i, a, 1] * variance[i + 1, 1, b]
        for a in range(2):
            for b in range(2):
                variance[i, a, b] = inverse[i, a, b] + lagged[i, a, 0] * gain[i, b, 0] + lagged[i, a, 1] * gain[i, b, 1]


@njit(cache=True, nogil=True)
def line_moments(state, variance, lagged, result):
    """Write the posterior means of x_i², x_(i-1)² and x_i x_(i-1) from what `smooth_lines` found."""
    for i in range(1, state.shape[0]):
        for a in range(2):
            result[0, i - 1, a] = state[i, a] ** 2 + variance[i, a, a]
            result[1, i - 1, a] = state[i - 1, a] ** 2 + variance[i - 1, a, a]
            result[2, i - 1, a] = state[i, a] * state[i - 1, a] + lagged[i - 1, a, a]


@njit(cache=True, nogil=True)
def rescale_steps(moments, correlation, innovation, tails, scale):
    """Write the weights that Student's t with this many degrees of freedom gives to the steps, from `line_moments`."""
    for i in range(moments.shape[1]):
        square = 0.0
        for a in range(2):
            now, before, cross = moments[0, i, a], moments[1, i, a], moments[2, i, a]
            c = correlation[a]
            square += (now - 2 * c * cross + c * c * before) / innovation[a]
        scale[i + 1] = (tails + 2) / (tails + square)


@njit(cache=True, nogil=True)
def sample_normal(
    frame, weight, reference, gradient_y, gradient_x, moved, offset, gain, level, noise, slope, floor, normal, right
):
    """Write the normal equations of each sample's displacement: ``normal`` (3, y, x) and ``right`` (2, y, x).

    As `line_normal`, with a displacement ``moved`` (y, x, 2) of each sample.
    """
    height, width = reference.shape
    for i in range(frame.shape[0]):
        for j in range(frame.shape[1]):
            for a in range(3):
                normal[a, i, j] = 0.0
            right[0, i, j] = right[1, i, j] = 0.0
            y, x = i + moved[i, j, 0] + offset, j + moved[i, j, 1] + offset
            y0, x0 = math.floor(y), math.floor(x)
            if y0 < 0 or y0 >= height - 1 or x0 < 0 or x0 >= width - 1 or weight[i, j] == 0:
                continue
            fy, fx = y - y0, x - x0
            w00, w01, w10, w11 = (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx
            r = dy = dx = 0.0
            for p in range(2):
                for q in range(2):
                    share = (w11 if q else w10) if p else (w01 if q else w00)
                    r += share * reference[y0 + p, x0 + q]
                    dy += share * gain * gradient_y[y0 + p, x0 + q]
                    dx += share * gain * gradient_x[y0 + p, x0 + q]
            m = gain * r + level
            w = weight[i, j] / max(noise + slope * m, floor)
            e = frame[i, j] - m
            normal[0, i, j], normal[1, i, j], normal[2, i, j] = w * dy * dy, w * dy * dx, w * dx * dx
            right[0, i, j], right[1, i, j] = w * dy * e, w * dx * e
