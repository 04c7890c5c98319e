"""The bright-field disk cut into compact bins, and what each of them says about each spatial frequency."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from esteemcore.fourd.geometry import Geometry
from esteemcore.optics import aberration_phase, parse_aberrations

TABLE_POINTS = 257
LEAST_INFORMATION = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """Compact groups of bright-field pixels, each with its mirror image about the optical axis.

    Attributes
    ----------
    label : ndarray of int32, shape (ky * kx,)
        Bin of each detector pixel, -1 outside the disk.
    count : int
        Number of bins.
    pixels : ndarray, shape (count,)
        Detector pixels in each bin.
    partner : ndarray of int64, shape (count,)
        The bin opposite to each bin, itself where there is none.
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
    partner: NDArray[np.int64]
    sample_row: NDArray[np.float64]
    sample_column: NDArray[np.float64]
    sample_pixels: NDArray[np.float64]
    sample_label: NDArray[np.int64]
    width: float


@functools.lru_cache(maxsize=8)
def make_bins(geometry: Geometry, frame_shape: tuple[int, int], bins: int) -> Bins:
    """Cut the bright-field disk into about ``bins`` square blocks; at most one bin a pixel.

    Blocks, hexagons and rings of sectors keep the same share of the information within one percent (0.86 at 128 bins,
    in focus), and blocks have exact partners.
    """
    inside = geometry.bright_field(frame_shape)
    row_mrad, column_mrad = (angle[inside] for angle in geometry.detector_mrad(frame_shape))
    limit = geometry.semiangle_mrad
    if bins >= int(inside.sum()):
        block_row = np.rint(row_mrad / min(geometry.pixel_pair_mrad) * 2).astype(np.int64)
        block_column = np.rint(column_mrad / min(geometry.pixel_pair_mrad) * 2).astype(np.int64)
        mirror_row, mirror_column = -block_row, -block_column
    else:
        across = _blocks_across(row_mrad / limit, column_mrad / limit, bins)
        block_row, block_column = (_block(angle / limit, across) for angle in (row_mrad, column_mrad))
        mirror_row, mirror_column = across - 1 - block_row, across - 1 - block_column
    blocks, own = np.unique(np.stack([block_row, block_column], axis=1), axis=0, return_inverse=True)
    own = own.reshape(-1)
    number = {(int(i), int(j)): n for n, (i, j) in enumerate(blocks)}
    partner = np.arange(len(blocks))
    for n, i, j in zip(own, mirror_row, mirror_column, strict=True):
        partner[n] = number.get((int(i), int(j)), n)
    mutual = partner[partner] == np.arange(len(blocks))
    partner = np.where(mutual, partner, np.arange(len(blocks)))
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
        count=len(blocks),
        pixels=np.bincount(own).astype(np.float64),
        partner=partner,
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
    """What each channel, the difference or sum of opposite bins, says about each q inside the band.

    Attributes
    ----------
    place : ndarray of int64, shape (q,)
        Place of each q in the flat half spectrum (y, x/2 + 1).
    plus, minus : ndarray of int64, shape (channels,)
        The two bins of each channel.
    sign : ndarray of float32, shape (channels,)
        -1 for differences, +1 for sums, 0 for bins without a partner.
    gamma : ndarray of complex64, shape (channels, q)
        Response of each channel to a phase grating: G = i Phi gamma I0.
    pixels : ndarray, shape (channels,)
        Detector pixels in each channel, in proportion to the variance of its counts.
    """

    place: NDArray[np.int64]
    plus: NDArray[np.int64]
    minus: NDArray[np.int64]
    sign: NDArray[np.float32]
    gamma: NDArray[np.complex64]
    pixels: NDArray[np.float64]


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
    geometry: Geometry, bins: Bins, scan_shape: tuple[int, int], *, least_information: float = LEAST_INFORMATION
) -> Overlaps:
    """Compute gamma(k, q) of every channel.

    An aberration phase that is even in k makes gamma odd in its real and even in its imaginary part, so in focus the
    sums of opposite bins carry nothing. Channels with less than ``least_information`` of the mean are left out.
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
    plus, minus, sign = _channels(bins)
    gamma = (real[plus] + sign[:, None] * real[minus]) + 1j * (imaginary[plus] + sign[:, None] * imaginary[minus])
    pixels = bins.pixels[plus] + np.abs(sign) * bins.pixels[minus]
    information = (np.abs(gamma) ** 2).sum(axis=1) / pixels
    keep = information >= least_information * information.mean()
    return Overlaps(
        np.flatnonzero(band), plus[keep], minus[keep], sign[keep].astype(np.float32),
        gamma[keep].astype(np.complex64), pixels[keep],
    )  # fmt: skip


@functools.lru_cache(maxsize=4)
def make_weights(overlaps: Overlaps, bright_pixels: float, regularization: float) -> NDArray[np.complex64]:
    r"""Return the least-squares weight of every channel at every q, (channels, q): Phi = sum weight G / I0.

    .. math:: \Phi(q) = \frac{1}{i I_0} \frac{\sum_c \gamma_c^* G_c / n_c}{\sum_c |\gamma_c|^2 / n_c + \epsilon N}
    """
    gamma, pixels = overlaps.gamma, overlaps.pixels.astype(np.float32)[:, None]
    power = (np.abs(gamma) ** 2 / pixels).sum(axis=0) + regularization * bright_pixels
    return (-1j * gamma.conj() / (pixels * power)).astype(np.complex64)


def _channels(bins: Bins) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return (bin, opposite bin, sign) of every difference, sum and lone bin."""
    own = np.arange(bins.count)
    first = own[own < bins.partner]
    alone = own[own == bins.partner]
    plus = np.concatenate([first, first, alone])
    minus = np.concatenate([bins.partner[first], bins.partner[first], alone])
    sign = np.concatenate([-np.ones(len(first)), np.ones(len(first)), np.zeros(len(alone))])
    return plus, minus, sign


def _phase_table(geometry: Geometry, reach: float) -> tuple[NDArray[np.float64], float]:
    """Tabulate the aberration phase over the aperture; an empty table (1, 1) without aberrations."""
    if not len(parse_aberrations(geometry.aberrations)):
        return np.zeros((1, 1)), 1.0
    axis = np.linspace(-reach, reach, TABLE_POINTS)
    chi = aberration_phase(axis[:, None], axis[None, :], geometry.wavelength_nm, geometry.aberrations)
    return chi, (TABLE_POINTS - 1) / 2 / reach
