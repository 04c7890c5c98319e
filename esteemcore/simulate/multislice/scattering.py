"""Multislice of every plane wave in the aperture: the scattering matrix of a periodic specimen."""

from __future__ import annotations

import dataclasses
import math
import threading

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from esteemcore import optics
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.simulate.multislice import _kernels
from esteemcore.simulate.multislice.fourier import LANES, Transform
from esteemcore.simulate.specimen import Specimen

BAND_LIMIT = 2 / 3
_STEPS = 2e7


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """The part of the scattering matrix that belongs to one vector of the Brillouin zone.

    Attributes
    ----------
    incoming, outgoing : ndarray of int64, shape (n, 2)
        Plane waves (row, column) in steps of `ScatteringMatrix.step_per_nm`.
    matrix : ndarray of complex64, shape (incoming, outgoing)
        Amplitude of each outgoing wave for a unit incoming wave.
    """

    incoming: NDArray[np.int64]
    outgoing: NDArray[np.int64]
    matrix: NDArray[np.complex64] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, eq=False)
class ScatteringMatrix:
    """How a specimen scatters each plane wave of the aperture into each one of the detector window.

    Attributes
    ----------
    blocks : tuple of Block
        One per vector of the Brillouin zone; waves of different blocks never mix.
    tiles : tuple of int
        Cells per supercell along rows and columns: the sampling of reciprocal space is that of the supercell.
    step_per_nm : tuple of float
        Sampling interval of reciprocal space (row, column) in 1/nm.
    cell_nm : tuple of float
        The specimen's cell in nm.
    values : ndarray of complex64
        The matrices of all blocks one after the other; those of `blocks` are views of it.
    """

    blocks: tuple[Block, ...]
    tiles: tuple[int, int]
    step_per_nm: tuple[float, float]
    cell_nm: tuple[float, float]
    values: NDArray[np.complex64] = dataclasses.field(repr=False)


def band_limit_per_nm(specimen: Specimen, fraction: float = BAND_LIMIT) -> float:
    """Return the highest spatial frequency, in 1/nm, that the multislice of a specimen keeps."""
    return fraction * min(
        float(n) / length / 2 for n, length in zip(specimen.slices.shape[1:], specimen.cell_nm, strict=True)
    )


def _disk(radius_per_nm: float, step: tuple[float, float]) -> NDArray[np.int64]:
    """Return the points (row, column) of a reciprocal grid within a radius."""
    rows, columns = (np.arange(-math.ceil(radius_per_nm / s), math.ceil(radius_per_nm / s) + 1) for s in step)
    row, column = np.meshgrid(rows, columns, indexing="ij")
    inside = np.hypot(row * step[0], column * step[1]) <= radius_per_nm
    return np.stack([row[inside], column[inside]], axis=-1)


