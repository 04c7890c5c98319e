"""The bright-field disk cut into compact bins, and what each of them says about each spatial frequency."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from esteemcore.fourd.geometry import Geometry
from esteemcore.optics import aberration_phase, parse_aberrations

TABLE_POINTS = 257
INFORMATION_KEPT = 0.985
"""Share of what the bins say that the channels keep: those that are left out would double the cost of an image."""


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """Compact groups of bright-field pixels.

    Attributes
    ----------
    label : ndarray of int32, shape (ky * kx,)
        Bin of each detector pixel, -1 outside the disk.
    count : int
        Number of bins.
    pixels : ndarray, shape (count,)
        Detector pixels in each bin.
    sample_row, sample_column : ndarray, shape (samples,)
        Where gamma is evaluated, in 1/nm on the detector: every pixel, or groups of them on a large detector.
    sample_pixels, sample_label : ndarray, shape (samples,)
        How many pixels a sample stands for, and its bin.
    width : float
        Size of a sample in 1/nm.
    """

    label: NDArray[np.int32]
    count: int
    pixels: NDArray[np.float64]
    sample_row: NDArray[np.float64]
    sample_column: NDArray[np.float64]
    sample_pixels: NDArray[np.float64]
    sample_label: NDArray[np.int64]
    width: float


@functools.lru_cache(maxsize=8)
def make_bins(geometry: Geometry, frame_shape: tuple[int, int], bins: int) -> Bins:
    """Cut the bright-field disk into about ``bins`` square blocks; at most one bin a pixel.

    Blocks, hexagons and rings of sectors keep the same share of the information within one percent (0.86 to 0.88 at
    128 bins, in focus).
    """
    inside = geometry.bright_field(frame_shape)
    row_mrad, column_mrad = (angle[inside] for angle in geometry.detector_mrad(frame_shape))
    if bins >= int(inside.sum()):
        own = np.arange(int(inside.sum()))
    else:
        row, column = row_mrad / geometry.semiangle_mrad, column_mrad / geometry.semiangle_mrad
        across = _blocks_across(row, column, bins)
        own = np.unique(_block(row, across) * across + _block(column, across), return_inverse=True)[1].reshape(-1)
    count = int(own.max()) + 1
    label = np.full(inside.size, -1, np.int32)
    label[np.flatnonzero(inside)] = own
    per_nm = 1e-3 / geometry.wavelength_nm
    group = _sampling_group(inside, geometry)
    rows, columns = np.nonzero(inside)
    cell = (rows // group) * (frame_shape[1] // group + 1) + columns // group
    _, sample, weight = np.unique(np.stack([cell, own], axis=1), axis=0, return_inverse=True, return_counts=True)
    sample = sample.reshape(-1)
    sample_label = np.zeros(len(weight), np.int64)
    sample_label[sample] = own
    return Bins(
        label=label,
        count=count,
        pixels=np.bincount(own).astype(np.float64),
        sample_row=np.bincount(sample, row_mrad) / weight * per_nm,
        sample_column=np.bincount(sample, column_mrad) / weight * per_nm,
        sample_pixels=weight.astype(np.float64),
        sample_label=sample_label,
        width=group * float(np.mean(geometry.pixel_pair_mrad)) * per_nm,
    )


def _block(angle: NDArray[np.float64], across: int) -> NDArray[np.int64]:
    return np.clip(((angle + 1) / 2 * across).astype(np.int64), 0, across - 1)


def _blocks_across(row: NDArray[np.float64], column: NDArray[np.float64], bins: int) -> int:
    """Return how many blocks across the disk give the number of occupied blocks closest to ``bins``."""
    first = max(2, int(np.sqrt(bins)))
    tried = {n: abs(len(np.unique(_block(row, n) * n + _block(column, n))) - bins) for n in range(first, 2 * first + 3)}
    return min(tried, key=lambda n: tried[n])


def _sampling_group(inside: NDArray[np.bool_], geometry: Geometry) -> int:
    """Detector pixels, across, that one sample of gamma stands for: some 2000 samples resolve the overlaps."""
    return max(1, int(np.sqrt(inside.sum() / 1800)))


@dataclasses.dataclass(frozen=True, eq=False)
class Overlaps:
    """What each channel, a combination of bins, says about each q inside the band.

    Attributes
    ----------
    place : ndarray of int64, shape (q,)
        Place of each q in the flat half spectrum (y, x/2 + 1).
    mixing : ndarray of float32, shape (channels, bins) or (bins,)
        Weight of each bin in each channel, or of each bin that is a channel itself. All channels have the same noise,
        and their noise is independent.
    gamma : ndarray of complex64, shape (channels, q)
        Response of each channel to a phase grating: G = i Phi gamma I0.
    kept : float
        Share of what all bins say about the phase that is in the channels, averaged over q.
    """

    place: NDArray[np.int64]
    mixing: NDArray[np.float32]
    gamma: NDArray[np.complex64]
    kept: float


def half_spectrum(
    scan_shape: tuple[int, int], step_nm: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the spatial frequencies (row, column) in 1/nm of the half spectrum, each (ny, nx/2 + 1), scan axes."""
    row, column = np.fft.fftfreq(scan_shape[0], step_nm[0]), np.fft.rfftfreq(scan_shape[1], step_nm[1])
    shape = (len(row), len(column))
    return np.broadcast_to(row[:, None], shape), np.broadcast_to(column[None, :], shape)


