"""Electrons one by one: alias tables, random numbers and the drawing of frames."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

U64 = np.uint64
STRIDE = U64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def alias_tables(intensity: NDArray[np.float32], outside: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return one alias table per pattern: the alias in the upper 16 bits, the threshold in the lower 16.

    Slot i keeps itself with probability threshold / 65536; a slot that always keeps itself is its own alias. The last
    slot stands for the electrons outside the window.

    References
    ----------
    M. D. Vose, IEEE Trans. Softw. Eng. 17 (1991) 972.
    """
    n_patterns, n = intensity.shape
    table = np.empty((n_patterns, n + 1), np.uint32)
    share = np.empty(n + 1)
    small, large = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    for p in range(n_patterns):
        total = float(outside[p])
        for i in range(n):
            share[i] = intensity[p, i]
            total += share[i]
        share[n] = outside[p]
        n_small = n_large = 0
        for i in range(n + 1):
            share[i] *= (n + 1) / total
            if share[i] < 1.0:
                small[n_small] = i
                n_small += 1
            else:
                large[n_large] = i
                n_large += 1
        while n_small > 0 and n_large > 0:
            n_small -= 1
            poor, rich = small[n_small], large[n_large - 1]
            threshold = min(int(share[poor] * 65536.0 + 0.5), 65535)
            table[p, poor] = np.uint32((rich << 16) | threshold)
            share[rich] -= 1.0 - share[poor]
            if share[rich] < 1.0:
                n_large -= 1
                small[n_small] = rich
                n_small += 1
        for j in range(n_small + n_large):
            left = small[j] if j < n_small else large[j - n_small]
            table[p, left] = np.uint32(left << 16)
    return table


@njit(cache=True, nogil=True)
def _mix(x: np.uint64) -> np.uint64:
    """Return the random word that belongs to a counter: the finaliser of splitmix64.

    References
    ----------
    G. L. Steele, D. Lea, C. H. Flood, OOPSLA 2014, 453.
    """
    x = (x ^ (x >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U64(27))) * U64(0x94D049BB133111EB)
    return x ^ (x >> U64(31))


@njit(cache=True, nogil=True)
def frame_counter(seed: int, index: int) -> np.uint64:
    """Return where the random words of frame ``index`` of the series ``seed`` begin."""
    return _mix(_mix(U64(seed) + STRIDE) ^ (U64(index) * U64(0xD1342543DE82EF95) + STRIDE))


@njit(cache=True, nogil=True)
def next_word(state: NDArray[np.uint64]) -> np.uint64:
    """Step the counter ``state[0]`` and return its word."""
    state[0] += STRIDE
    word: np.uint64 = _mix(state[0])
    return word