def scattering_matrix(
    specimen: Specimen,
    energy_kev: float,
    incoming_per_nm: float,
    outgoing_per_nm: float,
    tiles: tuple[int, int],
    *,
    band_limit: float | None = BAND_LIMIT,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> ScatteringMatrix:
    r"""Propagate every plane wave of the aperture through one cell of the specimen.

    A wave with transverse frequency :math:`g + \kappa`, g a reciprocal lattice vector, is a periodic function times
    :math:`\exp(2 \pi i \kappa x)` (Bloch), so that the small grid of one cell serves the sampling of a supercell:

    .. math:: u_{j+1} = F^{-1} \big[ e^{-i \pi \lambda \Delta z (g + \kappa)^2} F [e^{i \sigma V_j} u_j] \big]

    Parameters
    ----------
    specimen : Specimen
        The slices.
    energy_kev : float
        Beam energy in keV.
    incoming_per_nm, outgoing_per_nm : float
        Radius of the aperture and of the detector window in 1/nm.
    tiles : tuple of int
        Cells per supercell along rows and columns.
    band_limit : float or None
        Fraction of the Nyquist frequency that is kept, against aliasing; None keeps all (and all electrons).
    progress, cancel
        See `esteemcore._core.progress.Progress`.

    References
    ----------
    E. J. Kirkland, Advanced Computing in Electron Microscopy (2010), ch. 6; C. Ophus, Adv. Struct. Chem. Imaging 3
    (2017) 13, for the scattering matrix.
    """
    wavelength, sigma = optics.wavelength_nm(energy_kev), optics.interaction_parameter(energy_kev)
    shape, cell = specimen.slices.shape[1:], specimen.cell_nm
    step = (1 / (tiles[0] * cell[0]), 1 / (tiles[1] * cell[1]))
    limit = math.inf if band_limit is None else band_limit_per_nm(specimen, band_limit)
    if max(incoming_per_nm, outgoing_per_nm) > limit:
        worst = max(incoming_per_nm, outgoing_per_nm) * wavelength * 1e3
        raise ParameterError(
            f"the {specimen.name} potential is sampled for angles up to {limit * wavelength * 1e3:.1f} mrad at "
            f"{energy_kev:g} keV, but {worst:.1f} mrad are needed; lower semiangle_mrad or max_angle_mrad"
        )
    g = [fft.fftfreq(n, length / n) for n, length in zip(shape, cell, strict=True)]
    inside = np.hypot(g[0][:, None], g[1]) <= limit
    kinds, which = np.unique(specimen.slices, axis=0, return_inverse=True)
    which = which.ravel()
    transmissions = np.stack(
        [fft.ifft2(fft.fft2(np.exp(1j * sigma * potential.astype(np.float64))) * inside).T for potential in kinds]
    )
    transmissions = (transmissions.reshape(len(kinds), -1) / inside.size).astype(np.complex64)
    incoming, outgoing = _disk(incoming_per_nm, step), _disk(outgoing_per_nm, step)
    residues = [(row, column) for row in range(tiles[0]) for column in range(tiles[1])]
    propagators = np.empty((len(residues), shape[0] * shape[1]), np.complex64)
    for propagator, (row, column) in zip(propagators, residues, strict=True):
        k2 = (g[0][:, None] + row * step[0]) ** 2 + (g[1] + column * step[1]) ** 2
        free = np.exp(-1j * np.pi * wavelength * specimen.slice_thickness_nm * k2)
        propagator[:] = (free * (np.sqrt(k2) <= limit)).ravel()
    (first, start, first_of), (last, end, last_of) = (_by_block(waves, tiles, shape) for waves in (incoming, outgoing))
    cells = np.concatenate([[0], np.cumsum(np.diff(first_of) * np.diff(last_of))])
    values = np.empty(cells[-1], np.complex64)
    steps = Progress(len(first), progress, cancel)
    at_once = waves_at_once(len(which) * shape[0] * shape[1])
    row_transform, column_transform = (Transform(n) for n in shape)
    for at in range(0, len(first), at_once):
        to = min(at + at_once, len(first))
        _kernels.propagate(
            at, to, shape, start, end, first_of, last_of, cells, transmissions, which, propagators,
            (row_transform.factors, row_transform.turns), (column_transform.factors, column_transform.turns), values,
        )  # fmt: skip
        steps.step(to - at)
    blocks = tuple(
        Block(
            first[first_of[b] : first_of[b + 1]],
            last[last_of[b] : last_of[b + 1]],
            values[cells[b] : cells[b + 1]].reshape(first_of[b + 1] - first_of[b], last_of[b + 1] - last_of[b]),
        )
        for b in range(len(residues))
    )
    return ScatteringMatrix(blocks, tiles, step, cell, values)


def waves_at_once(work: int) -> int:
    """Return how many waves one compiled call shall take, where each of them needs this many steps of a few ns."""
    return max(1, round(_STEPS / work / LANES)) * LANES


def _by_block(
    waves: NDArray[np.int64], tiles: tuple[int, int], shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return waves sorted by their vector of the Brillouin zone, their places on the grid, and where each begins."""
    block = waves[:, 0] % tiles[0] * tiles[1] + waves[:, 1] % tiles[1]
    ordered = waves[np.argsort(block, kind="stable")]
    begins = np.searchsorted(np.sort(block), np.arange(tiles[0] * tiles[1] + 1))
    return ordered, ordered // tiles % shape, begins
