"""Full scans along a curve that never jumps: Hilbert curve and spiral, on any rectangle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.provenance import record
from esteemcore.scan.pattern import ScanPattern

Blocks = tuple[NDArray[np.int64], ...]
"""Blocks of w x h pixels: flat first pixel, flat steps a (along w) and b (along h), w and h, each (n,).

The curve enters a block at its first pixel and leaves it after w - 1 steps a from there.
"""


def hilbert(shape: Sequence[int]) -> ScanPattern:
    r"""Scan along a Hilbert curve, generalised to any rectangle: every step is one pixel to a neighbour.

    Drift and lag show no preferred direction, and what is close in the image is close in time.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.

    Notes
    -----
    A block of w x h pixels can be crossed by unit steps from one corner to the next along w, if w is even or h is odd
    (chessboard colours). It is split into two along w if long, else into three: up, across and down,

    .. math:: (h_1 \times w_1), \; (w \times (h - h_1)), \; (h_1 \times (w - w_1))

    With an even h_1 all parts can be crossed again, down to lines of single pixels. On a square of 2^k pixels this is
    the curve of Hilbert. If the long side is odd and the short one even, the curve leaves along the short side.

    References
    ----------
    D. Hilbert, Über die stetige Abbildung einer Linie auf ein Flächenstück, Math. Ann. 38 (1891) 459.

    Examples
    --------
    >>> hilbert((2, 2)).order.tolist()
    [0, 2, 3, 1]
    """
    ny, nx = checks.shape_2d("shape", shape)
    blocks = _whole(ny, nx)
    while np.any(blocks[4] > 1):
        blocks = _split(*blocks)
    start, a, _, w, _ = blocks
    within = np.arange(ny * nx) - np.repeat(np.cumsum(w) - w, w)
    order = np.repeat(start, w) + within * np.repeat(a, w)
    return ScanPattern((ny, nx), order, "hilbert", provenance=record("scan.hilbert", {"shape": (ny, nx)}))


def _whole(ny: int, nx: int) -> Blocks:
    """Return one block that covers the scan, or two where the long side is odd and the short side even."""
    (long, a), (short, b) = ((nx, 1), (ny, nx)) if nx >= ny else ((ny, nx), (nx, 1))
    if long % 2 == 0 or short % 2 == 1:
        blocks = [(0, a, b, long, short)]
    elif 2 * long <= 3 * short:
        blocks = [(0, b, a, short, long)]
    else:
        head = long - short + 1
        blocks = [(0, a, b, head, short), (head * a, b, a, short, short - 1)]
    return tuple(np.array(blocks).T)


def _split(
    start: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64], w: NDArray[np.int64], h: NDArray[np.int64]
) -> Blocks:
    """Replace each block that is not yet a line by its two or three parts, in the order of the curve."""
    line, long = h == 1, 2 * w > 3 * h
    fold = ~(line | long)
    w1 = np.where(line, w, np.where(long, w // 2 + w // 2 % 2, w // 2))
    h1 = np.where(fold, (h + 2) // 4 * 2, 0)
    parts = (
        (start, np.where(fold, b, a), np.where(fold, a, b), np.where(fold, h1, w1), np.where(fold, w1, h)),
        (start + np.where(fold, h1 * b, w1 * a), a, b, np.where(fold, w, w - w1), h - h1),
        (start + (w - 1) * a + (h1 - 1) * b, -b, -a, h1, w - w1),
    )
    merged = [np.stack(columns, axis=1).reshape(-1) for columns in zip(*parts, strict=True)]
    filled = (merged[3] > 0) & (merged[4] > 0)
    return tuple(column[filled] for column in merged)


def spiral(shape: Sequence[int]) -> ScanPattern:
    """Scan along a rectangular spiral from the centre outwards: every step is one pixel to a neighbour.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.

    Examples
    --------
    >>> spiral((3, 3)).order.tolist()
    [4, 3, 6, 7, 8, 5, 2, 1, 0]
    """
    ny, nx = checks.shape_2d("shape", shape)
    position = np.arange(ny * nx).reshape(ny, nx)
    inwards = []
    while position.size:
        inwards.append(position[0])
        position = position[1:].T[::-1]
    order = np.concatenate(inwards)[::-1]
    return ScanPattern((ny, nx), order, "spiral", provenance=record("scan.spiral", {"shape": (ny, nx)}))