@njit(cache=True, nogil=True)
def _uniform(state: NDArray[np.uint64]) -> float:
    """Return a number in (0, 1)."""
    return (float(next_word(state) >> U64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def poisson(state: NDArray[np.uint64], mean: float) -> int:
    """Return a Poisson number: by multiplication below 10, else by transformed rejection.

    References
    ----------
    W. Hörmann, Insurance: Mathematics and Economics 12 (1993) 39 (PTRS).
    """
    if mean <= 0.0:
        return 0
    if mean < 10.0:
        limit, product, k = math.exp(-mean), _uniform(state), 0
        while product > limit:
            product *= _uniform(state)
            k += 1
        return k
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u, v = _uniform(state) - 0.5, _uniform(state)
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return int(k)
        if k < 0 or (us < 0.013 and v > us):
            continue
        if math.log(v * inverse_alpha / (a / (us * us) + b)) <= k * math.log(mean) - mean - math.lgamma(k + 1.0):
            return int(k)


@njit(cache=True, nogil=True)
def _draw(
    state: NDArray[np.uint64],
    n: int,
    row: float,
    column: float,
    grid: tuple[int, int],
    alias: NDArray[np.uint32],
    waves: NDArray[np.float32],
    lens: NDArray[np.float64],
    shape: tuple[int, int],
    pitch: int,
    hits: NDArray[np.uint32],
) -> int:
    """Draw n electrons for a probe at (row, column) in units of the bank's spacing; return how many hit the detector.

    Each electron takes one of the four patterns around the probe with the bilinear weight, a cell of reciprocal space
    from its alias table, a uniform place in that cell and the pixel there. ``lens`` holds pixels per cell (row, column)
    and the beam axis (row, column) plus one half; ``hits`` gets row * pitch + column.
    """
    ny, nx = grid
    floor_row, floor_column = math.floor(row), math.floor(column)
    weight_row = U64(min(int((row - floor_row) * 65536.0), 65535))
    weight_column = U64(min(int((column - floor_column) * 65536.0), 65535))
    y0, x0 = int(floor_row) % ny, int(floor_column) % nx
    y1, x1 = (y0 + 1) % ny, (x0 + 1) % nx
    around = np.empty(4, np.int64)
    around[0], around[1], around[2], around[3] = y0 * nx + x0, y0 * nx + x1, y1 * nx + x0, y1 * nx + x1
    slots = U64(alias.shape[1])
    outside = alias.shape[1] - 1
    low = U64(0xFFFF)
    n_hits = 0
    counter = state[0]
    for _ in range(n):
        a, b = _mix(counter + STRIDE), _mix(counter + STRIDE + STRIDE)
        counter += STRIDE + STRIDE
        # choices as arithmetic, not branches: the processor cannot foresee them, and a wrong guess costs more
        which = (np.int64((b & low) < weight_row) << 1) | np.int64(((b >> U64(16)) & low) < weight_column)
        slot = np.int64(((a >> U64(32)) * slots) >> U64(32))
        entry = np.int64(alias[around[which], slot])
        leave = -np.int64(np.int64(a & low) >= (entry & 0xFFFF))
        slot ^= (slot ^ (entry >> 16)) & leave
        if slot == outside:
            continue
        in_row = float((b >> U64(32)) & low) * (1.0 / 65536.0)
        in_column = float(b >> U64(48)) * (1.0 / 65536.0)
        at_row = (waves[slot, 0] + in_row) * lens[0] + lens[2]
        at_column = (waves[slot, 1] + in_column) * lens[1] + lens[3]
        if at_row < 0.0 or at_column < 0.0:
            continue
        pixel_row, pixel_column = int(at_row), int(at_column)
        if pixel_row >= shape[0] or pixel_column >= shape[1]:
            continue
        hits[n_hits] = np.uint32(pixel_row * pitch + pixel_column)
        n_hits += 1
    state[0] = counter
    return n_hits


@njit(cache=True, nogil=True)
def draw_frame(
    state: NDArray[np.uint64],
    seed: int,
    index: int,
    row: float,
    column: float,
    mean: float,
    dark: float,
    grid: tuple[int, int],
    alias: NDArray[np.uint32],
    waves: NDArray[np.float32],
    lens: NDArray[np.float64],
    shape: tuple[int, int],
    pitch: int,
    hits: NDArray[np.uint32],
    tally: NDArray[np.int64],
) -> tuple[int, NDArray[np.uint32]]:
    """Draw frame ``index``; return the number of hits and the (perhaps larger) array that holds them.

    ``tally`` adds up the electrons detected anywhere, those that missed the detector and the dark counts.
    """
    state[0] = frame_counter(seed, index)
    n, n_dark = poisson(state, mean), poisson(state, dark)
    if n + n_dark > hits.size:
        hits = np.empty(2 * (n + n_dark), np.uint32)
    n_hits = _draw(state, n, row, column, grid, alias, waves, lens, shape, pitch, hits)
    tally[0] += n
    tally[1] += n - n_hits
    tally[2] += n_dark
    pixels = U64(shape[0] * shape[1])
    for _ in range(n_dark):
        pixel = int(((next_word(state) >> U64(32)) * pixels) >> U64(32))
        hits[n_hits] = np.uint32(pixel // shape[1] * pitch + pixel % shape[1])
        n_hits += 1
    return n_hits, hits


@njit(cache=True, nogil=True)
def draw_bits(
    seed: int,
    first: int,
    positions: NDArray[np.float64],
    means: NDArray[np.float64],
    dark: float,
    grid: tuple[int, int],
    alias: NDArray[np.uint32],
    waves: NDArray[np.float32],
    lens: NDArray[np.float64],
    shape: tuple[int, int],
    tally: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write packed one-bit frames (n, bytes), a pixel's bit being set if any electron hit it."""
    state, hits = np.empty(1, np.uint64), np.empty(4096, np.uint32)
    pitch = 8 * (out.shape[1] // shape[0])
    for f in range(len(positions)):
        row, column = positions[f]
        n_hits, hits = draw_frame(
            state, seed, first + f, row, column, means[f], dark, grid, alias, waves, lens, shape, pitch, hits, tally
        )
        out[f] = 0
        for i in range(n_hits):
            out[f, hits[i] >> 3] |= np.uint8(1 << (hits[i] & 7))


@njit(cache=True, nogil=True)
def draw_events(
    seed: int,
    first: int,
    positions: NDArray[np.float64],
    means: NDArray[np.float64],
    dark: float,
    grid: tuple[int, int],
    alias: NDArray[np.uint32],
    waves: NDArray[np.float32],
    lens: NDArray[np.float64],
    shape: tuple[int, int],
    tally: NDArray[np.int64],
    offset: NDArray[np.int64],
) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Return the hit pixels and their counts, sorted in each frame; ``offset`` (n + 1,) is filled."""
    state, hits = np.empty(1, np.uint64), np.empty(4096, np.uint32)
    pixel, count = np.empty(4096, np.uint32), np.empty(4096, np.uint16)
    rows = 0
    offset[0] = 0
    for f in range(len(positions)):
        row, column = positions[f]
        n_hits, hits = draw_frame(
            state, seed, first + f, row, column, means[f], dark, grid, alias, waves, lens, shape, shape[1], hits, tally
        )
        if rows + n_hits > pixel.size:
            pixel = np.concatenate((pixel[:rows], np.empty(rows + 2 * n_hits, np.uint32)))
            count = np.concatenate((count[:rows], np.empty(rows + 2 * n_hits, np.uint16)))
        ordered = np.sort(hits[:n_hits])
        for i in range(n_hits):
            if i > 0 and ordered[i] == ordered[i - 1]:
                if count[rows - 1] < 65535:
                    count[rows - 1] += np.uint16(1)
            else:
                pixel[rows] = ordered[i]
                count[rows] = 1
                rows += 1
        offset[f + 1] = rows
    return pixel[:rows].copy(), count[:rows].copy()
