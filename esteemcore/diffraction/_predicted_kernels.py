"""Compiled loops that look for faint disks where the lattices of the others say that they are."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction._frame_kernels import known_inside
from esteemcore.diffraction._lattice_kernels import nearest_point
from esteemcore.diffraction._pair_kernels import (
    COMMON,
    EACH,
    fit_together,
    gather_pair,
    put_disk,
    solved,
    write_disk,
)
from esteemcore.diffraction._split_kernels import APART, crowded

ANCHOR_PX = 0.5
"""How well a lattice tells the place of a disk."""

LESS = 1.2
"""By how much less significant than one that may be anywhere a disk at a known place may be."""

TAKEN_PX, TAKEN_SIGMA = 1.0, 2.5
"""Distance from a lattice point, in px or in standard errors, within which a fitted disk is the one of that point."""

SAME_PX = 1.5
"""Points of two lattices nearer than this to each other are one disk."""

COVERED = 0.8
"""Share of a disk on the detector from which on it is looked for."""


@njit(cache=True, nogil=True)
def nearest_fitted(y, x, guess, n):
    """Return which of ``n`` fitted disks is nearest to a place, and how far off it is."""
    nearest, which = np.inf, -1
    for j in range(n):
        distance = (guess[j, 0] - y) ** 2 + (guess[j, 1] - x) ** 2
        if distance < nearest:
            nearest, which = distance, j
    return which, math.sqrt(nearest)


@njit(cache=True, nogil=True)
def _put_anchor(y, x, y0, x0, anchor):
    """Expect a disk at (y, x)."""
    anchor[0], anchor[1], anchor[2] = y - y0, x - x0, 1 / ANCHOR_PX**2


@njit(cache=True, nogil=True)
def _expected(y, x, but_y, but_x, within, origins, bases):
    """Return the lattice point nearest to a place; NaN beyond `within`, and for the point at (``but_y``, ``but_x``)."""
    nearest, best_y, best_x = within * within, np.nan, np.nan
    for m in range(len(origins)):
        point_y, point_x, _, _ = nearest_point(y, x, origins[m], bases[m])
        distance = (point_y - y) ** 2 + (point_x - x) ** 2
        if distance < nearest and (point_y - but_y) ** 2 + (point_x - but_x) ** 2 > SAME_PX**2:
            nearest, best_y, best_x = distance, point_y, point_x
    return best_y, best_x


@njit(cache=True, nogil=True)
def _fit_at_point(frame, y, x, total, beam, origins, bases, look, pair, guess, rows):
    """Fit a disk at a lattice point, together with the fitted one that it lies on, and return whether there is one.

    Its row is written behind the ``total`` others. The fit without it leaves the other one free; in the fit of both
    that one, too, is where a lattice says, if one has a point there.
    """
    i, away = nearest_fitted(y, x, guess, total)
    if away < TAKEN_PX or away < TAKEN_SIGMA * rows[i, 3]:
        return False
    new = 1 if away < look.meet and not math.isnan(rows[i, 3]) else 0
    y1, x1 = math.floor(y + 0.5), math.floor(x + 0.5)
    y0, x0 = y1, x1
    if new:
        y0, x0 = math.floor(guess[i, 0] + 0.5), math.floor(guess[i, 1] + 0.5)
    pixels = gather_pair(frame, y0, x0, y1, x1, i if new else -1, total, beam, look, guess, pair)
    alone, both, prior, anchor = pair.alone, pair.both, pair.prior, pair.anchor
    known_inside(guess[i, 0] - beam[0], guess[i, 1] - beam[1], look, prior[0], pair.prior_sd[0])
    known_inside(y - beam[0], x - beam[1], look, prior[new], pair.prior_sd[new])
    anchor[:] = 0
    row, height = rows[i], guess[i, 2]
    alone[0], alone[1] = max(row[5], 0.01), 0
    if new:
        put_disk(0, guess[i, 0] - y0, guess[i, 1] - x0, height, row[6:8], alone)
    gain = -2 * fit_together(pair, pixels, alone, new, look)
    both[:] = alone
    _put_anchor(y, x, y0, x0, anchor[new])
    if new:
        point_y, point_x = _expected(guess[i, 0], guess[i, 1], y, x, 0.7 * look.radius, origins, bases)
        if not math.isnan(point_y):
            _put_anchor(point_y, point_x, y0, x0, anchor[0])
            both[5], both[6] = point_y - y0, point_x - x0
        if away < look.spacing * look.radius:
            both[2:5] *= 0.7
    beneath = both[2] if new else 0.0
    put_disk(new, y - y0, x - x0, max(0.3 * beneath, 0.1 * both[0], 0.05), prior[new], both)
    gain += 2 * fit_together(pair, pixels, both, 1 + new, look)
    if new:
        gain /= 1 + look.speckle**2 * both[2] * look.electrons
        if (both[5] - both[10]) ** 2 + (both[6] - both[11]) ** 2 < (APART * look.radius) ** 2:
            return False
    for d in range(1 + new):
        at = COMMON + EACH * d
        if crowded(y0 + both[at + 3], x0 + both[at + 4], i if new else -1, total, guess, look):
            return False
    needed = (look.least - LESS) ** 2
    if not needed <= gain < np.inf or not solved(pair.normal, COMMON + EACH * (1 + new), pair.gradient):
        return False
    rows[total, 4] = math.sqrt(gain) + LESS
    if new:
        write_disk(0, i, y0, x0, 2, look, pair, guess, rows)
    write_disk(new, total, y0, x0, 1 + new, look, pair, guess, rows)
    return True


@njit(cache=True, nogil=True)
def predicted_disks(frame, n, beam, origins, bases, look, pair, guess, rows):
    """Look for disks at the points of lattices that have none yet, and return the number of disks.

    One is written behind the ``n`` others where it makes the counts likelier by more than `look.least` - `LESS`
    deviations. The scores of all disks on lattices are larger by `LESS`: their places were known.
    """
    total, (ky, kx) = n, frame.shape
    for m in range(len(origins)):
        across = math.sqrt(min((bases[m, 0] ** 2).sum(), (bases[m, 1] ** 2).sum()))
        most = int(1.5 * math.sqrt(ky * ky + kx * kx) / across) + 1
        for h in range(-most, most + 1):
            for k in range(-most, most + 1):
                y = origins[m, 0] + h * bases[m, 0, 0] + k * bases[m, 1, 0]
                x = origins[m, 1] + h * bases[m, 0, 1] + k * bases[m, 1, 1]
                if (
                    total < rows.shape[0]
                    and 0 <= y < ky - 0.5
                    and 0 <= x < kx - 0.5
                    and look.area[int(y + 0.5), int(x + 0.5)] >= COVERED * look.whole
                    and _fit_at_point(frame, y, x, total, beam, origins, bases, look, pair, guess, rows)
                ):
                    total += 1
    for i in range(n):
        for m in range(len(origins)):
            y, x, _, _ = nearest_point(guess[i, 0], guess[i, 1], origins[m], bases[m])
            if (guess[i, 0] - y) ** 2 + (guess[i, 1] - x) ** 2 < TAKEN_PX**2:
                rows[i, 4] += LESS
                break
    return total