def in_band(scan_shape: tuple[int, int], geometry: Geometry) -> NDArray[np.bool_]:
    """Return which q of the half spectrum, (ny, nx/2 + 1), a single side band can carry: 0 < q < 2 alpha / lambda.

    The highest frequency of an even scan length is left out: its sign is unknown.
    """
    band = np.hypot(*half_spectrum(scan_shape, geometry.step_nm)) < (
        2e-3 * geometry.semiangle_mrad / geometry.wavelength_nm
    )
    band[0, 0] = False
    if scan_shape[0] % 2 == 0:
        band[scan_shape[0] // 2] = False
    if scan_shape[1] % 2 == 0:
        band[:, -1] = False
    return band


@functools.lru_cache(maxsize=4)
def make_overlaps(
    geometry: Geometry, bins: Bins, scan_shape: tuple[int, int], information_kept: float = INFORMATION_KEPT
) -> Overlaps:
    """Compute gamma(k, q) of the fewest channels that keep ``information_kept`` of what the bins say.

    The bins, scaled to equal noise, are rotated to the principal axes of gamma over all q, each q with the same weight.
    Opposite bins say the same, in focus with opposite sign, and neighbouring ones similar things: about a quarter of
    the axes carry nearly everything, so that only so many Fourier transforms are needed for an image. Any choice of
    axes is unbiased.
    """
    from esteemcore.fourd import _ssb_kernels

    band = in_band(scan_shape, geometry)
    q_row, q_column = geometry.to_detector(*(q[band] for q in half_spectrum(scan_shape, geometry.step_nm)))
    radius = 1e-3 * geometry.semiangle_mrad / geometry.wavelength_nm
    table, scale = _phase_table(geometry, radius + bins.width)
    real, imaginary = np.zeros((2, bins.count, q_row.size))
    _ssb_kernels.bin_overlaps(
        q_row, q_column, bins.sample_row, bins.sample_column, bins.sample_pixels, bins.sample_label,
        radius, bins.width, table, scale, real, imaginary,
    )  # fmt: skip
    per_noise = 1 / np.sqrt(bins.pixels)
    gamma = np.asarray((real + 1j * imaginary) * per_noise[:, None], np.complex128)
    place = np.flatnonzero(band)
    if information_kept >= 1 or not gamma.any():
        return Overlaps(place, per_noise.astype(np.float32), gamma.astype(np.complex64), 1.0)
    axes, kept = _principal_axes(gamma, information_kept)
    mixing = axes.T * per_noise
    return Overlaps(place, mixing.astype(np.float32), (axes.T @ gamma).astype(np.complex64), kept)


def _principal_axes(gamma: NDArray[np.complex128], share: float) -> tuple[NDArray[np.float64], float]:
    """Return the fewest orthonormal real axes (bins, channels) that hold a share of gamma, and the share they hold."""
    power = (np.abs(gamma) ** 2).sum(axis=0)
    carried = power > 1e-6 * power.max()
    normed = gamma[:, carried] / np.sqrt(power[carried])
    scatter = normed.real @ normed.real.T + normed.imag @ normed.imag.T
    values, vectors = np.linalg.eigh(scatter)
    held = np.cumsum(values[::-1]) / values.sum()
    channels = int(np.searchsorted(held, share)) + 1
    return vectors[:, ::-1][:, :channels], float(held[channels - 1])


@functools.lru_cache(maxsize=4)
def make_weights(overlaps: Overlaps, bright_pixels: float, regularization: float) -> NDArray[np.complex64]:
    r"""Return the least-squares weight of every channel at every q, (channels, q): Phi = sum weight G / I0.

    .. math:: \Phi(q) = \frac{1}{i I_0} \frac{\sum_c \gamma_c^* G_c}{\sum_c |\gamma_c|^2 + \epsilon N}
    """
    power = (np.abs(overlaps.gamma) ** 2).sum(axis=0) + regularization * bright_pixels
    return np.asarray(-1j * overlaps.gamma.conj() / power, np.complex64)


def _phase_table(geometry: Geometry, reach: float) -> tuple[NDArray[np.float64], float]:
    """Tabulate the aberration phase over the aperture; an empty table (1, 1) without aberrations."""
    if not len(parse_aberrations(geometry.aberrations)):
        return np.zeros((1, 1)), 1.0
    axis = np.linspace(-reach, reach, TABLE_POINTS)
    chi = aberration_phase(axis[:, None], axis[None, :], geometry.wavelength_nm, geometry.aberrations)
    return chi, (TABLE_POINTS - 1) / 2 / reach
