"""Normalised cross-correlation with a motif, where image and motif may both have parts that were not measured."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

FLAT = 1e-12
"""Variance, relative to the largest sum of squares in the image, below which a place has no contrast."""


class Correlator:
    """Correlate one image with motifs.

    With sums over the pixels where image I and motif T are both measured, n of them, the score is

    ``(sum IT - sum I sum T / n) / sqrt((sum I² - (sum I)² / n) (sum T² - (sum T)² / n))``,

    each sum a correlation by FFT.

    Parameters
    ----------
    image : ndarray of float64, shape (y, x)
        Any numbers where not measured.
    valid : ndarray of bool, shape (y, x)
        Where it was measured.
    reach : (int, int)
        Rows and columns of the largest motif.

    References
    ----------
    D. Padfield, IEEE Trans. Image Process. 21, 2706 (2012), doi:10.1109/TIP.2011.2181402.
    """

    def __init__(self, image: NDArray[np.float64], valid: NDArray[np.bool_], reach: tuple[int, int]) -> None:
        self.shape = image.shape
        self.padded = tuple(fft.next_fast_len(n + m - 1, real=True) for n, m in zip(image.shape, reach, strict=True))
        measured = image[valid]
        level = measured.mean() if measured.size else 0.0
        spread = measured.std() if measured.size else 0.0
        standard = np.where(valid, image - level, 0.0) / (spread or 1.0)
        self._valid, self._image, self._squares = (
            fft.rfft2(a, self.padded) for a in (valid.astype(np.float64), standard, standard**2)
        )

    def score(
        self, motif: NDArray[np.float64], part: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the score wherever the motif touches the image, and the number of pixels it was made of.

        Parameters
        ----------
        motif : ndarray of float64, shape (rows, columns)
            Any numbers outside of `part`.
        part : ndarray of bool, shape (rows, columns)
            Which pixels belong to it.

        Returns
        -------
        score : ndarray of float64, shape (y + rows - 1, x + columns - 1)
            At [p, q] the first pixel of the motif lies on pixel (p - rows + 1, q - columns + 1) of the image; 0 where
            there is no contrast.
        pixels : ndarray of int64, same shape
            Number n of pixels that image and motif share there.
        """
        shape = (self.shape[0] + motif.shape[0] - 1, self.shape[1] + motif.shape[1] - 1)
        centred = np.where(part, motif - motif[part].mean(), 0.0)
        centred /= centred[part].std() or 1.0

        def correlate(image: NDArray[np.complex128], kernel: NDArray[np.complex128]) -> NDArray[np.float64]:
            result: NDArray[np.float64] = fft.irfft2(image * kernel, self.padded)[: shape[0], : shape[1]]
            return result

        flipped = np.ascontiguousarray(part[::-1, ::-1], np.float64), centred[::-1, ::-1]
        mask, first, second = (fft.rfft2(a, self.padded) for a in (*flipped, flipped[1] ** 2))
        pixels = np.rint(correlate(self._valid, mask)).astype(np.int64)
        n = np.maximum(pixels, 1)
        sum_i, sum_t = correlate(self._image, mask), correlate(self._valid, first)
        squares_i, squares_t = correlate(self._squares, mask), correlate(self._valid, second)
        spread_i, spread_t = squares_i - sum_i**2 / n, squares_t - sum_t**2 / n
        contrast = (spread_i > FLAT * squares_i.max()) & (spread_t > FLAT * squares_t.max()) & (pixels > 2)
        score = np.zeros(shape)
        common = correlate(self._image, first) - sum_i * sum_t / n
        score[contrast] = common[contrast] / np.sqrt(spread_i[contrast] * spread_t[contrast])
        return np.clip(score, -1, 1), pixels


def rotated(
    motif: NDArray[np.float64], part: NDArray[np.bool_], angle_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the motif turned about its centre from x towards y, and which pixels of it are known.

    The canvas just holds the turned motif; values come from cubic splines, or linearly where parts are unknown.
    """
    if angle_deg % 360 == 0:
        return motif, part
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    rows, columns = motif.shape
    height = math.ceil(abs(rows * c) + abs(columns * s) - 1e-9)
    width = math.ceil(abs(columns * c) + abs(rows * s) - 1e-9)
    y, x = np.indices((height, width)) - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    back = np.array([c * y - s * x + (rows - 1) / 2, c * x + s * y + (columns - 1) / 2])
    edge = np.array([rows - 1, columns - 1])[:, None, None]
    inside = ((back > -1e-9) & (back < edge + 1e-9)).all(axis=0)
    whole = bool(part.all())
    filled = motif if whole else np.where(part, motif, motif[part].mean())
    turned = ndimage.map_coordinates(filled, back, order=3 if whole else 1, mode="nearest")
    if not whole:
        inside &= ndimage.map_coordinates(part.astype(np.float64), back, order=1, mode="nearest") > 1 - 1e-9
    return turned, inside


def peak_offset(score: NDArray[np.float64], row: int, column: int) -> tuple[float, float]:
    """Return where between the pixels the maximum at (row, column) lies: a second-order expansion of its neighbours."""
    if not (0 < row < score.shape[0] - 1 and 0 < column < score.shape[1] - 1):
        return 0.0, 0.0
    f = score[row - 1 : row + 2, column - 1 : column + 2]
    gy, gx = (f[2, 1] - f[0, 1]) / 2, (f[1, 2] - f[1, 0]) / 2
    hyy, hxx = f[2, 1] - 2 * f[1, 1] + f[0, 1], f[1, 2] - 2 * f[1, 1] + f[1, 0]
    hxy = (f[2, 2] - f[2, 0] - f[0, 2] + f[0, 0]) / 4
    determinant = hyy * hxx - hxy * hxy
    if not (hyy < 0 and hxx < 0 and determinant > 0):
        return 0.0, 0.0
    dy, dx = (hxy * gx - hxx * gy) / determinant, (hxy * gy - hyy * gx) / determinant
    return (float(dy), float(dx)) if max(abs(dy), abs(dx)) <= 1 else (0.0, 0.0)
