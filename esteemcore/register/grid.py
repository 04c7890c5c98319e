"""The running sum of displaced frames on a padded common grid, and the blurred mean that others are compared with."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from esteemcore.register import _splat_kernels as kernels

Image = NDArray[np.float32]

MARGIN_PX = 8
"""Room around the farthest frame, in px."""


def gaussian_taps(sigma_px: float) -> Image:
    """Return half of a normalised Gaussian, centre first, cut at 3 sigma; a single 1 without blur."""
    reach = math.ceil(3 * sigma_px)
    taps = np.exp(-0.5 * (np.arange(reach + 1) / max(sigma_px, 1e-9)) ** 2)
    taps /= taps[0] + 2 * taps[1:].sum()
    return taps.astype(np.float32)


class Grid:
    """Sum of frames displaced by their fields; frames can be taken out again.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a frame.
    pad : int
        Room around the common grid in px.
    """

    def __init__(self, shape: tuple[int, int], pad: int) -> None:
        self.shape, self.pad = shape, pad
        size = (shape[0] + 2 * pad, shape[1] + 2 * pad)
        self.total: Image = np.zeros(size, np.float32)
        self.weights: Image = np.zeros(size, np.float32)
        self._scratch = [np.zeros(size, np.float32) for _ in range(5)]

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the common grid lies on the padded one."""
        return tuple(slice(self.pad, self.pad + n) for n in self.shape)  # type: ignore[return-value]

    def add(self, frame: Image, weight: Image, moved: NDArray[np.float64], axis: int = 0, sign: float = 1.0) -> None:
        """Add (``sign=-1``: take out) a frame with displacements ``moved`` per line along `axis` or per sample."""
        spread(frame, weight, moved, axis, float(self.pad), sign, self.total, self.weights)

    def blurred(self, sigma_px: float) -> tuple[Image, Image]:
        """Return sum and weights, both blurred; overwritten by the next call."""
        taps = gaussian_taps(sigma_px)
        total, weights = self._scratch[:2]
        kernels.blur(self.total, taps, total)
        kernels.blur(self.weights, taps, weights)
        return total, weights

    def reference(self, sigma_px: float, least: float = 0.3) -> tuple[Image, Image, Image]:
        """Return the blurred mean and its gradient along y and x; overwritten by the next call."""
        total, weights = self.blurred(sigma_px)
        mean, gradient_y, gradient_x = self._scratch[2:]
        level = np.float32(self.total.sum(dtype=np.float64) / max(self.weights.sum(dtype=np.float64), 1e-9))
        kernels.mean_and_gradient(total, weights, np.float32(least), level, mean, gradient_y, gradient_x)
        return mean, gradient_y, gradient_x


def spread(
    frame: Image,
    weight: Image,
    moved: NDArray[np.float64],
    axis: int,
    offset: float,
    sign: float,
    total: Image,
    weights: Image,
) -> None:
    """Spread a frame with displacements per line along `axis`, or per sample, on a grid; see `_splat_kernels`."""
    if moved.ndim == 3:
        kernels.splat_field(frame, weight, moved, offset, sign, total, weights)
    elif axis == 0:
        kernels.splat_lines(frame, weight, moved, offset, sign, total, weights)
    else:
        turned = np.ascontiguousarray(frame.T), np.ascontiguousarray(weight.T), np.ascontiguousarray(moved[:, ::-1])
        kernels.splat_lines(*turned, offset, sign, total.T, weights.T)
