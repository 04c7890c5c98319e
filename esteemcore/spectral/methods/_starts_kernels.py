"""Compiled loop that adds up counts over blocks of pixels and pools of channels."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def joined(offset, channel, count, order, last, pool, n_pools, first, pools, sums):
    """Add up compressed rows of counts over blocks; return how many sums are not zero.

    Block b holds the rows ``order[last[b - 1] : last[b]]``, and channel j belongs to ``pool[j]``. Written are the
    compressed rows of the blocks: where each begins into ``first`` (blocks + 1), pools and sums into ``pools`` and
    ``sums``, which have room for as many as there are counts.
    """
    total = np.zeros(n_pools)
    filled, at_row = 0, 0
    first[0] = 0
    for block in range(len(last)):
        while at_row < last[block]:
            row = order[at_row]
            for at in range(offset[row], offset[row + 1]):
                total[pool[channel[at]]] += count[at]
            at_row += 1
        for p in range(n_pools):
            if total[p] != 0.0:
                pools[filled], sums[filled] = p, total[p]
                filled += 1
                total[p] = 0.0
        first[block + 1] = filled
    return filled
