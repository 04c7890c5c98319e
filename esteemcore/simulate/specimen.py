"""Simulated specimens: the projected potential of one cell, slice after slice, and what it is made of."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks, provenance
from esteemcore._core.errors import ParameterError

SPECIMENS = ("zeolite", "graphene", "srtio3", "vacuum")
"""Names that `specimen` knows."""

MAX_SLICES = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Specimen:
    """A crystal, periodic along rows and columns, as a stack of thin slices.

    Attributes
    ----------
    name, description, source : str
        What it is and where the structure comes from.
    slices : ndarray of float32, shape (n, y, x)
        Projected potential of each slice in V nm, first slice first, on an even grid over one cell.
    cell_nm : tuple of float
        Size of the cell along rows and columns in nm.
    slice_thickness_nm : float
        Distance from one slice to the next in nm.
    figures : mapping
        Composition, thermal motion and the like, as stored with the potential.
    """

    name: str
    description: str
    slices: NDArray[np.float32] = dataclasses.field(repr=False)
    cell_nm: tuple[float, float]
    slice_thickness_nm: float
    source: str = ""
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        slices = np.ascontiguousarray(self.slices, np.float32)
        if slices.ndim != 3 or min(slices.shape) < 1:
            raise ParameterError(f"slices have shape {slices.shape}; expected (slice, row, column)")
        if not np.isfinite(slices).all():
            raise ParameterError("slices hold values that are not finite; expected projected potentials in V nm")
        rows, columns = (checks.positive("cell_nm", length, "nm") for length in self.cell_nm)
        slices.flags.writeable = False
        object.__setattr__(self, "slices", slices)
        object.__setattr__(self, "cell_nm", (rows, columns))
        checks.positive("slice_thickness_nm", self.slice_thickness_nm, "nm")

    @property
    def thickness_nm(self) -> float:
        """Thickness of the whole stack in nm."""
        return len(self.slices) * self.slice_thickness_nm

    @functools.cached_property
    def projected(self) -> NDArray[np.float64]:
        """Potential of the whole stack, projected along the beam, in V nm, shape (y, x)."""
        total: NDArray[np.float64] = self.slices.sum(axis=0, dtype=np.float64)
        return total

    @functools.cached_property
    def digest(self) -> str:
        """Digest of everything that the electrons see."""
        return provenance.digest(self.slices, np.array([*self.cell_nm, self.slice_thickness_nm]))


@functools.lru_cache(maxsize=8)
def specimen(name: str, thickness_nm: float | None = None) -> Specimen:
    """Return a specimen by name.

    Parameters
    ----------
    name : {"zeolite", "graphene", "srtio3", "vacuum"}
        ZSM-5 along its straight channels [010], a graphene sheet with vacancies and Si and N substitutions, SrTiO3
        along [001], or nothing at all (a cell of 1 nm).
    thickness_nm : float, optional
        Thickness in nm, met to the nearest whole number of slices (zeolite 0.249 nm, srtio3 0.195 nm). Default: one
        cell of the zeolite (2 nm), 20 nm of SrTiO3. Graphene is one sheet.

    Returns
    -------
    Specimen

    Raises
    ------
    ParameterError
        If the name is unknown, or the thickness is not positive, too large, or given for a sheet.

    Notes
    -----
    The potentials are made by ``scripts/make_specimens.py`` from isolated atoms [2]_ with thermal motion of 0.008 nm;
    the zeolite's structure is that of [1]_.

    References
    ----------
    .. [1] H. van Koningsveld, H. van Bekkum, J. C. Jansen, Acta Cryst. B 43 (1987) 127.
    .. [2] I. Lobato, D. Van Dyck, Acta Cryst. A 70 (2014) 636.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> round(simulate.specimen("srtio3", thickness_nm=5).thickness_nm, 2)
    5.08
    """
    checks.choice("specimen name", name, SPECIMENS)
    if thickness_nm is not None:
        thickness_nm = checks.positive("thickness_nm", thickness_nm, "nm")
    if name == "vacuum":
        return Specimen(name, "nothing", np.zeros((1, 32, 32), np.float32), (1.0, 1.0), thickness_nm or 1.0)
    cell, thickness, figures = _load(name)
    n = int(figures["default_slices"])
    if thickness_nm is not None:
        if name == "graphene":
            raise ParameterError("graphene is a single sheet; leave thickness_nm out")
        n = max(round(thickness_nm / thickness), 1)
        if n > MAX_SLICES:
            raise ParameterError(f"thickness_nm is {thickness_nm:g} nm; expected at most {MAX_SLICES * thickness:g} nm")
    depth = np.arange(n) % len(cell)
    size = (float(figures["cell_nm"][0]), float(figures["cell_nm"][1]))
    return Specimen(name, figures["description"], cell[depth], size, thickness, figures["source"], figures)


@functools.lru_cache(maxsize=4)
def _load(name: str) -> tuple[NDArray[np.float32], float, dict[str, Any]]:
    """Return the slices of one cell in V nm, their thickness in nm and the figures stored with them."""
    file = importlib.resources.files("esteemcore.simulate").joinpath("data", f"{name}.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        figures = json.loads(str(stored["figures"]))
        slices = stored["slices"] * np.float32(figures["step_v_nm"]) + np.float32(figures["offset_v_nm"])
    return slices.astype(np.float32), figures["cell_nm"][2] / len(slices), figures
