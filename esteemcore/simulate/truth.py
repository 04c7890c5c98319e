"""What a perfect reconstruction would show."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from esteemcore import optics
from esteemcore._core import checks
from esteemcore.simulate.sampler import scan_to_specimen
from esteemcore.simulate.specimen import Specimen

_BATCH = 4096


def fourier_sum(
    series: NDArray[np.complex128], orders: tuple[NDArray[np.int64], NDArray[np.int64]], turns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the real part of a two-dimensional Fourier series at any positions.

    Parameters
    ----------
    series : ndarray of complex128, shape (rows, columns)
        Coefficients.
    orders : tuple of ndarray of int64
        Order of each row and of each column of ``series``.
    turns : ndarray of float64, shape (n, 2)
        Positions (row, column) in units of the period.
    """
    values = np.empty(len(turns))
    for first in range(0, len(turns), _BATCH):
        part = turns[first : first + _BATCH]
        rows, columns = (np.exp(2j * np.pi * part[:, i, None] * orders[i]) for i in (0, 1))
        values[first : first + _BATCH] = np.einsum("nc,nc->n", rows @ series, columns).real
    return values


def phase_truth(
    specimen: Specimen, energy_kev: float, positions_nm: ArrayLike, max_angle_mrad: float | None = None
) -> NDArray[np.float64]:
    r"""Return the phase that the specimen adds to a plane wave, :math:`\sigma V_{proj}`, at any positions.

    Parameters
    ----------
    specimen : Specimen
    energy_kev : float
        Beam energy in keV.
    positions_nm : array_like, shape (n, 2)
        Positions (row, column) in the frame of the specimen in nm, see `scan_to_specimen`.
    max_angle_mrad : float, optional
        Keep only spatial frequencies up to this angle over the wavelength; twice the semi-angle is what ptychography
        in the first order can see. Default: all.

    Returns
    -------
    ndarray of float64, shape (n,)
        Phase in rad, mean inner potential included.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> sheet = simulate.specimen("graphene")
    >>> simulate.phase_truth(sheet, 60, [[0.0, 0.0], [0.5, 0.2]], max_angle_mrad=60).shape
    (2,)
    """
    positions = scan_to_specimen(positions_nm)
    sigma = optics.interaction_parameter(energy_kev)
    shape, cell = specimen.projected.shape, specimen.cell_nm
    orders = [np.round(fft.fftfreq(n) * n).astype(np.int64) for n in shape]
    series = fft.fft2(specimen.projected) * (sigma / specimen.projected.size)
    if max_angle_mrad is not None:
        limit = checks.positive("max_angle_mrad", max_angle_mrad, "mrad") * 1e-3 / optics.wavelength_nm(energy_kev)
        series[np.hypot(orders[0][:, None] / cell[0], orders[1] / cell[1]) > limit] = 0
        kept = [np.abs(order) <= limit * length for order, length in zip(orders, cell, strict=True)]
        series = series[np.ix_(*kept)]
        orders = [order[keep] for order, keep in zip(orders, kept, strict=True)]
    return fourier_sum(series, (orders[0], orders[1]), positions / cell)
