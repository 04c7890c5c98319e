"""Templates: which reflections a crystal shows in each orientation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import DependencyError, ParameterError
from esteemcore._core.provenance import Provenance, digest, record

Floats = NDArray[np.float64]

IDENTITY = np.array([[1.0, 0.0, 0.0, 0.0]])


@dataclasses.dataclass(frozen=True, eq=False)
class TemplateLibrary:
    """Spots of crystals in many orientations, one template each, without the direct beam.

    Attributes
    ----------
    offset : ndarray of int64, shape (n + 1,)
        The spots of template t are ``offset[t]:offset[t + 1]``.
    vectors : ndarray of float64, shape (m, 2)
        Reciprocal vectors (row, column) of the spots in 1/nm; rows run along y, columns along x of the detector.
    intensity : ndarray of float64, shape (m,)
        Relative intensities.
    rotations : ndarray of float64, shape (n, 4)
        Orientation of each template, a unit quaternion (w, x, y, z) that takes vectors from the axes x, y, z of the
        detector to those of the crystal, as in orix. z completes x and y to a right-handed system.
    phase : ndarray of int64, shape (n,), optional
        Number of the phase of each template; all 0 by default.
    names : tuple of str
        Names of the phases.
    symmetries : tuple of ndarray, shape (k, 4), optional
        Rotations (quaternions) that turn a crystal of each phase into itself; by default none does.
    crystals : tuple, optional
        The phases as `orix.crystal_map.Phase`, where they are known.
    provenance : Provenance, optional
    """

    offset: NDArray[np.int64]
    vectors: Floats
    intensity: Floats
    rotations: Floats
    phase: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ("crystal",)
    symmetries: tuple[Floats, ...] = ()
    crystals: tuple[Any, ...] = dataclasses.field(default=(), repr=False)
    provenance: Provenance | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        offset, rotations = np.ascontiguousarray(self.offset, np.int64), np.ascontiguousarray(self.rotations, float)
        vectors, intensity = np.ascontiguousarray(self.vectors, float), np.ascontiguousarray(self.intensity, float)
        n = len(rotations)
        if rotations.shape != (n, 4) or n < 1 or not np.allclose(np.linalg.norm(rotations, axis=1), 1, atol=1e-6):
            raise ParameterError(f"rotations have shape {rotations.shape}; expected one unit quaternion per template")
        if offset.shape != (n + 1,) or offset[0] != 0 or (np.diff(offset) < 0).any():
            raise ParameterError(f"offset must rise from 0 with {n + 1} entries for {n} templates")
        m = int(offset[-1])
        if vectors.shape != (m, 2) or intensity.shape != (m,):
            raise ParameterError(
                f"vectors have shape {vectors.shape} and intensity {intensity.shape}, but offset tells of {m} spots"
            )
        if not np.isfinite(vectors).all() or not np.isfinite(intensity).all() or (intensity < 0).any():
            raise ParameterError("vectors and intensities must be finite, and intensities not negative")
        if m and np.hypot(*vectors.T).min() == 0:
            raise ParameterError("a spot lies at 0: leave the direct beam out of the templates")
        phase = np.zeros(n, np.int64) if self.phase is None else np.ascontiguousarray(self.phase, np.int64)
        if phase.shape != (n,) or phase.min() < 0 or phase.max() >= len(self.names):
            raise ParameterError(f"phase must hold one of the numbers 0 to {len(self.names) - 1} for each template")
        symmetries = tuple(np.ascontiguousarray(s, float) for s in self.symmetries) or (IDENTITY,) * len(self.names)
        if len(symmetries) != len(self.names) or any(s.ndim != 2 or s.shape[1] != 4 for s in symmetries):
            raise ParameterError("symmetries must hold quaternions, shape (k, 4), for each of the names")
        for name, value in (
            ("offset", offset), ("vectors", vectors), ("intensity", intensity), ("rotations", rotations),
            ("phase", phase), ("symmetries", symmetries),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Return the number of templates."""
        return len(self.rotations)

    def digest(self) -> str:
        """Return a digest of all templates, symmetries and names."""
        names = np.array(self.names, np.str_)
        return digest(self.offset, self.vectors, self.intensity, self.rotations, self.phase, names, *self.symmetries)


