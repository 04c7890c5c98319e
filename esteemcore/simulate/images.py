"""Bright-field and dark-field images, as fractions of the beam or as counts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from esteemcore import optics
from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.simulate.bank import Bank
from esteemcore.simulate.beam import Beam
from esteemcore.simulate.interpolation import interpolate_cell
from esteemcore.simulate.sampler import scan_to_specimen
from esteemcore.simulate.specimen import Specimen
from esteemcore.simulate.truth import fourier_sum


def _counted(fraction: NDArray[np.float64], electrons: ArrayLike | None, seed: int) -> NDArray[np.float64]:
    """Return fractions as they are, or Poisson counts for this number of electrons per position."""
    if electrons is None:
        return fraction
    mean = np.asarray(electrons, np.float64) * fraction
    if not np.isfinite(mean).all() or (mean < 0).any():
        raise ParameterError("electrons must be finite and not negative, a number or one per position")
    return np.random.default_rng(seed).poisson(mean).astype(np.float64)


def bright_field_image(
    bank: Bank,
    positions_nm: ArrayLike,
    *,
    max_angle_mrad: float | None = None,
    inner_angle_mrad: float = 0.0,
    electrons: ArrayLike | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return what a disk or ring on the axis collects, from the bank, interpolated linearly between its positions.

    Parameters
    ----------
    bank : Bank
    positions_nm : array_like, shape (n, 2)
        Positions (row, column) in the frame of the specimen in nm.
    max_angle_mrad : float, optional
        Outer radius in mrad, at most that of the bank's window. Default: the semi-angle.
    inner_angle_mrad : float
        Inner radius in mrad (annular bright field); 0 for a disk.
    electrons : float or array_like, optional
        Electrons per position; with it the result are Poisson counts.
    seed : int
        Seed of the counts.

    Returns
    -------
    ndarray of float64, shape (n,)
        Fraction of the beam, or counts.
    """
    outer = checks.positive(
        "max_angle_mrad", bank.beam.semiangle_mrad if max_angle_mrad is None else max_angle_mrad, "mrad"
    )
    inner = checks.not_negative("inner_angle_mrad", inner_angle_mrad, "mrad")
    if not inner < outer <= bank.max_angle_mrad:
        raise ParameterError(
            f"the detector spans {inner:g} to {outer:g} mrad; expected angles that rise, up to {bank.max_angle_mrad:g} "
            f"mrad; a wider window is made by simulate.bank(..., max_angle_mrad=...)"
        )
    angle = np.hypot(bank.waves[:, 0] * bank.step_mrad[0], bank.waves[:, 1] * bank.step_mrad[1])
    step = math.sqrt(bank.step_mrad[0] * bank.step_mrad[1])
    seen = optics.aperture_edge(angle, outer, step)
    if inner:
        seen = seen - optics.aperture_edge(angle, inner, step)
    image = bank.intensity @ seen.astype(np.float32)
    return _counted(interpolate_cell(image, positions_nm, bank.spacing_nm), electrons, seed)


