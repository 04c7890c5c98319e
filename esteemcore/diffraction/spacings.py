"""Distances of the lattice planes of a crystal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import DependencyError, ParameterError

Floats = NDArray[np.float64]

REACH = 4.0
"""How far the rings of a crystal are taken into account, in units of the first one."""
FAINTEST = 1e-4
"""Square of the structure factor, relative to the largest, below which a reflection is forbidden."""
SAME = 1e-4
"""Relative difference of spacings that are one."""


def checked_spacings(spacings: Any) -> Floats:
    """Return the spacings of the planes in nm, the largest first; those of a phase are calculated."""
    if hasattr(spacings, "structure"):
        return _of_crystal(spacings)
    given: ArrayLike = spacings
    values = checks.array("spacings", given)
    numbers = values.dtype.kind in "iuf" and values.size and np.isfinite(values).all()
    if values.ndim != 1 or not numbers or values.min() <= 0:
        raise ParameterError(
            "spacings must be a row of positive distances of lattice planes in nm, e.g. [0.2355, 0.2039] for gold, or "
            "an orix Phase with its atoms"
        )
    if values.max() > 10:
        raise ParameterError(
            f"a spacing of {values.max():g} nm is no lattice plane; spacings are in nm, not pm or 1/nm"
        )
    return _distinct(np.asarray(values, np.float64))


def _distinct(values: Floats) -> Floats:
    order = -np.sort(-values)
    return np.asarray(order[np.append(True, order[1:] < order[:-1] * (1 - SAME))])


def _of_crystal(phase: Any) -> Floats:
    """Return the spacings of the reflections of a crystal that its atoms do not forbid."""
    try:
        from diffsims.crystallography import ReciprocalLatticeVector
    except ImportError:
        raise DependencyError("diffsims", "diffraction") from None
    if phase.point_group is None or not len(phase.structure):
        raise ParameterError(f"phase {phase.name!r} has no point group or no atoms; read it from a CIF file")
    whole = phase if phase.space_group is None else phase.expand_asymmetric_unit()
    shortest = min(whole.structure.lattice.reciprocal().abcABG()[:3])  # of the cell, in 1/Å
    for reach in (1.0, 2.0, 3.0):  # where the first reflections of the cell are forbidden
        vectors = ReciprocalLatticeVector.from_min_dspacing(whole, min_dspacing=1 / (REACH * reach * shortest))
        vectors.sanitise_phase()
        vectors.calculate_structure_factor()
        strength = np.abs(vectors.structure_factor) ** 2
        length = vectors.gspacing[strength > FAINTEST * strength.max()] * 10
        if len(length) and length.max() > 0.9 * REACH * length.min():
            break
    return _distinct(1 / length[length < REACH * length.min() * (1 + SAME)])