def template_library(
    phases: Any,
    beam_energy_kev: float,
    *,
    resolution_deg: float = 1.0,
    reach_per_nm: float = 15.0,
    excitation_per_nm: float = 0.3,
    thickness_nm: float = 10.0,
    precession_deg: float = 0.0,
    faintest: float = 1e-3,
) -> TemplateLibrary:
    """Simulate kinematic patterns of crystals in all orientations that differ, by diffsims.

    Parameters
    ----------
    phases : orix.crystal_map.Phase or sequence of them
        With structure and point group, e.g. of ``Phase.from_cif``. Where the space group is known, the atoms of the
        asymmetric unit will do.
    beam_energy_kev : float
        Beam energy in keV.
    resolution_deg : float
        Angle between neighbouring zone axes in degrees. The turn about the beam is left to the matching.
    reach_per_nm : float
        Length of the longest reciprocal vector in 1/nm: what the detector holds all round.
    excitation_per_nm : float
        Largest excitation error of a spot in 1/nm.
    thickness_nm : float
        Thickness of the crystal in nm; the intensity falls to one half at an excitation error of about one over it.
    precession_deg : float
        Angle of precession in degrees.
    faintest : float
        Intensity, relative to the strongest spot of a template, below which spots are left out.

    Returns
    -------
    TemplateLibrary

    Raises
    ------
    DependencyError
        Without diffsims and orix, the extra ``diffraction``.
    ParameterError
        If a phase has no point group or structure, or no orientation shows two spots.

    References
    ----------
    N. Cautaerts et al., Ultramicroscopy 237 (2022) 113517 (sampling and matching of templates).

    Examples
    --------
    >>> from diffpy.structure import Atom, Lattice, Structure
    >>> from orix.crystal_map import Phase
    >>> cell = Structure([Atom("Au", [0, 0, 0])], Lattice(4.08, 4.08, 4.08, 90, 90, 90))  # in Å, as orix has it
    >>> library = template_library(Phase("gold", space_group=225, structure=cell), 200, resolution_deg=10)
    >>> library.names, len(library.symmetries[0])
    (('gold',), 24)
    """
    try:
        from diffsims.generators.simulation_generator import SimulationGenerator
        from orix.crystal_map import Phase
        from orix.sampling import get_sample_reduced_fundamental
    except ImportError as error:
        raise DependencyError("diffsims" if "diffsims" in str(error) else "orix", "diffraction") from None
    energy = checks.positive("beam_energy_kev", beam_energy_kev, "keV")
    step = checks.positive("resolution_deg", resolution_deg, "degrees")
    reach = checks.positive("reach_per_nm", reach_per_nm, "1/nm")
    excitation = checks.positive("excitation_per_nm", excitation_per_nm, "1/nm")
    thickness = checks.positive("thickness_nm", thickness_nm, "nm")
    precession = checks.not_negative("precession_deg", precession_deg, "degrees")
    least = checks.not_negative("faintest", faintest)
    given: Sequence[Any] = [phases] if isinstance(phases, Phase) else list(phases)
    if not given:
        raise ParameterError("phases is empty; give one phase at least")
    generator = SimulationGenerator(energy, precession_angle=precession, minimum_intensity=0.0)
    vectors, intensity, counts, rotations, phase = [], [], [], [], []
    for number, crystal in enumerate(given):
        if crystal.point_group is None or not len(crystal.structure):
            raise ParameterError(f"phase {crystal.name!r} has no point group or no atoms; read it from a CIF file")
        shortest = 10 * min(crystal.structure.lattice.reciprocal().abcABG()[:3])
        if reach <= shortest:
            raise ParameterError(
                f"reach_per_nm is {reach:g}, but the lattice of {crystal.name} begins at {shortest:.1f} 1/nm"
            )
        whole = crystal if crystal.space_group is None else crystal.expand_asymmetric_unit()
        grid = get_sample_reduced_fundamental(step, point_group=crystal.point_group)
        simulated = generator.calculate_diffraction2d(
            whole,
            grid,
            reciprocal_radius=0.1 * reach,
            with_direct_beam=True,  # a pattern without any spot makes diffsims fail
            max_excitation_error=0.1 * excitation,
            shape_factor_width=0.1 / thickness,
        )
        spots = [simulated.coordinates] if grid.size == 1 else simulated.coordinates
        for quaternion, each in zip(grid.data.reshape(-1, 4), spots, strict=True):
            place, bright = 10 * each.data[:, 1::-1], each.intensity  # (x, y) in 1/Å
            spot = (np.hypot(*place.T) > 0.5 * shortest) & (bright > 1e-9 * bright.max())  # allowed reflections
            spot &= bright > least * bright[spot].max(initial=0.0)
            if spot.sum() < 2:  # says nothing
                continue
            counts.append(int(spot.sum()))
            vectors.append(place[spot])
            intensity.append(bright[spot])
            rotations.append(quaternion)
            phase.append(number)
    if not counts:
        raise ParameterError("no orientation shows two spots; give a larger reach or excitation error")
    made = record(
        "diffraction.template_library",
        {
            "phases": [_described(crystal) for crystal in given], "beam_energy_kev": energy, "resolution_deg": step,
            "reach_per_nm": reach, "excitation_per_nm": excitation, "thickness_nm": thickness,
            "precession_deg": precession, "faintest": least,
            "libraries": {name: metadata.version(name) for name in ("diffsims", "orix")},
        },
    )  # fmt: skip
    return TemplateLibrary(
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate(vectors),
        np.concatenate(intensity),
        np.array(rotations),
        np.array(phase),
        tuple(crystal.name for crystal in given),
        tuple(crystal.point_group.laue_proper_subgroup.data.reshape(-1, 4) for crystal in given),
        tuple(given),
        made,
    )


def _described(crystal: Any) -> dict[str, Any]:
    """Return what a phase is: name, point group, cell in Å and degrees, atoms with place, occupancy and vibration."""
    atoms = [
        [atom.element, *np.asarray(atom.xyz, float).round(6).tolist(), float(atom.occupancy), float(atom.Uisoequiv)]
        for atom in crystal.structure
    ]
    return {
        "name": crystal.name,
        "point_group": crystal.point_group.name,
        "cell": [float(v) for v in crystal.structure.lattice.abcABG()],
        "atoms": atoms,
    }
