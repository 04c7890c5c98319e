"""Scans that visit only a part of the positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import record
from esteemcore.scan.pattern import ScanPattern

Method = Literal["uniform", "jittered", "poisson_disk", "line_hop"]


def sparse(shape: Sequence[int], fraction: float, seed: int = 0, method: Method = "uniform") -> ScanPattern:
    """Visit a random part of the positions, each at most once.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.
    fraction : float
        Part of the positions to visit, above 0 to 1; exactly ``max(1, round(fraction * (ny * nx)))`` are visited.
    seed : int
        Seed of the random numbers; the same seed gives the same pattern.
    method : {"uniform", "jittered", "poisson_disk", "line_hop"}
        - ``uniform``: all choices of positions equally likely; the same as the first visits of `shuffled`.
        - ``jittered``: the scan is divided into as many cells of nearly equal area as there are visits, with one
          random position in each.
        - ``poisson_disk``: random positions that keep their distance (blue noise): no clumps, no large holes, no grid.
          Above one half, the positions left out keep their distance.
        - ``line_hop``: the rows are divided into bands of 1 / fraction rows (5 or fewer; at most as many as visits
          are columns apart where the fraction is small). The beam crosses each band once from left to right and hops
          at random up or down by no more rows than it goes forwards: small steps, which scan coils follow.

    Returns
    -------
    ScanPattern
        The visits run row by row (band by band for ``line_hop``) from left to right, with one flyback after each row
        or band that is visited. For another order pass ``order`` to `from_order`.

    Raises
    ------
    ParameterError
        If the fraction is not in (0, 1] or the method is unknown.

    References
    ----------
    L. Kovarik et al., Implementing an accurate and rapid sparse sampling approach for low-dose atomic resolution STEM
    imaging, Appl. Phys. Lett. 109 (2016) 164102 (line hopping).
    M. McCool, E. Fiume, Hierarchical Poisson disk sampling distributions, Proc. Graphics Interface '92, 94 (darts
    with a falling radius).

    Examples
    --------
    >>> int(sparse((64, 64), 0.1, seed=3, method="poisson_disk").mask.sum())
    410
    """
    ny, nx = checks.shape_2d("shape", shape)
    fraction = checks.positive("fraction", fraction)
    if fraction > 1:
        raise ParameterError(f"fraction is {fraction:g}; expected more than 0 and at most 1 (1 visits every position)")
    seed = checks.integer("seed", seed, minimum=0)
    method = checks.choice("method", method, tuple(_METHODS))  # type: ignore[assignment]
    count = max(1, round(fraction * (ny * nx)))
    order, line_starts = _METHODS[method](ny, nx, count, np.random.default_rng(seed))
    made = record("scan.sparse", {"shape": (ny, nx), "fraction": fraction, "method": method}, seed=seed)
    return ScanPattern((ny, nx), order, f"sparse_{method}", seed, line_starts, provenance=made)


Visits = tuple[NDArray[np.int64], NDArray[np.int64]]


def _by_rows(flat: NDArray[np.int64], nx: int) -> Visits:
    """Return positions row by row, and the visits that begin a row."""
    order = np.sort(flat)
    row = order // nx
    return order, np.flatnonzero(np.diff(row, prepend=-1))


def _uniform(ny: int, nx: int, count: int, rng: np.random.Generator) -> Visits:
    return _by_rows(rng.permutation(ny * nx)[:count], nx)


def _jittered(ny: int, nx: int, count: int, rng: np.random.Generator) -> Visits:
    top, left, height, width = jitter_cells(ny, nx, count)
    y, x = top + rng.integers(0, height), left + rng.integers(0, width)
    return _by_rows(y * nx + x, nx)


def jitter_cells(ny: int, nx: int, count: int) -> tuple[NDArray[np.int64], ...]:
    """Divide a scan into ``count`` rectangles of nearly equal area by halving the longer side again and again.

    Returns
    -------
    tuple of ndarray of int64, shape (count,)
        First row, first column, number of rows and number of columns of each cell.
    """
    done: list[NDArray[np.int64]] = []
    cells = np.array([[0, 0, ny, nx, count]])
    while cells.size:
        single = cells[:, 4] == 1
        done.append(cells[single])
        cells = cells[~single]
        corner, size, n = cells[:, :2], cells[:, 2:4], cells[:, 4]
        axis = np.argmax(size, axis=1)[:, None]
        long = np.take_along_axis(size, axis, axis=1)[:, 0]
        wide = size.prod(axis=1) // np.maximum(long, 1)
        cut = np.clip(np.rint(long * (n // 2) / n).astype(np.int64), 1, long - 1)
        # as many samples as the part's share of the area, and no more than fit into either part
        share = np.rint(n * cut / long).astype(np.int64)
        share = np.clip(share, np.maximum(1, n - wide * (long - cut)), np.minimum(n - 1, wide * cut))
        first, second = cells.copy(), cells.copy()
        np.put_along_axis(first[:, 2:4], axis, cut[:, None], axis=1)
        np.put_along_axis(second[:, 2:4], axis, (long - cut)[:, None], axis=1)
        np.put_along_axis(second[:, :2], axis, np.take_along_axis(corner, axis, axis=1) + cut[:, None], axis=1)
        first[:, 4], second[:, 4] = share, n - share
        cells = np.concatenate([first, second])
    return tuple(np.concatenate(done)[:, :4].T)


def _poisson_disk(ny: int, nx: int, count: int, rng: np.random.Generator) -> Visits:
    from esteemcore.scan import _kernels

    n = ny * nx
    candidates = rng.permutation(n)
    chosen = min(count, n - count)
    if chosen == 0:
        return _by_rows(candidates, nx)
    # Random darts jam where disks of this diameter cover 0.547 of the plane, 0.748 of a line: begin a little above.
    radius = max(0.9 * math.sqrt(n / chosen), n / (chosen * min(ny, nx)))
    steps = radius * 0.95 ** np.arange(math.ceil(math.log(radius) / -math.log(0.95)) + 1)
    limits = np.unique(np.maximum(1, np.ceil(steps**2)).astype(np.int64))[::-1].copy()
    # Few distances exist between pixels. Within each, places with a smaller crowd (a Gaussian sum) are taken first.
    reach = math.ceil(1.1 * radius)
    dy, dx = (np.arange(-min(reach, size // 2), min(reach, size // 2) + 1) for size in (ny, nx))
    crowding = np.exp(-(dy[:, None] ** 2 + dx**2) / (2 * (0.55 * radius) ** 2))
    crowding /= crowding.sum() * chosen / n
    levels = np.array([0.6, 0.7, 0.8, 0.9, 1.0, 1.1, np.inf])
    flat = _kernels.throw_darts(
        candidates, (ny, nx), chosen, limits, crowding.astype(np.float32), levels.astype(np.float32)
    )
    if chosen < count:
        flat = np.setdiff1d(candidates, flat, assume_unique=True)
    return _by_rows(flat, nx)


def _line_hop(ny: int, nx: int, count: int, rng: np.random.Generator) -> Visits:
    # Bands of 1 / fraction rows let the beam dwell in every column; where that is too tall for a random hop to reach
    # every row, bands are about as tall as the visits are apart.
    inverse = ny * nx / count
    tall = min(inverse, max(5.0, math.sqrt(inverse)))
    bands = int(np.clip(round(ny / tall), -(-count // nx), min(ny, count)))
    edges = np.arange(bands + 1) * ny // bands
    height = np.diff(edges)
    visits = np.diff(edges * count // ny)
    if visits.min() < 1 or visits.max() > nx:
        visits = np.diff(np.arange(bands + 1) * count // bands)
    hop = max(1, nx // int(visits.max()))
    # A walk of either sign, folded at the edges of its band, is at every row of the band with equal probability.
    most = (bands, int(visits.max()))
    steps = rng.integers(1, hop + 1, size=most) * rng.choice((-1, 1), size=most)
    walk = rng.integers(0, 2 * height)[:, None] + np.cumsum(steps, axis=1)
    walk %= 2 * height[:, None]
    y = edges[:-1, None] + np.minimum(walk, 2 * height[:, None] - 1 - walk)
    band = np.repeat(np.arange(bands), visits)
    starts = np.cumsum(visits) - visits
    within = np.arange(count) - np.repeat(starts, visits)
    x = (within * nx + rng.integers(0, nx, bands)[band]) // visits[band]
    return y[band, within] * nx + x, starts


_METHODS = {"uniform": _uniform, "jittered": _jittered, "poisson_disk": _poisson_disk, "line_hop": _line_hop}
