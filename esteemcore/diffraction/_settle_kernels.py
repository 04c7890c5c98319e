"""Compiled loop that asks the neighbours of a position how well its orientations explain them."""

from __future__ import annotations

from numba import njit

from esteemcore.diffraction._orientation_kernels import cos_half


@njit(cache=True, nogil=True)
def support(quaternion, correlation, phase, symmetries, sym_at, cos_near, reach, out):
    """Write to ``out`` (y, x, n) the correlations that like orientations have round a position, added up.

    ``reach`` positions along rows and columns count, itself included; of each the like orientation that fits best.
    """
    ny, nx, n = phase.shape
    for y in range(ny):
        for x in range(nx):
            for i in range(n):
                out[y, x, i] = 0.0
                p = phase[y, x, i]
                if p < 0:
                    continue
                of = symmetries[sym_at[p] : sym_at[p + 1]]
                for v in range(max(y - reach, 0), min(y + reach + 1, ny)):
                    for u in range(max(x - reach, 0), min(x + reach + 1, nx)):
                        for j in range(n):  # the best come first
                            like = phase[v, u, j] == p
                            if like and cos_half(quaternion[y, x, i], quaternion[v, u, j], of) >= cos_near:
                                out[y, x, i] += correlation[v, u, j]
                                break
