"""Compiled loop that finds the disks of a frame which lie on those that were fitted one by one."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from esteemcore.diffraction._lattice_kernels import find_lattices
from esteemcore.diffraction._pair_kernels import make_pair
from esteemcore.diffraction._predicted_kernels import nearest_fitted, predicted_disks
from esteemcore.diffraction._score_kernels import sum_columns
from esteemcore.diffraction._split_kernels import split_disks

BEAM_PX, HIDDEN_PX = 0.1, 1.0
"""How well the origin of a lattice is known: from the direct beam, and where none is seen."""


@njit(cache=True, nogil=True)
def tell_apart(frame, n, axis, look, rows):
    """Find disks on top of the ``n`` fitted ones of a frame, and return the number of all.

    Where the disks lie on at least two lattices, they are looked for at the points of these, otherwise beside each.

    Parameters
    ----------
    frame : ndarray of float64, shape (ky, kx)
        Counts, 0 where pixels do not count.
    n : int
        Number of fitted disks.
    axis : ndarray of float64, shape (2,)
        The direct beam (row, column); NaN for the brightest disk.
    look : Look
        What is looked for.
    rows : ndarray of float32, shape (most, columns)
        Of the fitted disks, to be changed; new ones are written behind them.
    """
    ky, kx = frame.shape
    guess, beam, beam_px = np.empty((rows.shape[0], 3)), axis.copy(), HIDDEN_PX
    for i in range(n):
        guess[i, 0], guess[i, 1], guess[i, 2] = rows[i, 0], rows[i, 1], rows[i, 2] / look.electrons
    if n and math.isnan(beam[0]):
        beam[:] = guess[np.argmax(guess[:n, 2]), :2]
    which, off = nearest_fitted(beam[0], beam[1], guess, n)
    if off < 0.5 * look.radius:
        beam[:], beam_px = guess[which, :2], BEAM_PX
    pair, apart = make_pair(look), look.spacing * look.radius
    origins, bases = find_lattices(guess[:n, :2], rows[:n, 3], beam, beam_px, apart)
    if len(origins) < 2:
        prefix = np.zeros((ky + 2 * look.pad + 1, kx + 2 * look.pad))
        sum_columns(frame, look.pad, prefix)
        n = split_disks(frame, prefix, n, beam, look, pair, guess, rows)
        origins, bases = find_lattices(guess[:n, :2], rows[:n, 3], beam, beam_px, apart)
    if len(origins) > 1:
        n = predicted_disks(frame, n, beam, origins, bases, look, pair, guess, rows)
    return n
