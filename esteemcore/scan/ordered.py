"""Full scans by rows, and in random order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from esteemcore._core import checks
from esteemcore._core.provenance import record
from esteemcore.scan.pattern import ScanPattern


def raster(shape: Sequence[int]) -> ScanPattern:
    """Scan row by row, each from left to right, with a flyback after each row.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.

    Examples
    --------
    >>> raster((2, 3)).order.tolist()
    [0, 1, 2, 3, 4, 5]
    """
    ny, nx = checks.shape_2d("shape", shape)
    made = record("scan.raster", {"shape": (ny, nx)})
    return ScanPattern((ny, nx), np.arange(ny * nx), "raster", line_starts=np.arange(ny) * nx, provenance=made)


def serpentine(shape: Sequence[int]) -> ScanPattern:
    """Scan row by row, every second one from right to left: no flyback, all steps one pixel.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.

    Examples
    --------
    >>> serpentine((2, 3)).order.tolist()
    [0, 1, 2, 5, 4, 3]
    """
    ny, nx = checks.shape_2d("shape", shape)
    order = np.arange(ny * nx).reshape(ny, nx)
    order[1::2] = order[1::2, ::-1].copy()
    return ScanPattern(
        (ny, nx), order.reshape(-1), "serpentine", provenance=record("scan.serpentine", {"shape": (ny, nx)})
    )


def interlaced(shape: Sequence[int], step: int) -> ScanPattern:
    """Scan every ``step``-th row, then the rows beside them, until all are done.

    Neighbouring rows are exposed a whole pass apart, so that heat and charge have time to leave.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.
    step : int
        Distance of consecutive rows in a pass, and number of passes (at most ``ny``).

    Examples
    --------
    >>> interlaced((4, 1), step=2).order.tolist()
    [0, 2, 1, 3]
    """
    ny, nx = checks.shape_2d("shape", shape)
    step = checks.integer("step", step, minimum=1)
    rows = np.concatenate([np.arange(first, ny, step) for first in range(min(step, ny))])
    order = (rows[:, None] * nx + np.arange(nx)).reshape(-1)
    made = record("scan.interlaced", {"shape": (ny, nx), "step": step})
    return ScanPattern((ny, nx), order, "interlaced", line_starts=np.arange(ny) * nx, provenance=made)


def shuffled(shape: Sequence[int], seed: int = 0) -> ScanPattern:
    """Visit every position once in random order, all orders equally likely.

    Any stretch of the visits is a uniform random sample of the area, so that the scan can be cut into sparse frames
    afterwards (`time_frames`).

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.
    seed : int
        Seed of the random numbers; the same seed gives the same order.

    References
    ----------
    A. Zobelli et al., Spatial and spectral dynamics in STEM hyperspectral imaging using random scan patterns,
    Ultramicroscopy 212 (2020) 112912.

    Examples
    --------
    >>> sorted(shuffled((2, 2), seed=1).order.tolist())
    [0, 1, 2, 3]
    """
    ny, nx = checks.shape_2d("shape", shape)
    seed = checks.integer("seed", seed, minimum=0)
    order = np.random.default_rng(seed).permutation(ny * nx)
    made = record("scan.shuffled", {"shape": (ny, nx)}, seed=seed)
    return ScanPattern((ny, nx), order, "shuffled", seed, provenance=made)
