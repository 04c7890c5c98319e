"""Compiled loops of the scan patterns."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def throw_darts(
    candidates: NDArray[np.int64],
    shape: tuple[int, int],
    count: int,
    limits: NDArray[np.int64],
    crowding: NDArray[np.float32],
    levels: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Take ``count`` candidates in turn that lie apart from those taken before, under rules that are slowly relaxed.

    Parameters
    ----------
    candidates : ndarray of int64, shape (ny * nx,)
        All flat positions in random order.
    shape : (int, int)
        Rows and columns; distances are periodic in them, so that no position is preferred.
    count : int
        How many to take.
    limits : ndarray of int64
        Squared distances in px that a new position must keep, falling to 1, where every free position may be taken.
    crowding : ndarray of float32, shape (odd, odd)
        What a position adds to the crowd around it.
    levels : ndarray of float32
        How large a crowd a new position may find, rising to infinity, at each limit.
    """
    ny, nx = shape
    reach_y, reach_x = crowding.shape[0] // 2, crowding.shape[1] // 2
    chosen = np.empty(count, dtype=np.int64)
    nearest = np.full((ny, nx), np.iinfo(np.int64).max)
    crowd = np.zeros((ny, nx), dtype=np.float32)
    taken = 0
    for limit in limits:
        for level in levels:
            for candidate in candidates:
                y, x = candidate // nx, candidate % nx
                if nearest[y, x] < limit or crowd[y, x] > level:
                    continue
                chosen[taken] = candidate
                taken += 1
                if taken == count:
                    return chosen
                for dy in range(-reach_y, reach_y + 1):
                    row = (y + dy) % ny
                    for dx in range(-reach_x, reach_x + 1):
                        column = x + dx
                        if column < 0:
                            column += nx
                        elif column >= nx:
                            column -= nx
                        crowd[row, column] += crowding[reach_y + dy, reach_x + dx]
                        squared = dy * dy + dx * dx
                        if squared < nearest[row, column]:
                            nearest[row, column] = squared
    return chosen[:taken]
