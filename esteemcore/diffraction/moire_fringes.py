"""Lattice fringes and moiré fringes of an image: their vectors, and their local phase gradients."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from esteemcore._core.errors import CalibrationError

Floats = NDArray[np.float64]

LEAST_CYCLES = 4.0
"""Fringes that an image has at least, along its shorter side."""
LEAST_HEIGHT = 10.0
"""Power of a peak over the noise round it, from which it is one."""


def spectrum(image: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Return the power of an image per frequency, tapered at its edges: white noise of variance v gives v on average.

    Frequencies run as in ``numpy.fft.fftfreq``.
    """
    taper = np.outer(np.hanning(image.shape[0] + 2)[1:-1], np.hanning(image.shape[1] + 2)[1:-1]) * valid
    level = (image * taper).sum() / taper.sum()
    return np.asarray(np.abs(np.fft.fft2((image - level) * taper)) ** 2 / (taper**2).sum())


def find_vectors(power: Floats) -> Floats:
    """Return the two strongest frequencies (rows: (row, column) in cycles per px) that are not in a line.

    Raises
    ------
    CalibrationError
        If there are none.
    """
    row, column = np.meshgrid(*(np.fft.fftfreq(n) for n in power.shape), indexing="ij")
    smooth = ndimage.uniform_filter(power, 3, mode="wrap")
    half = (row > 0) | ((row == 0) & (column > 0))
    far = np.hypot(row, column) > LEAST_CYCLES / min(power.shape)
    peak = (smooth == ndimage.maximum_filter(smooth, 7, mode="wrap")) & half & far
    noise = np.median(smooth[far])
    peak &= smooth > LEAST_HEIGHT * noise
    order = np.argsort(-np.where(peak, smooth, 0), axis=None, kind="stable")[: int(peak.sum())]
    vectors = np.stack([row.ravel()[order], column.ravel()[order]], axis=1)
    if len(vectors):
        first = vectors[0]
        across = np.abs(first[0] * vectors[:, 1] - first[1] * vectors[:, 0])
        apart = across > 0.3 * np.hypot(*first) * np.hypot(*vectors.T)
        if apart.any():
            return np.stack([first, vectors[apart.argmax()]])
    raise CalibrationError(
        f"{min(len(vectors), 1)} of the two sets of fringes that are needed were found in the image: give vectors, "
        "take a larger area, or another step or rotation of the scan"
    )


def noise_near(power: Floats, vector: Floats, reach: float) -> float:
    """Return the variance of the noise at a frequency: from the median of the power in a ring round it."""
    near = [(np.fft.fftfreq(n) - v + 0.5) % 1 - 0.5 for n, v in zip(power.shape, vector, strict=True)]
    distance = np.hypot(near[0][:, None], near[1][None])
    ring = (distance > 3 * reach) & (distance < 6 * reach)
    if ring.sum() < 30:
        ring = distance > 3 * reach
    return float(np.median(power[ring]) / math.log(2)) if ring.any() else 0.0


class Window(NamedTuple):
    """A Gaussian window round every pixel of an image with gaps.

    Attributes
    ----------
    sigma : float
        Its standard deviation in px.
    valid : ndarray of float64, shape (y, x)
        1 where a pixel counts.
    weight : ndarray of float64, shape (y, x)
        Share of the window that holds valid pixels.
    normal : ndarray of float64, shape (y, x, 3, 3)
        Normal equations of a plane, with distances in units of sigma.
    level : ndarray of float64, shape (y, x)
        Mean of the image in the window.
    """

    sigma: float
    valid: Floats
    weight: Floats
    normal: Floats
    level: Floats


def make_window(image: Floats, valid: NDArray[np.bool_], sigma: float) -> Window:
    """Return the window of a given width for an image that is 0 where it is not valid."""
    ones = valid.astype(np.float64)
    weight = _moment(ones, sigma, (0, 0))
    normal = np.empty((*image.shape, 3, 3))
    normal[..., 0, 0] = weight
    for i, order in enumerate(((1, 0), (0, 1))):
        normal[..., 0, i + 1] = normal[..., i + 1, 0] = _moment(ones, sigma, order)
        normal[..., i + 1, i + 1] = _moment(ones, sigma, (2 * order[0], 2 * order[1])) + weight
    normal[..., 1, 2] = normal[..., 2, 1] = _moment(ones, sigma, (1, 1))
    level = np.divide(_moment(image, sigma, (0, 0)), weight, out=np.zeros(image.shape), where=valid)
    return Window(sigma, ones, weight, normal + 1e-9 * np.eye(3), level)


def _moment(values: Floats, sigma: float, order: tuple[int, int]) -> Floats:
    """Return sums over the window, times powers of the distance in sigma: derivatives of the window are such."""
    return np.asarray(
        sigma ** sum(order) * ndimage.gaussian_filter(values, sigma, order=order, mode="constant", truncate=5.0)
    )


def local_wave(image: Floats, window: Window, vector: Floats) -> tuple[NDArray[np.complex128], Floats]:
    r"""Return complex amplitude and local frequency of fringes.

    In the window round every pixel the demodulated image is fitted with a plane,
    :math:`I e^{-2 \pi i g r} \approx a + b \cdot (r' - r)`; then the frequency is
    :math:`g + \mathrm{Im}(b / a) / 2 \pi`. At edges and gaps the fit stays a fit, where a mean would be drawn inwards.

    Returns
    -------
    amplitude : ndarray of complex128, shape (y, x)
        a, with the phase of the demodulated image.
    frequency : ndarray of float64, shape (y, x, 2)
        (row, column) in cycles per px.
    """
    row, column = np.ogrid[: image.shape[0], : image.shape[1]]
    wave = np.exp(-2j * np.pi * (vector[0] * row + vector[1] * column))
    demodulated = (image - window.level) * window.valid * wave
    right = np.empty((*image.shape, 3), np.complex128)
    for i, order in enumerate(((0, 0), (1, 0), (0, 1))):
        right[..., i] = _moment(demodulated.real, window.sigma, order)
        right[..., i] += 1j * _moment(demodulated.imag, window.sigma, order)
    fitted = np.linalg.solve(window.normal, right[..., None])[..., 0]
    amplitude: NDArray[np.complex128] = np.asarray(fitted[..., 0], np.complex128)
    safe = np.where(np.abs(amplitude) > 0, amplitude, 1.0)
    return amplitude, vector + (fitted[..., 1:] / safe[..., None]).imag / (2 * np.pi * window.sigma)
