"""What lies under each place of a specimen of known composition: atoms per nm², phases and their thickness."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.simulate import layouts
from esteemcore.simulate.phases import ELEMENTS, PHASES, Phase
from esteemcore.simulate.relativity import Electron
from esteemcore.simulate.sampler import scan_to_specimen

COMPOSITIONS = ("oxide_interface", "core_shell", "needle", "zeolite", "graphene", "srtio3", "vacuum")
"""Names that `composition` knows; the last four are the compositions of the specimens of `specimen`."""

BLUR_NM = 0.05
"""Standard deviation of the probe and of what else smears atomic columns, in nm."""


@dataclasses.dataclass(frozen=True, eq=False)
class Content:
    """What the beam meets at some places.

    Attributes
    ----------
    phases : tuple of Phase
    thickness_nm : ndarray of float64, shape (n, phases)
        Path through each phase in nm.
    components : tuple of (str, str)
        (phase, element) of each column of `atoms`: an element has other spectra in another phase.
    atoms : ndarray of float64, shape (n, components)
        Atoms per nm².
    """

    phases: tuple[Phase, ...]
    thickness_nm: NDArray[np.float64] = dataclasses.field(repr=False)
    components: tuple[tuple[str, str], ...]
    atoms: NDArray[np.float64] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.atoms)

    def __getitem__(self, part: slice | NDArray[np.int64]) -> Content:
        """Return the content of some of the places."""
        return dataclasses.replace(self, thickness_nm=self.thickness_nm[part], atoms=self.atoms[part])

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements, each once."""
        return tuple(dict.fromkeys(element for _, element in self.components))

    def element(self, name: str) -> NDArray[np.float64]:
        """Return the atoms of an element per nm², in whatever phase, shape (n,)."""
        checks.choice("element", name, self.elements)
        chosen = [index for index, (_, element) in enumerate(self.components) if element == name]
        total: NDArray[np.float64] = self.atoms[:, chosen].sum(axis=1)
        return total

    def phase(self, name: str) -> NDArray[np.float64]:
        """Return the thickness of a phase in nm, shape (n,)."""
        names = [phase.name for phase in self.phases]
        checks.choice("phase", name, names)
        return self.thickness_nm[:, names.index(name)]

    def scattered(self, energy_kev: float, inner_mrad: float, outer_mrad: float | None = None) -> NDArray[np.float64]:
        r"""Return the fraction of the beam that a ring collects, by single Rutherford scattering that saturates.

        .. math::
           f = e^{-s(\theta_o)} - e^{-s(\theta_i)}, \quad
           s(\theta) = \sum_e n_e \, \pi \left( \frac{Z_e e^2}{4 \pi \epsilon_0 p v} \right)^2 \cot^2 (\theta / 2)

        Without an outer angle the first term is 1. Channelling, screening and thermal diffuse scattering are missing:
        an image with the right contrast, no measurement of thickness.

        Parameters
        ----------
        energy_kev : float
            Beam energy in keV.
        inner_mrad, outer_mrad : float
            Angles of the ring in mrad.

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        inner = checks.positive("inner_mrad", inner_mrad, "mrad")
        if outer_mrad is not None and not inner < checks.positive("outer_mrad", outer_mrad, "mrad"):
            raise ParameterError(f"the ring spans {inner:g} to {outer_mrad:g} mrad; expected angles that rise")
        coulomb_ev_nm = constants.e / (4 * math.pi * constants.epsilon_0) * 1e9
        squares = np.array([ELEMENTS[element][0] ** 2 for _, element in self.components], np.float64)
        strength = self.atoms @ squares * (math.pi * (coulomb_ev_nm / Electron(energy_kev).pv_ev) ** 2)
        beyond: NDArray[np.float64] = 1 - np.exp(-strength / math.tan(inner * 5e-4) ** 2)
        if outer_mrad is not None:
            beyond -= 1 - np.exp(-strength / math.tan(outer_mrad * 5e-4) ** 2)
        return beyond


Layout = Callable[[NDArray[np.float64], float], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Composition:
    """A specimen of which is known what lies where.

    Attributes
    ----------
    name, description : str
    phases : tuple of Phase
    field_nm : float
        Side of a field of view in nm that shows what is of interest, around the origin.
    layout : callable
        Of places (n, 2) in nm and the blur in nm: thickness (n, phases) in nm and atoms (n, components) per nm².
    """

    name: str
    description: str
    phases: tuple[Phase, ...]
    field_nm: float
    layout: Layout = dataclasses.field(repr=False)

    @property
    def components(self) -> tuple[tuple[str, str], ...]:
        """(phase, element), in the order of `phases` and of their formulas."""
        return layouts.components(self.phases)

    def at(self, places_nm: ArrayLike, blur_nm: float = BLUR_NM) -> Content:
        """Return what lies under places.

        Parameters
        ----------
        places_nm : array_like, shape (n, 2)
            Places (row, column) on the specimen in nm.
        blur_nm : float
            Standard deviation in nm by which atomic columns are smeared: probe, thermal motion, delocalisation.
        """
        places = scan_to_specimen(places_nm)
        thickness, atoms = self.layout(places, checks.positive("blur_nm", blur_nm, "nm"))
        return Content(self.phases, thickness, self.components, atoms)

    def maps(
        self,
        shape: tuple[int, int],
        pixel_nm: float | tuple[float, float],
        center_nm: tuple[float, float] = (0.0, 0.0),
        blur_nm: float = BLUR_NM,
    ) -> Content:
        """Return what lies under the pixels of a field of view, row after row.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns.
        pixel_nm : float or (float, float)
            Distance of pixels in nm, (row, column) where they differ.
        center_nm : (float, float)
            Centre of the field on the specimen, (row, column) in nm.
        blur_nm : float
            See `at`.

        Examples
        --------
        >>> from esteemcore import simulate
        >>> found = simulate.composition("needle").maps((32, 32), pixel_nm=2.5)
        >>> found.element("Ni").reshape(32, 32).max() > 0
        np.True_
        """
        rows, columns = checks.shape_2d("shape", shape)
        pixel = np.broadcast_to(np.asarray(pixel_nm, np.float64), 2)
        for size in pixel:
            checks.positive("pixel_nm", size, "nm")
        at = np.argwhere(np.ones((rows, columns), np.bool_)) - (np.array([rows, columns]) - 1) / 2
        return self.at(at * pixel + np.asarray(center_nm, np.float64), blur_nm)


@functools.lru_cache(maxsize=16)
def composition(name: str, thickness_nm: float | None = None, seed: int = 0) -> Composition:
    """Return a specimen of known composition.

    Parameters
    ----------
    name : {"oxide_interface", "core_shell", "needle", "zeolite", "graphene", "srtio3", "vacuum"}
        SrTiO3 (rows above 0) under LaMnO3 (rows below), resolved into atomic columns along [001] with intermixing of
        one cell; Fe3O4 particles with Mn3O4 shells on a carbon film; a needle of silicon along the rows with layers of
        Ni and Cr at its tip. The others are the specimens of `specimen`: SrTiO3 with its columns, zeolite and graphene
        as even films.
    thickness_nm : float, optional
        Thickness in nm of oxides (20) and zeolite (1.99), of the carbon film under particles (6), diameter of the
        needle where its layers begin (30). Graphene is one sheet.
    seed : int
        Of the sizes and places of particles.

    Raises
    ------
    ParameterError
        If the name is unknown or the thickness is not positive, or is given for graphene.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> specimen = simulate.composition("oxide_interface")
    >>> specimen.at([[-0.781, 0.0], [0.781, 0.0]]).element("La").round()
    array([   0., 3261.])
    """
    checks.choice("specimen name", name, COMPOSITIONS)
    checks.integer("seed", seed, minimum=0)
    if thickness_nm is not None:
        thickness_nm = checks.positive("thickness_nm", thickness_nm, "nm")
        if name == "graphene":
            raise ParameterError("graphene is a single sheet; leave thickness_nm out")
    if name == "oxide_interface":
        phases = _phases("SrTiO3", "LaMnO3")
        oxide = layouts.OxideInterface(phases, thickness_nm or 20.0)
        return Composition(name, "SrTiO3 / LaMnO3 interface along [001]", phases, 4.0, oxide)
    if name == "srtio3":
        phases = _phases("SrTiO3")
        return Composition(
            name, "SrTiO3 along [001]", phases, 2.0, layouts.OxideInterface((phases[0],) * 2, thickness_nm or 20.0)
        )
    if name == "core_shell":
        phases = _phases("Fe3O4", "Mn3O4", "C")
        particles = layouts.CoreShell(phases, thickness_nm or 6.0, seed)
        return Composition(name, "Fe3O4 particles with Mn3O4 shells on carbon", phases, 60.0, particles)
    if name == "needle":
        phases = _phases("Ni", "Cr", "Si")
        return Composition(
            name, "Ni / Cr layers on a needle of Si", phases, 80.0, layouts.Needle(phases, thickness_nm or 30.0)
        )
    film = {"zeolite": ("SiO2", thickness_nm or 1.99), "graphene": ("C", 0.381), "vacuum": ("C", 0.0)}[name]
    phases = _phases(film[0])
    return Composition(name, f"an even film of {film[0]}", phases, 8.0, layouts.Film(phases, film[1]))


def _phases(*names: str) -> tuple[Phase, ...]:
    return tuple(PHASES[name] for name in names)