def haadf_image(
    specimen: Specimen,
    beam: Beam,
    positions_nm: ArrayLike,
    *,
    inner_angle_mrad: float | None = None,
    electrons: ArrayLike | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    r"""Return an annular dark-field image by the incoherent model: probe intensity convolved with an object function.

    .. math:: I(r) = \int |\psi(x - r)|^2 \sum_j |\sigma V_j^{HP}(x)|^2 \, dx

    with the potential of slice j high-passed at the inner angle. This is a model for images with the right contrast,
    not a multislice result: no channelling, no absorption, slices and atoms scatter incoherently, scattering beyond
    the sampling of the potential (about 70 mrad at 200 kV) and thermal diffuse scattering are missing. Atoms count
    about as their squared potential, near Z^1.7.

    Parameters
    ----------
    specimen : Specimen
    beam : Beam
    positions_nm : array_like, shape (n, 2)
        Positions (row, column) in the frame of the specimen in nm.
    inner_angle_mrad : float, optional
        Inner angle in mrad. Default: twice the semi-angle.
    electrons : float or array_like, optional
        Electrons per position; with it the result are Poisson counts.
    seed : int
        Seed of the counts.

    Returns
    -------
    ndarray of float64, shape (n,)
        Fraction of the beam, or counts.

    References
    ----------
    S. J. Pennycook, D. E. Jesson, Ultramicroscopy 37 (1991) 14.
    """
    positions = scan_to_specimen(positions_nm)
    shape, cell = specimen.slices.shape[1:], specimen.cell_nm
    inner = checks.positive(
        "inner_angle_mrad", 2 * beam.semiangle_mrad if inner_angle_mrad is None else inner_angle_mrad, "mrad"
    )
    k = [fft.fftfreq(n, length / n) for n, length in zip(shape, cell, strict=True)]
    nyquist = min(float(np.abs(axis).max()) for axis in k)
    if inner * 1e-3 / beam.wavelength_nm >= nyquist:
        raise ParameterError(
            f"the {specimen.name} potential is sampled up to {nyquist * beam.wavelength_nm * 1e3:.0f} mrad at "
            f"{beam.energy_kev:g} keV, but the inner angle is {inner:g} mrad; lower inner_angle_mrad"
        )
    high = np.hypot(k[0][:, None], k[1]) > inner * 1e-3 / beam.wavelength_nm
    sigma = optics.interaction_parameter(beam.energy_kev)
    scattering = np.zeros((2 * shape[0], 2 * shape[1]))
    kinds, repeats = np.unique(specimen.slices, axis=0, return_counts=True)
    for potential, n in zip(kinds, repeats, strict=True):
        # a grid twice as fine, so that the square does not alias
        fine = np.zeros(scattering.shape, np.complex128)
        fine[shape[0] // 2 : -(-3 * shape[0] // 2), shape[1] // 2 : -(-3 * shape[1] // 2)] = fft.fftshift(
            fft.fft2(potential.astype(np.float64)) * high
        )
        scattering += n * (sigma * 4 * fft.ifft2(fft.ifftshift(fine)).real) ** 2
    orders = [
        np.arange(-n, n + 1)
        for n in (min(int(2 * beam.radius_per_nm * length), size) for size, length in zip(shape, cell, strict=True))
    ]
    series = (fft.fft2(scattering) / scattering.size)[np.ix_(*orders)] * np.conj(_probe_transfer(beam, cell, orders))
    return _counted(np.maximum(fourier_sum(series, (orders[0], orders[1]), positions / cell), 0), electrons, seed)


def _probe_transfer(beam: Beam, cell: tuple[float, float], orders: list[NDArray[np.int64]]) -> NDArray[np.complex128]:
    """Return the Fourier coefficients of the probe's intensity at reciprocal lattice vectors, 1 at the origin."""
    tiles = [math.ceil(4.0 / length) for length in cell]
    step = [1 / (t * length) for t, length in zip(tiles, cell, strict=True)]
    half = [math.ceil(beam.radius_per_nm / s) + 1 for s in step]
    row, column = (np.arange(-h, h + 1) * s for h, s in zip(half, step, strict=True))
    wave = beam.amplitude(row[:, None], column[None], math.sqrt(step[0] * step[1]))
    padded = [fft.next_fast_len(4 * h + 2) for h in half]
    overlap = fft.ifft2(np.abs(fft.fft2(wave, padded)) ** 2)
    rows, columns = (order * t for order, t in zip(orders, tiles, strict=True))
    inside = (np.abs(rows) <= 2 * half[0])[:, None] & (np.abs(columns) <= 2 * half[1])
    coefficients = overlap[np.ix_(rows % padded[0], columns % padded[1])] / overlap[0, 0]
    transfer: NDArray[np.complex128] = np.where(inside, coefficients, 0)
    return transfer
