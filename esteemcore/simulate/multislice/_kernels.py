"""Waves through slices: compiled loops that hold no lock, on groups of waves side by side (last axis).

A wave is kept as two float32 arrays, real and imaginary part. The transform with the two parts exchanged is the inverse
one, times the number of samples.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from esteemcore.simulate.multislice.fourier import LANES

FAST = {"contract", "nsz", "arcp"}


@njit(cache=True, nogil=True, fastmath=FAST)
def _step_2(xr, xi, yr, yi, m, block, step, turns):
    for p in range(m):
        c, s = turns[p * step]
        a, b, y, z = p * block, (p + m) * block, 2 * p * block, (2 * p + 1) * block
        ar, ai, br, bi = xr[a : a + block], xi[a : a + block], xr[b : b + block], xi[b : b + block]
        y0r, y0i, y1r, y1i = yr[y : y + block], yi[y : y + block], yr[z : z + block], yi[z : z + block]
        for i in range(block):
            dr, di = ar[i] - br[i], ai[i] - bi[i]
            y0r[i], y0i[i] = ar[i] + br[i], ai[i] + bi[i]
            y1r[i], y1i[i] = dr * c - di * s, dr * s + di * c


@njit(cache=True, nogil=True, fastmath=FAST)
def _step_3(xr, xi, yr, yi, m, block, step, turns):
    half, root = np.float32(0.5), np.float32(0.8660254037844386)
    for p in range(m):
        c1, s1 = turns[p * step]
        c2, s2 = turns[2 * p * step]
        a, b, c, y = p * block, (p + m) * block, (p + 2 * m) * block, 3 * p * block
        ar, ai, br, bi = xr[a : a + block], xi[a : a + block], xr[b : b + block], xi[b : b + block]
        cr, ci = xr[c : c + block], xi[c : c + block]
        y0r, y0i = yr[y : y + block], yi[y : y + block]
        y1r, y1i = yr[y + block : y + 2 * block], yi[y + block : y + 2 * block]
        y2r, y2i = yr[y + 2 * block : y + 3 * block], yi[y + 2 * block : y + 3 * block]
        for i in range(block):
            sr, si = br[i] + cr[i], bi[i] + ci[i]
            dr, di = root * (bi[i] - ci[i]), root * (cr[i] - br[i])
            y0r[i], y0i[i] = ar[i] + sr, ai[i] + si
            tr, ti = ar[i] - half * sr, ai[i] - half * si
            ur, ui, vr, vi = tr + dr, ti + di, tr - dr, ti - di
            y1r[i], y1i[i] = ur * c1 - ui * s1, ur * s1 + ui * c1
            y2r[i], y2i[i] = vr * c2 - vi * s2, vr * s2 + vi * c2


@njit(cache=True, nogil=True, fastmath=FAST)
def _step_4(xr, xi, yr, yi, m, block, step, turns):
    for p in range(m):
        c1, s1 = turns[p * step]
        c2, s2 = turns[2 * p * step]
        c3, s3 = turns[3 * p * step]
        a, b, c, d, y = p * block, (p + m) * block, (p + 2 * m) * block, (p + 3 * m) * block, 4 * p * block
        ar, ai, br, bi = xr[a : a + block], xi[a : a + block], xr[b : b + block], xi[b : b + block]
        cr, ci, dr, di = xr[c : c + block], xi[c : c + block], xr[d : d + block], xi[d : d + block]
        y0r, y0i = yr[y : y + block], yi[y : y + block]
        y1r, y1i = yr[y + block : y + 2 * block], yi[y + block : y + 2 * block]
        y2r, y2i = yr[y + 2 * block : y + 3 * block], yi[y + 2 * block : y + 3 * block]
        y3r, y3i = yr[y + 3 * block : y + 4 * block], yi[y + 3 * block : y + 4 * block]
        for i in range(block):
            er, ei, fr, fi = ar[i] + cr[i], ai[i] + ci[i], ar[i] - cr[i], ai[i] - ci[i]
            gr, gi, hr, hi = br[i] + dr[i], bi[i] + di[i], bi[i] - di[i], dr[i] - br[i]
            y0r[i], y0i[i] = er + gr, ei + gi
            ur, ui = fr + hr, fi + hi
            y1r[i], y1i[i] = ur * c1 - ui * s1, ur * s1 + ui * c1
            vr, vi = er - gr, ei - gi
            y2r[i], y2i[i] = vr * c2 - vi * s2, vr * s2 + vi * c2
            wr, wi = fr - hr, fi - hi
            y3r[i], y3i[i] = wr * c3 - wi * s3, wr * s3 + wi * c3


@njit(cache=True, nogil=True, fastmath=FAST)
def _step_any(xr, xi, yr, yi, r, m, block, step, turns):
    n = len(turns)
    for p in range(m):
        for k in range(r):
            y = (r * p + k) * block
            outr, outi = yr[y : y + block], yi[y : y + block]
            outr[:] = 0
            outi[:] = 0
            for j in range(r):
                # the turn of a small transform of length r and that of the step, in one
                c, s = turns[(j * k * (n // r) + k * p * step) % n]
                x = (p + m * j) * block
                inr, ini = xr[x : x + block], xi[x : x + block]
                for i in range(block):
                    outr[i] += inr[i] * c - ini[i] * s
                    outi[i] += inr[i] * s + ini[i] * c


@njit(cache=True, nogil=True)
def transform(xr, xi, yr, yi, factors, turns):
    """Transform along the first of two axes, flat; return the parts of the result, and those of the other memory."""
    left = n = len(turns)
    done = 1
    block = len(xr) // n
    for r in factors:
        left //= r
        if r == 2:
            _step_2(xr, xi, yr, yi, left, done * block, done, turns)
        elif r == 3:
            _step_3(xr, xi, yr, yi, left, done * block, done, turns)
        elif r == 4:
            _step_4(xr, xi, yr, yi, left, done * block, done, turns)
        else:
            _step_any(xr, xi, yr, yi, r, left, done * block, done, turns)
        xr, xi, yr, yi = yr, yi, xr, xi
        done *= r
    return xr, xi, yr, yi


@njit(cache=True, nogil=True)
def _transpose(x, y, rows, columns):
    for i in range(rows):
        for j in range(columns):
            a, b = (i * columns + j) * LANES, (j * rows + i) * LANES
            for lane in range(LANES):
                y[b + lane] = x[a + lane]


@njit(cache=True, nogil=True, fastmath=FAST)
def _multiply_all(xr, xi, factor):
    """Multiply each wave by the same factors (n,)."""
    for k in range(len(factor)):
        c, s = factor[k].real, factor[k].imag
        for i in range(k * LANES, (k + 1) * LANES):
            xr[i], xi[i] = xr[i] * c - xi[i] * s, xr[i] * s + xi[i] * c


@njit(cache=True, nogil=True, fastmath=FAST)
def _multiply_each(xr, xi, cr, ci):
    """Multiply each wave by its own factors."""
    for i in range(len(xr)):
        xr[i], xi[i] = xr[i] * cr[i] - xi[i] * ci[i], xr[i] * ci[i] + xi[i] * cr[i]


@njit(cache=True, nogil=True)
def _block_of(wave, offsets):
    return np.searchsorted(offsets, wave, side="right") - 1


@njit(cache=True, nogil=True)
def propagate(
    first, last, shape, start, end, incoming, outgoing, cells, transmissions, slices, propagators, rows, columns, matrix
):
    """Send plane waves ``first`` to ``last`` through all slices and write their rows of the scattering matrix.

    ``start`` and ``end`` hold places on the grid; ``incoming``, ``outgoing`` and ``cells`` where the waves and the part
    of the flat ``matrix`` of each block begin. ``transmissions`` (kinds, x y) are transposed and divided by the number
    of samples; ``propagators`` (blocks, y x). ``rows`` and ``columns`` are factors and turns of the transforms.
    """
    ny, nx = shape
    size = ny * nx * LANES
    xr, xi = np.empty(size, np.float32), np.empty(size, np.float32)
    yr, yi = np.empty(size, np.float32), np.empty(size, np.float32)
    fr, fi = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for group in range(first, last, LANES):
        count = min(LANES, last - group)
        xr[:] = 0
        xi[:] = 0
        for lane in range(count):
            wave = group + lane
            xr[(start[wave, 0] * nx + start[wave, 1]) * LANES + lane] = 1
            factor = propagators[_block_of(wave, incoming)]
            for k in range(ny * nx):
                fr[k * LANES + lane], fi[k * LANES + lane] = factor[k].real, factor[k].imag
        for kind in slices:
            xi, xr, yi, yr = transform(xi, xr, yi, yr, rows[0], rows[1])
            _transpose(xr, yr, ny, nx)
            _transpose(xi, yi, ny, nx)
            yi, yr, xi, xr = transform(yi, yr, xi, xr, columns[0], columns[1])
            _multiply_all(yr, yi, transmissions[kind])
            yr, yi, xr, xi = transform(yr, yi, xr, xi, columns[0], columns[1])
            _transpose(yr, xr, nx, ny)
            _transpose(yi, xi, nx, ny)
            xr, xi, yr, yi = transform(xr, xi, yr, yi, rows[0], rows[1])
            _multiply_each(xr, xi, fr, fi)
        for lane in range(count):
            wave = group + lane
            b = _block_of(wave, incoming)
            at = cells[b] + (wave - incoming[b]) * (outgoing[b + 1] - outgoing[b])
            for j in range(outgoing[b], outgoing[b + 1]):
                k = (end[j, 0] * nx + end[j, 1]) * LANES + lane
                matrix[at] = complex(xr[k], xi[k])
                at += 1


@njit(cache=True, nogil=True)
def recombine(first, last, shape, orders, amplitude, incoming, outgoing, cells, matrix, rows, columns, intensity):
    """Sum the Fourier series of outgoing waves ``first`` to ``last`` and write their intensity (y x, waves).

    ``orders`` are the places on the grid of the incoming waves, which have this ``amplitude``.
    """
    ny, nx = shape
    size = ny * nx * LANES
    xr, xi = np.empty(size, np.float32), np.empty(size, np.float32)
    yr, yi = np.empty(size, np.float32), np.empty(size, np.float32)
    for group in range(first, last, LANES):
        count = min(LANES, last - group)
        xr[:] = 0
        xi[:] = 0
        for lane in range(count):
            b = _block_of(group + lane, outgoing)
            width = outgoing[b + 1] - outgoing[b]
            at = cells[b] + group + lane - outgoing[b]
            for i in range(incoming[b], incoming[b + 1]):
                value = amplitude[i] * matrix[at]
                k = (orders[i, 0] * nx + orders[i, 1]) * LANES + lane
                xr[k] += value.real
                xi[k] += value.imag
                at += width
        xr, xi, yr, yi = transform(xr, xi, yr, yi, rows[0], rows[1])
        _transpose(xr, yr, ny, nx)
        _transpose(xi, yi, ny, nx)
        yr, yi, xr, xi = transform(yr, yi, xr, xi, columns[0], columns[1])
        for i in range(ny):
            for j in range(nx):
                k = (j * ny + i) * LANES
                for lane in range(count):
                    intensity[i * nx + j, group + lane] = yr[k + lane] ** 2 + yi[k + lane] ** 2
