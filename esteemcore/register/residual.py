"""What lines cannot follow: a smooth displacement of the samples that is added to that of the lines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from esteemcore.register import _row_kernels as kernels
from esteemcore.register.lines import Frame, LineFit

Floats = NDArray[np.float64]

SMOOTH_PX = 20.0
"""Samples within this distance (standard deviation of a Gaussian window) share their displacement."""
BLOCK_PX = 4
"""Samples along a side of the blocks that the windows are summed over."""
RESIDUAL_PASSES = 2
LARGEST_PX = 2.0
"""The residual stays below this."""


def fit_residual(fit: LineFit, blur_px: float, step: Callable[[], None] = lambda: None) -> None:
    r"""Fit a smooth displacement of each frame against the mean of the others, on top of that of its lines.

    In a Gaussian window around each sample, with the gradient g of the mean and the residual e,

    .. math:: u = \left(\sum w g g^T + \tau^{-2}\right)^{-1} \sum w g e,

    the shrinkage :math:`\tau^2` being the part of the mean square of u, over all frames, that noise does not explain.
    """
    for frame in fit.frames:
        frame.residual = np.zeros((*fit.shape, 2))
    spread_px2 = 0.05**2
    for _ in range(RESIDUAL_PASSES):
        fit.rebuild()
        explained, count = 0.0, 0.0
        for frame in fit.frames:
            axis = frame.visits.axis
            fit.grid.add(frame.image, frame.weight, frame.moved, axis, -1.0)
            normal, right = _windowed(frame, fit, blur_px)
            raw, noise = _solved(normal, right, 0.0)
            inside = slice(int(SMOOTH_PX / BLOCK_PX / 2), -int(SMOOTH_PX / BLOCK_PX / 2))
            explained += float((raw**2 - noise)[inside, inside].sum())
            count += raw[inside, inside].size
            blocks = np.clip(_solved(normal, right, spread_px2)[0], -LARGEST_PX, LARGEST_PX)
            frame.residual = _whole(blocks, fit.shape)
            fit.grid.add(frame.image, frame.weight, frame.moved, axis)
            step()
        spread_px2 = max(explained / max(count, 1.0), 1e-6)


def _windowed(frame: Frame, fit: LineFit, blur_px: float) -> tuple[Floats, Floats]:
    """Return the normal equations in a window around each block of samples, about no residual."""
    normal, right = np.empty((3, *fit.shape)), np.empty((2, *fit.shape))
    kernels.sample_normal(
        frame.image, frame.weight, *fit.grid.reference(blur_px), frame.moved, float(fit.grid.pad),
        frame.gain, frame.level, frame.noise, frame.slope, frame.floor, normal, right,
    )  # fmt: skip
    if frame.residual is not None:
        yy, yx, xx = normal
        dy, dx = np.moveaxis(frame.residual, -1, 0)
        right += np.stack([yy * dy + yx * dx, yx * dy + xx * dx])
    sigma = SMOOTH_PX / BLOCK_PX
    area = 2 * np.pi * sigma**2
    window = [
        area * ndimage.gaussian_filter(_block_sums(a), sigma, mode="constant", truncate=2.5) for a in (*normal, *right)
    ]
    return np.array(window[:3]), np.array(window[3:])


def _block_sums(image: Floats) -> Floats:
    """Return sums over blocks of samples; the last blocks may be cut."""
    starts = [np.arange(0, n, BLOCK_PX) for n in image.shape]
    sums: Floats = np.add.reduceat(np.add.reduceat(image, starts[0], axis=0), starts[1], axis=1)
    return sums


def _whole(blocks: Floats, shape: tuple[int, int]) -> Floats:
    """Return the displacement of each sample from that of blocks, interpolated linearly."""
    at = np.meshgrid(*((np.arange(n) + 0.5) / BLOCK_PX - 0.5 for n in shape), indexing="ij")
    field = [ndimage.map_coordinates(blocks[..., a], at, order=1, mode="nearest") for a in (0, 1)]
    return np.stack(field, axis=-1)


def _solved(normal: Floats, right: Floats, spread_px2: float) -> tuple[Floats, Floats]:
    """Return the displacement (y, x, 2) and its variance; ``spread_px2`` is its variance before, 0 if not known."""
    prior = 1 / spread_px2 if spread_px2 else 1e-3
    yy, yx, xx = normal[0] + prior, normal[1], normal[2] + prior
    determinant = yy * xx - yx * yx
    solution = np.stack([xx * right[0] - yx * right[1], yy * right[1] - yx * right[0]], axis=-1)
    variance = np.stack([xx, yy], axis=-1) / 2  # of a Gaussian window: weights w², half the area of w
    return solution / determinant[..., None], variance / determinant[..., None]
