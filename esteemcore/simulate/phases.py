"""What specimens are made of: elements, and phases with their density, plasmon and mean free path."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType

from scipy import constants

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

ELEMENTS: Mapping[str, tuple[int, float]] = MappingProxyType(
    {
        "C": (6, 12.011),
        "O": (8, 15.999),
        "Si": (14, 28.085),
        "Ti": (22, 47.867),
        "Cr": (24, 51.996),
        "Mn": (25, 54.938),
        "Fe": (26, 55.845),
        "Ni": (28, 58.693),
        "Sr": (38, 87.62),
        "La": (57, 138.905),
    }
)
"""Atomic number and standard atomic weight of the elements that the simulation knows."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """A homogeneous material.

    Parameters
    ----------
    name : str
    formula : mapping of str to float
        Atoms of each element in a formula unit; elements of `ELEMENTS`.
    density_g_cm3 : float
        Mass density in g/cm³.
    plasmon_ev : float
        Energy of the plasmon in eV.
    plasmon_width_ev : float
        Its full width at half maximum in eV.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> silicon = simulate.PHASES["Si"]
    >>> round(silicon.atoms_per_nm3["Si"], 1), round(silicon.mean_free_path_nm(200.0, 15.0, 30.0))
    (49.9, 154)
    """

    name: str
    formula: Mapping[str, float]
    density_g_cm3: float
    plasmon_ev: float
    plasmon_width_ev: float

    def __post_init__(self) -> None:
        unknown = sorted(set(self.formula) - set(ELEMENTS))
        if unknown or not self.formula:
            raise ParameterError(
                f"the formula of {self.name!r} holds {', '.join(unknown) or 'nothing'}; "
                f"expected elements of {', '.join(ELEMENTS)}"
            )
        for element, amount in self.formula.items():
            checks.positive(f"amount of {element}", amount)
        for name, unit in (("density_g_cm3", "g/cm³"), ("plasmon_ev", "eV"), ("plasmon_width_ev", "eV")):
            checks.positive(name, getattr(self, name), unit)
        object.__setattr__(self, "formula", MappingProxyType(dict(self.formula)))

    @property
    def elements(self) -> tuple[str, ...]:
        """Its elements, in the order of the formula."""
        return tuple(self.formula)

    @property
    def atoms_per_nm3(self) -> dict[str, float]:
        """Atoms of each element per nm³."""
        mass = sum(n * ELEMENTS[element][1] for element, n in self.formula.items())
        units = self.density_g_cm3 * constants.N_A / mass * 1e-21
        return {element: n * units for element, n in self.formula.items()}

    def mean_free_path_nm(self, energy_kev: float, semiangle_mrad: float, collection_mrad: float) -> float:
        r"""Return the mean free path for inelastic scattering into the spectrometer, after [1]_.

        .. math::
           \frac{1}{\lambda} = \frac{11 \rho^{0.3}}{200 F E_0} \ln \left\{
           \frac{\alpha^2 + \beta^2 + 2 \theta_E^2 + |\alpha^2 - \beta^2|}
           {\alpha^2 + \beta^2 + 2 \theta_C^2 + |\alpha^2 - \beta^2|} \frac{\theta_C^2}{\theta_E^2} \right\}

        with :math:`\theta_C` = 20 mrad, :math:`\theta_E = 5.5 \rho^{0.3} / (F E_0)` and
        :math:`F = (1 + E_0 / 1022) / (1 + E_0 / 511)^2`; density in g/cm³, energy in keV, angles in mrad.

        Parameters
        ----------
        energy_kev : float
            Beam energy in keV.
        semiangle_mrad, collection_mrad : float
            Convergence and collection semi-angles in mrad.

        References
        ----------
        .. [1] K. Iakoubovskii, K. Mitsuishi, Y. Nakayama, K. Furuya, Microsc. Res. Tech. 71 (2008) 626.
        """
        energy = checks.positive("energy_kev", energy_kev, "keV")
        alpha = checks.not_negative("semiangle_mrad", semiangle_mrad, "mrad")
        beta = checks.positive("collection_mrad", collection_mrad, "mrad")
        relativity = (1 + energy / 1022) / (1 + energy / 511) ** 2
        density = math.pow(self.density_g_cm3, 0.3)
        theta_e, theta_c = 5.5 * density / (relativity * energy), 20.0
        widest = alpha**2 + beta**2 + abs(alpha**2 - beta**2)
        ratio = (widest + 2 * theta_e**2) / (widest + 2 * theta_c**2) * (theta_c / theta_e) ** 2
        return 200 * relativity * energy / (11 * density) / math.log(ratio)


PHASES: Mapping[str, Phase] = MappingProxyType(
    {
        phase.name: phase
        for phase in (
            Phase("C", {"C": 1}, 2.0, 24.0, 20.0),
            Phase("Si", {"Si": 1}, 2.329, 16.7, 3.2),
            Phase("SiO2", {"Si": 1, "O": 2}, 1.8, 22.4, 14.0),
            Phase("Cr", {"Cr": 1}, 7.19, 24.9, 12.0),
            Phase("Ni", {"Ni": 1}, 8.908, 20.7, 16.0),
            Phase("SrTiO3", {"Sr": 1, "Ti": 1, "O": 3}, 5.12, 30.0, 9.0),
            Phase("LaMnO3", {"La": 1, "Mn": 1, "O": 3}, 6.74, 27.0, 12.0),
            Phase("Fe3O4", {"Fe": 3, "O": 4}, 5.17, 23.5, 14.0),
            Phase("Mn3O4", {"Mn": 3, "O": 4}, 4.86, 22.5, 14.0),
        )
    }
)
"""Phases of the simulated specimens, by name.

Densities are handbook values (SiO2: that of the framework of an empty zeolite); plasmons of Si, SiO2, Cr, Ni and C are
those of R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed., appendix C, the others
are typical of such oxides.
"""
