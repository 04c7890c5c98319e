"""Characteristic X-rays: energies, fluorescence yields and relative weights of the lines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType

from esteemcore._core import checks
from esteemcore.simulate.edges import BOHR_NM, RYDBERG_EV
from esteemcore.simulate.relativity import Electron


@dataclasses.dataclass(frozen=True)
class Shell:
    """A subshell whose vacancies give X-rays.

    Attributes
    ----------
    name : str
    edge_kev : float
        Binding energy in keV.
    electrons : int
        Electrons in it.
    fluorescence_yield : float
        X-rays per vacancy.
    lines : tuple of (str, float, float)
        Name, energy in keV and part of the shell's X-rays, of each line.
    """

    name: str
    edge_kev: float
    electrons: int
    fluorescence_yield: float
    lines: tuple[tuple[str, float, float], ...]

    def ionisation_nm2(self, energy_kev: float) -> float:
        r"""Return the ionisation cross-section of an atom's shell in nm², after Bethe with relativistic terms.

        .. math:: Q = \frac{4 \pi a_0^2 R^2}{T E_c} n b
           \left[ \ln \frac{c T}{E_c} - \ln (1 - \beta^2) - \beta^2 \right], \quad T = \frac{m_0 v^2}{2}

        with b = 0.9 and c = 0.65 for the K shell and b = 0.75, c = 0.6 for the others; 0 below the edge.

        References
        ----------
        C. J. Powell, Rev. Mod. Phys. 48 (1976) 33; D. B. Williams, C. B. Carter, Transmission Electron Microscopy,
        2nd ed., ch. 4.
        """
        electron = Electron(checks.positive("energy_kev", energy_kev, "keV"))
        edge_ev, beta2 = self.edge_kev * 1e3, electron.beta_squared
        b, c = (0.9, 0.65) if self.name == "K" else (0.75, 0.6)
        logarithm = math.log(c * electron.speed_ev / edge_ev) - math.log(1 - beta2) - beta2
        if energy_kev <= self.edge_kev or logarithm <= 0:
            return 0.0
        per_electron = 4 * math.pi * BOHR_NM**2 * RYDBERG_EV**2 / (electron.speed_ev * edge_ev)
        return per_electron * self.electrons * b * logarithm


SHELLS: Mapping[str, tuple[Shell, ...]] = MappingProxyType(
    {
        "C": (Shell("K", 0.2842, 2, 0.0014, (("Ka", 0.277, 1.0),)),),
        "O": (Shell("K", 0.5431, 2, 0.0058, (("Ka", 0.5249, 1.0),)),),
        "Si": (Shell("K", 1.839, 2, 0.0429, (("Ka", 1.7396, 0.973), ("Kb", 1.837, 0.027))),),
        "Ti": (
            Shell("K", 4.966, 2, 0.2184, (("Ka", 4.51, 0.8785), ("Kb", 4.9336, 0.1215))),
            Shell("L3", 0.4538, 4, 0.0015, (("La", 0.4518, 0.9009), ("Ll", 0.3951, 0.0991))),
            Shell("L2", 0.4602, 2, 0.0011, (("Lb1", 0.4582, 0.9188), ("Ln", 0.4015, 0.0812))),
        ),
        "Cr": (
            Shell("K", 5.989, 2, 0.2865, (("Ka", 5.4116, 0.8765), ("Kb", 5.947, 0.1235))),
            Shell("L3", 0.5741, 4, 0.0037, (("La", 0.5721, 0.9009), ("Ll", 0.5, 0.0991))),
            Shell("L2", 0.5838, 2, 0.0023, (("Lb1", 0.5818, 0.9223), ("Ln", 0.5097, 0.0777))),
        ),
        "Mn": (
            Shell("K", 6.539, 2, 0.3192, (("Ka", 5.8965, 0.8755), ("Kb", 6.492, 0.1245))),
            Shell("L3", 0.6387, 4, 0.005, (("La", 0.6367, 0.9009), ("Ll", 0.5564, 0.0991))),
            Shell("L2", 0.6499, 2, 0.0031, (("Lb1", 0.6479, 0.924), ("Ln", 0.5676, 0.076))),
        ),
        "Fe": (
            Shell("K", 7.112, 2, 0.351, (("Ka", 6.4008, 0.8746), ("Kb", 7.0596, 0.1254))),
            Shell("L3", 0.7068, 4, 0.0063, (("La", 0.7048, 0.901), ("Ll", 0.6155, 0.099))),
            Shell("L2", 0.7199, 2, 0.0036, (("Lb1", 0.7179, 0.9257), ("Ln", 0.6286, 0.0743))),
        ),
        "Ni": (
            Shell("K", 8.333, 2, 0.4119, (("Ka", 7.4744, 0.8726), ("Kb", 8.2666, 0.1274))),
            Shell("L3", 0.8527, 4, 0.0093, (("La", 0.8487, 0.925), ("Ll", 0.7419, 0.075))),
            Shell("L2", 0.87, 2, 0.0051, (("Lb1", 0.866, 0.9315), ("Ln", 0.7592, 0.0685))),
        ),
        "Sr": (
            Shell("K", 16.105, 2, 0.6647, (("Ka", 14.142, 0.8488), ("Kb", 15.8603, 0.1512))),
            Shell("L3", 1.94, 4, 0.026, (("La", 1.8058, 0.9579), ("Ll", 1.5813, 0.0421))),
            Shell("L2", 2.007, 2, 0.024, (("Lb1", 1.871, 0.9519), ("Ln", 1.6483, 0.0481))),
        ),
        "La": (
            Shell("K", 38.925, 2, 0.9278, (("Ka", 33.2977, 0.8137), ("Kb", 37.9698, 0.1863))),
            Shell("L3", 5.483, 4, 0.104, (("La", 4.6492, 0.8195), ("Lb2", 5.3777, 0.1512), ("Ll", 4.121, 0.0293))),
            Shell("L2", 5.891, 2, 0.103, (("Lb1", 5.038, 0.8501), ("Lg1", 5.7857, 0.1271), ("Ln", 4.529, 0.0228))),
            Shell("M45", 0.836, 10, 0.0048, (("Ma", 0.836, 0.6), ("Mb", 0.853, 0.4))),
        ),
    }
)
"""Shells and lines of the elements.

Energies, yields and weights are those of W. T. Elam, B. D. Ravel, J. R. Sieber, Radiat. Phys. Chem. 63 (2002) 121, as
in XrayDB 4.5.8 (public domain), with lines closer than a detector resolves put together; not from there: the weight of
Si Kb, which is that of J. H. Scofield, At. Data Nucl. Data Tables 14 (1974) 121, and the yield of the M shell of La,
after J. H. Hubbell et al., J. Phys. Chem. Ref. Data 23 (1994) 339. L1 and lines that were weaker than 0.5 % are left
out, and so are Coster-Kronig transitions.
"""
