"""The compiled loop that follows the dose of each cell of a specimen, visit after visit."""

from __future__ import annotations

import math

from numba import njit


@njit(cache=True, nogil=True)
def expose(cells, weights, dose, dwell_s, start_s, recovery_s, excited_dose, harm, recent, last_s, seen):
    """Expose cells in the order of the visits, and note the harm that each visit meets, halfway through its dwell.

    Visit k brings ``dose[k] * weights[k, j]`` to cell ``cells[k, j]`` within ``dwell_s`` from ``start_s[k]`` on.
    ``harm``, ``recent`` and ``last_s`` are the state of the cells.
    """
    fading = math.exp(-dwell_s / recovery_s)
    stays = -recovery_s * math.expm1(-dwell_s / recovery_s)
    for k in range(len(cells)):
        seen[k] = 0.0
        for j in range(cells.shape[1]):
            if weights[k, j] == 0:
                continue
            cell = cells[k, j]
            brought = dose[k] * weights[k, j]
            excited = recent[cell] * math.exp(-max(start_s[k] - last_s[cell], 0.0) / recovery_s)
            rate = brought / dwell_s
            added = brought + rate / excited_dose * (excited * stays + rate * recovery_s * (dwell_s - stays))
            seen[k] += weights[k, j] * (harm[cell] + added / 2)
            harm[cell] += added
            recent[cell] = excited * fading + rate * stays
            last_s[cell] = start_s[k] + dwell_s
