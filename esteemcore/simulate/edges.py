"""Core-loss edges: where they lie, how strong they are, and their cross-sections."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants, special

from esteemcore._core import checks
from esteemcore.simulate.relativity import Electron

BOHR_NM = float(constants.physical_constants["Bohr radius"][0]) * 1e9
RYDBERG_EV = float(constants.physical_constants["Rydberg constant times hc in eV"][0])

_FWHM = 2 * math.sqrt(2 * math.log(2))

Line = tuple[float, float, float]
"""Energy in eV, full width at half maximum in eV, oscillator strength."""


@dataclasses.dataclass(frozen=True)
class Edge:
    r"""An edge: a step that decays like that of a hydrogenic atom, and lines before and on it.

    .. math::
       \frac{df}{dE} = f_c \frac{s - 1}{E_c} \left( \frac{E}{E_c} \right)^{-s} \Theta_w(E - E_c)
       + \sum_j f_j \, G(E - E_j; w_j)

    Parameters
    ----------
    shell : str
    onset_ev : float
        :math:`E_c` in eV.
    strength : float
        Oscillator strength :math:`f_c` of the step.
    decay : float
        Exponent s.
    lines : tuple of (float, float, float)
        Energy in eV, full width at half maximum in eV and oscillator strength of each line.
    rise_ev : float
        Standard deviation in eV of the rise :math:`\Theta_w` of the step.
    """

    shell: str
    onset_ev: float
    strength: float
    decay: float
    lines: tuple[Line, ...] = ()
    rise_ev: float = 1.0

    def oscillators(self, energy_ev: ArrayLike) -> NDArray[np.float64]:
        """Return df/dE in 1/eV at losses in eV."""
        energy = np.asarray(energy_ev, np.float64)
        above = np.maximum(energy, self.onset_ev - 8 * self.rise_ev) / self.onset_ev
        step = 0.5 * (1 + special.erf((energy - self.onset_ev) / (math.sqrt(2) * self.rise_ev)))
        density: NDArray[np.float64] = self.strength * (self.decay - 1) / self.onset_ev * above**-self.decay * step
        for at, fwhm, strength in self.lines:
            sigma = fwhm / _FWHM
            density += strength * np.exp(-((energy - at) ** 2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
        return density

    def cross_section(self, energy_ev: ArrayLike, energy_kev: float, collection_mrad: float) -> NDArray[np.float64]:
        r"""Return the cross-section in nm²/eV for losses into the spectrometer, in the dipole region.

        .. math::
           \frac{d\sigma}{dE} = \frac{4 \pi a_0^2 R^2}{E T} \ln \left( 1 + \frac{\beta^2}{\theta_E^2} \right)
           \frac{df}{dE}, \quad \theta_E = \frac{E}{2 \gamma T}, \quad T = \frac{m_0 v^2}{2}

        Parameters
        ----------
        energy_ev : array_like
            Losses in eV.
        energy_kev : float
            Beam energy in keV.
        collection_mrad : float
            Collection semi-angle in mrad.

        References
        ----------
        R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed., ch. 3.2 and 3.6.
        """
        loss = np.maximum(np.asarray(energy_ev, np.float64), 1.0)
        electron = Electron(energy_kev)
        theta_mrad = loss / electron.pv_ev * 1e3
        angles = np.log1p((checks.positive("collection_mrad", collection_mrad, "mrad") / theta_mrad) ** 2)
        found: NDArray[np.float64] = (
            4 * math.pi * BOHR_NM**2 * RYDBERG_EV**2 / (loss * electron.speed_ev) * angles * self.oscillators(energy_ev)
        )
        return found


EDGES: Mapping[str, tuple[Edge, ...]] = MappingProxyType(
    {
        "C": (Edge("K", 284.0, 1.6, 3.0, ((285.3, 2.0, 0.05), (292.5, 8.0, 0.12))),),
        "O": (Edge("K", 532.0, 1.6, 3.0, ((538.0, 4.0, 0.05),)),),
        "Si": (
            Edge("L23", 99.5, 6.0, 2.5, rise_ev=6.0),
            Edge("K", 1839.0, 1.6, 3.0),
        ),
        "Ti": (Edge("L23", 456.0, 3.5, 2.5, ((458.0, 2.2, 0.10), (463.5, 2.6, 0.08)), 1.5),),
        "Cr": (Edge("L23", 575.0, 3.5, 2.5, ((577.0, 2.6, 0.09), (585.5, 3.0, 0.05)), 1.5),),
        "Mn": (Edge("L23", 640.0, 3.5, 2.5, ((642.0, 2.8, 0.12), (653.0, 3.0, 0.05)), 1.5),),
        "Fe": (Edge("L23", 708.0, 3.5, 2.5, ((709.5, 2.8, 0.12), (722.5, 3.2, 0.04)), 1.5),),
        "Ni": (Edge("L23", 855.0, 3.5, 2.5, ((855.5, 2.8, 0.06), (872.5, 3.2, 0.02)), 1.5),),
        "Sr": (
            Edge("M45", 133.0, 10.0, 2.6, rise_ev=15.0),
            Edge("M23", 269.0, 3.0, 2.6, rise_ev=3.0),
            Edge("L3", 1940.0, 3.0, 3.0, rise_ev=2.0),
            Edge("L2", 2007.0, 1.5, 3.0, rise_ev=2.0),
        ),
        "La": (
            Edge("N45", 99.0, 10.0, 2.6, rise_ev=6.0),
            Edge("M45", 832.0, 5.0, 2.6, ((833.5, 3.0, 0.5), (850.0, 3.0, 0.4)), 8.0),
        ),
    }
)
"""Edges of the elements. Onsets are those of the table of binding energies in C. C. Ahn and O. L. Krivanek, EELS Atlas
(1983); strengths and lines are made so that the edges look like those of the atlas: a model, no reference spectra."""

FINE_STRUCTURE: Mapping[tuple[str, str], Mapping[str, tuple[Line, ...]]] = MappingProxyType(
    {
        ("SrTiO3", "Ti"): {"L23": ((457.8, 1.1, 0.030), (460.1, 1.7, 0.065), (463.2, 1.5, 0.030), (465.5, 2.3, 0.060))},
        ("SrTiO3", "O"): {"K": ((531.3, 1.8, 0.014), (536.5, 3.0, 0.020), (544.0, 4.5, 0.025))},
        ("LaMnO3", "Mn"): {"L23": ((642.4, 2.8, 0.13), (653.6, 3.0, 0.06))},
        ("LaMnO3", "O"): {"K": ((529.8, 2.2, 0.010), (536.0, 4.0, 0.030), (542.6, 5.0, 0.020))},
        ("Mn3O4", "Mn"): {"L23": ((640.2, 1.8, 0.06), (642.5, 2.4, 0.08), (652.3, 3.0, 0.05))},
        ("Mn3O4", "O"): {"K": ((531.0, 2.2, 0.010), (539.0, 4.0, 0.030))},
        ("Fe3O4", "Fe"): {"L23": ((708.2, 1.6, 0.04), (709.9, 2.4, 0.11), (722.6, 3.2, 0.04))},
        ("Fe3O4", "O"): {"K": ((530.4, 2.2, 0.012), (540.5, 5.0, 0.040))},
    }
)
"""Lines of an element in a phase (phase, element), by shell, instead of those of `EDGES`; see there."""


def edges_of(phase: str, element: str) -> tuple[Edge, ...]:
    """Return the edges of an element in a phase.

    Examples
    --------
    >>> [edge.shell for edge in edges_of("SrTiO3", "O")]
    ['K']
    """
    checks.choice("element", element, tuple(EDGES))
    fine = FINE_STRUCTURE.get((phase, element), {})
    return tuple(dataclasses.replace(edge, lines=fine.get(edge.shell, edge.lines)) for edge in EDGES[element])
