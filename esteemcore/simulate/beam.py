"""The electron probe: energy, convergence and aberrations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import optics
from esteemcore._core import checks
from esteemcore._core.errors import ParameterError


@dataclasses.dataclass(frozen=True)
class Beam:
    r"""A coherent probe behind a round aperture.

    .. math:: \psi(x; r) = \sum_{|h| \le \alpha / \lambda} e^{-i \chi(h)} e^{2 \pi i h (x - r)}

    Parameters
    ----------
    energy_kev : float
        Beam energy in keV.
    semiangle_mrad : float
        Convergence semi-angle in mrad.
    aberrations : mapping, optional
        ``{"C10": nm, "C12": (nm, rad), "C30": nm, ...}``, C10 = -defocus; see `esteemcore.optics.parse_aberrations`.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> beam = simulate.Beam(200, 15, {"C10": -12.0})
    >>> round(beam.radius_per_nm, 3)
    5.981
    """

    energy_kev: float
    semiangle_mrad: float
    aberrations: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "energy_kev", checks.positive("energy_kev", self.energy_kev, "keV"))
        object.__setattr__(self, "semiangle_mrad", checks.positive("semiangle_mrad", self.semiangle_mrad, "mrad"))
        if not 10 <= self.energy_kev <= 3000:
            raise ParameterError(f"energy_kev is {self.energy_kev:g} keV; expected 10 to 3000 keV (keV, not eV or V)")
        if not 0.5 <= self.semiangle_mrad <= 100:
            raise ParameterError(f"semiangle_mrad is {self.semiangle_mrad:g} mrad; expected 0.5 to 100 mrad")
        optics.parse_aberrations(self.aberrations)
        object.__setattr__(self, "aberrations", dict(self.aberrations or {}))

    @property
    def wavelength_nm(self) -> float:
        """Wavelength in nm."""
        return optics.wavelength_nm(self.energy_kev)

    @property
    def radius_per_nm(self) -> float:
        """Radius of the aperture in 1/nm."""
        return self.semiangle_mrad * 1e-3 / self.wavelength_nm

    def amplitude(
        self, k_row: NDArray[np.floating], k_column: NDArray[np.floating], edge_per_nm: float
    ) -> NDArray[np.complex128]:
        """Return the wave in the aperture at spatial frequencies in 1/nm, not normalised.

        Parameters
        ----------
        k_row, k_column : ndarray
            Spatial frequencies in 1/nm.
        edge_per_nm : float
            Sampling interval; a sample on the edge counts by the part of it that is inside.
        """
        inside = optics.aperture_edge(np.hypot(k_row, k_column), self.radius_per_nm, edge_per_nm)
        chi = optics.aberration_phase(k_row, k_column, self.wavelength_nm, self.aberrations)
        wave: NDArray[np.complex128] = np.sqrt(inside) * np.exp(-1j * chi)
        return wave
