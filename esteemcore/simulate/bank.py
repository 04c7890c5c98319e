"""The bank of diffraction patterns: the expected pattern at every position of a fine grid over one cell."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import threading
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from esteemcore import optics
from esteemcore._core import checks, provenance
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import ProgressFunction
from esteemcore.simulate import _kernels
from esteemcore.simulate.beam import Beam
from esteemcore.simulate.multislice import ScatteringMatrix, band_limit_per_nm, recombine, scattering_matrix
from esteemcore.simulate.specimen import Specimen

WINDOW = 1.35
"""Radius of the detector window in semi-angles."""
LEAST_WINDOW_MRAD = 20.0
"""But at least this, so that beams of small semi-angle show the reflections round them."""
MAX_BYTES = 300_000_000
EXTENTS_NM = (3.0, 2.0, 1.5, 1.0)
STEPS_PER_RADIUS = 3.0
"""Samples along the radius of a disk, at least where memory allows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Bank:
    """Expected diffraction patterns, one per position, as fractions of the beam.

    Attributes
    ----------
    specimen : Specimen
    beam : Beam
    intensity : ndarray of float32, shape (y, x, n)
        Fraction of the beam that lands in each of the n cells of reciprocal space inside the window.
    outside : ndarray of float32, shape (y, x)
        Fraction that is scattered beyond the window; ``intensity.sum(axis=-1) + outside == 1``.
    waves : ndarray of int64, shape (n, 2)
        Centre (row, column) of each cell of reciprocal space in units of `step_per_nm`.
    step_per_nm : tuple of float
        Sampling of reciprocal space (row, column) in 1/nm.
    spacing_nm : tuple of float
        Distance of the positions along rows and columns in nm; position (0, 0) is the corner of the cell.
    max_angle_mrad : float
        Radius of the window.
    provenance : Provenance
    """

    specimen: Specimen
    beam: Beam
    intensity: NDArray[np.float32] = dataclasses.field(repr=False)
    outside: NDArray[np.float32] = dataclasses.field(repr=False)
    waves: NDArray[np.int64] = dataclasses.field(repr=False)
    step_per_nm: tuple[float, float]
    spacing_nm: tuple[float, float]
    max_angle_mrad: float
    provenance: provenance.Provenance

    @property
    def step_mrad(self) -> tuple[float, float]:
        """Sampling of reciprocal space (row, column) in mrad."""
        wavelength = self.beam.wavelength_nm
        return self.step_per_nm[0] * wavelength * 1e3, self.step_per_nm[1] * wavelength * 1e3

    def image(self, fractions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Lay fractions of the n cells out as a picture with the beam axis in the centre (odd sides)."""
        half = np.abs(self.waves).max(axis=0)
        picture = np.zeros(2 * half + 1)
        picture[self.waves[:, 0] + half[0], self.waves[:, 1] + half[1]] = fractions
        return picture

    def mean_pattern(self) -> NDArray[np.float64]:
        """Return the position-averaged pattern as a picture with the beam axis in the centre."""
        return self.image(self.intensity.mean(axis=(0, 1), dtype=np.float64))

    @functools.cached_property
    def alias(self) -> NDArray[np.uint32]:
        """Alias tables for drawing electrons, one per position; made when first used, as large as `intensity`."""
        n = self.intensity.shape[-1]
        return _kernels.alias_tables(self.intensity.reshape(-1, n), self.outside.ravel())


class _Recent:
    """The last few results of expensive work, by key; old ones are forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get[T](self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                kept: T = self._kept[key]
                return kept
        value = make()
        with self._lock:
            self._kept[key] = value
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return value


_matrices = _Recent(4)
_banks = _Recent(1)


def bank(
    specimen: Specimen,
    beam: Beam,
    *,
    max_angle_mrad: float | None = None,
    extent_nm: float | None = None,
    spacing_nm: float | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Bank:
    """Compute the expected diffraction pattern at every position of a grid over one cell.

    The multislice is done once for a specimen, energy, semi-angle and window; a change of aberrations only recombines
    its result. The last results are kept in memory.

    Parameters
    ----------
    specimen : Specimen
    beam : Beam
    max_angle_mrad : float, optional
        Radius of the detector window in mrad; electrons beyond it are only counted. Default: 1.35 semi-angles, at
        least 20 mrad where the potential is sampled that finely.
    extent_nm : float, optional
        Reciprocal space is sampled as finely as by a supercell of about this size, in nm. Default: 3 nm, less for
        large angles, more for small ones, whose disks need it.
    spacing_nm : float, optional
        Largest distance of the positions in nm. Default: a tenth of the resolution ``wavelength / semiangle``, at most
        0.02 nm, and wider where the bank would exceed 300 MB. Between positions the sampler interpolates linearly.
    progress, cancel
        Called with the fraction done; set to stop.

    Returns
    -------
    Bank

    Raises
    ------
    ParameterError
        If the angles exceed the sampling of the potential, or no spacing fits into 300 MB.
    CancelledError
        If ``cancel`` was set.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> patterns = simulate.bank(simulate.specimen("vacuum"), simulate.Beam(200, 15))
    >>> bool(abs(patterns.intensity.sum(axis=-1) + patterns.outside - 1).max() < 1e-5)
    True
    """
    window = _window_mrad(specimen, beam) if max_angle_mrad is None else max_angle_mrad
    window = checks.positive("max_angle_mrad", window, "mrad")
    tiles, (ny, nx) = _sampling(specimen, beam, window, extent_nm, spacing_nm)
    aberrations = tuple(sorted(map(tuple, optics.parse_aberrations(beam.aberrations).tolist())))
    material = (specimen.digest, beam.energy_kev, beam.semiangle_mrad, window, tiles)

    def scatter() -> ScatteringMatrix:
        edge = 1 / min(tiles[0] * specimen.cell_nm[0], tiles[1] * specimen.cell_nm[1])
        share = None if progress is None else lambda done: progress(0.8 * done)
        incoming, outgoing = beam.radius_per_nm + edge / 2, window * 1e-3 / beam.wavelength_nm
        return scattering_matrix(specimen, beam.energy_kev, incoming, outgoing, tiles, progress=share, cancel=cancel)

    def make() -> Bank:
        matrix = _matrices.get(material, scatter)
        share = None if progress is None else lambda done: progress(0.8 + 0.2 * done)
        intensity, waves = recombine(matrix, beam, (ny, nx), share, cancel)
        outside = np.maximum(1 - intensity.sum(axis=-1, dtype=np.float64), 0).astype(np.float32)
        spacings = (specimen.cell_nm[0] / ny, specimen.cell_nm[1] / nx)
        parameters = {
            "specimen": specimen.name,
            "thickness_nm": specimen.thickness_nm,
            "energy_kev": beam.energy_kev,
            "semiangle_mrad": beam.semiangle_mrad,
            "aberrations": beam.aberrations,
            "max_angle_mrad": window,
            "tiles": tiles,
            "spacing_nm": spacings,
        }
        record = provenance.record("simulate.bank", parameters, input_digest=specimen.digest)
        return Bank(specimen, beam, intensity, outside, waves, matrix.step_per_nm, spacings, window, record)

    return _banks.get((*material, aberrations, ny, nx), make)


def _window_mrad(specimen: Specimen, beam: Beam) -> float:
    """Return the usual radius of the detector window."""
    sampled = band_limit_per_nm(specimen) * beam.wavelength_nm * 1e3
    return max(WINDOW * beam.semiangle_mrad, min(LEAST_WINDOW_MRAD, sampled))


def _sampling(
    specimen: Specimen, beam: Beam, window_mrad: float, extent_nm: float | None, spacing_nm: float | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return cells per supercell, and positions per cell, such that the bank is fine enough and fits into memory."""
    rows, columns = specimen.cell_nm
    finest = 0.25 / beam.radius_per_nm
    usual = (max(EXTENTS_NM[0], STEPS_PER_RADIUS / beam.radius_per_nm), *EXTENTS_NM)
    for extent in usual if extent_nm is None else (checks.positive("extent_nm", extent_nm, "nm"),):
        tiles = math.ceil(extent / rows - 0.05) or 1, math.ceil(extent / columns - 0.05) or 1
        cells = math.pi * (window_mrad * 1e-3 / beam.wavelength_nm) ** 2 * tiles[0] * rows * tiles[1] * columns
        fitting = math.sqrt(4 * cells * rows * columns / MAX_BYTES)
        if spacing_nm is not None:
            spacing = checks.positive("spacing_nm", spacing_nm, "nm")
            fits = fitting <= spacing
        else:
            spacing = max(min(0.02, 0.1 / beam.radius_per_nm), fitting)
            fits = spacing <= 0.6 * finest
        if fits:
            break
    if spacing > finest or fitting > spacing:
        raise ParameterError(
            f"positions {spacing:.4f} nm apart do not suit a probe of {beam.semiangle_mrad:g} mrad (at most "
            f"{finest:.4f} nm) in {MAX_BYTES / 1e6:.0f} MB (at least {fitting:.4f} nm); change spacing_nm, or lower "
            "max_angle_mrad or extent_nm to save memory"
        )
    return tiles, (fft.next_fast_len(math.ceil(rows / spacing)), fft.next_fast_len(math.ceil(columns / spacing)))
