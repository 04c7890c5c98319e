"""Where the phases of the specimens of known composition lie."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from esteemcore.simulate.phases import Phase

CELL_NM = 0.3905
"""Cell of SrTiO3; that of LaMnO3 is taken for the same, as in a strained film."""

Found = tuple[NDArray[np.float64], NDArray[np.float64]]


def components(phases: tuple[Phase, ...]) -> tuple[tuple[str, str], ...]:
    """Return (phase, element) in the order of the phases and of their formulas."""
    return tuple((phase.name, element) for phase in phases for element in phase.elements)


def _even(phases: tuple[Phase, ...], thickness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the atoms per nm² of phases without structure."""
    density = np.zeros((len(phases), len(components(phases))))
    column = 0
    for row, phase in enumerate(phases):
        values = list(phase.atoms_per_nm3.values())
        density[row, column : column + len(values)] = values
        column += len(values)
    atoms: NDArray[np.float64] = thickness @ density
    return atoms


@dataclasses.dataclass(frozen=True)
class Film:
    """The same everywhere."""

    phases: tuple[Phase, ...]
    thickness_nm: float

    def __call__(self, places: NDArray[np.float64], blur_nm: float) -> Found:
        """Return thickness and atoms at places."""
        thickness = np.full((len(places), 1), self.thickness_nm)
        return thickness, _even(self.phases, thickness)


@dataclasses.dataclass(frozen=True)
class OxideInterface:
    """Two perovskites ABO3 along [001], the second at positive rows; A at the corners of cells, BO in their middle.

    A row of columns at height y has the second perovskite's atoms by the fraction (1 + erf(y / w)) / 2, with w the
    width of the intermixing. With twice the same phase it is a crystal without interface.
    """

    phases: tuple[Phase, ...]
    thickness_nm: float
    width_nm: float = CELL_NM / 2

    def __call__(self, places: NDArray[np.float64], blur_nm: float) -> Found:
        """Return thickness and atoms at places."""
        of_cells = self.thickness_nm / CELL_NM
        first, second = (self._columns(places, blur_nm, which) for which in (False, True))
        share = self._share(places[:, 0], math.hypot(self.width_nm, math.sqrt(2) * blur_nm))
        if self.phases[0] is self.phases[1]:
            first += second
            return np.full((len(places), 1), self.thickness_nm), first * of_cells
        thickness = np.stack([1 - share, share], axis=1) * self.thickness_nm
        return thickness, np.concatenate([first, second], axis=1) * of_cells

    def _share(self, rows_nm: NDArray[np.float64], width_nm: float) -> NDArray[np.float64]:
        # the zero lies between two rows of columns
        share: NDArray[np.float64] = 0.5 * (1 + special.erf((rows_nm - CELL_NM / 4) / width_nm))
        return share

    def _columns(self, places: NDArray[np.float64], blur_nm: float, is_second: bool) -> NDArray[np.float64]:
        """Return the atoms A, B and O of one phase per nm² and cell of depth."""
        reach = math.ceil(6 * blur_nm / CELL_NM) + 1

        def lines(axis: int, start: float, is_weighted: bool) -> NDArray[np.float64]:
            nearest = np.round(places[:, axis] / CELL_NM - start)
            total = np.zeros(len(places))
            for step in range(-reach, reach + 1):
                at = (nearest + step + start) * CELL_NM
                height = np.exp(-((places[:, axis] - at) ** 2) / (2 * blur_nm**2))
                if is_weighted:
                    share = self._share(at, self.width_nm)
                    height *= share if is_second else 1 - share
                total += height
            return total / (math.sqrt(2 * math.pi) * blur_nm)

        rows = {start: lines(0, start, True) for start in (0.0, 0.5)}
        columns = {start: lines(1, start, False) for start in (0.0, 0.5)}
        corner, middle = rows[0.0] * columns[0.0], rows[0.5] * columns[0.5]
        edges = rows[0.0] * columns[0.5] + rows[0.5] * columns[0.0]
        return np.stack([corner, middle, middle + edges], axis=1)


@dataclasses.dataclass(frozen=True)
class CoreShell:
    """Spheres with shells on a film, one in each square of a lattice; sizes and places differ by the seed."""

    phases: tuple[Phase, ...]
    film_nm: float
    seed: int = 0
    core_nm: float = 11.0
    shell_nm: float = 17.0
    lattice_nm: float = 48.0

    def __call__(self, places: NDArray[np.float64], blur_nm: float) -> Found:
        """Return thickness and atoms at places; the particle at the origin is the one of nominal size."""
        square = np.floor(places / self.lattice_nm + 0.5).astype(np.int64)
        distinct, where = np.unique(square, axis=0, return_inverse=True)
        figures = np.array([self._particle(int(row), int(column)) for row, column in distinct]).reshape(-1, 3)
        size, centers = figures[:, 0], figures[:, 1:] + distinct * self.lattice_nm
        where = where.reshape(-1)
        off = ((places - centers[where]) ** 2).sum(axis=1)
        spheres = [
            2 * np.sqrt(np.maximum((radius * size[where]) ** 2 - off, 0)) for radius in (self.core_nm, self.shell_nm)
        ]
        thickness = np.stack([spheres[0], spheres[1] - spheres[0], np.full(len(places), self.film_nm)], axis=1)
        return thickness, _even(self.phases, thickness)

    def _particle(self, row: int, column: int) -> tuple[float, float, float]:
        """Return relative size and place of the particle of a square."""
        if row == column == 0:
            return 1.0, 0.0, 0.0
        words = np.array([row, column], np.int64).view(np.uint64) & np.uint64(0xFFFFFFFF)
        draw = np.random.default_rng((self.seed, int(words[0]), int(words[1]))).uniform(size=3)
        size = 0.75 + 0.25 * draw[0]
        free = self.lattice_nm / 2 - self.shell_nm * size
        return float(size), float((2 * draw[1] - 1) * free), float((2 * draw[2] - 1) * free)


@dataclasses.dataclass(frozen=True)
class Needle:
    """A round needle that grows wider along the rows, with a round tip, layers, and the third phase below them."""

    phases: tuple[Phase, ...]
    diameter_nm: float
    layer_nm: float = 12.0
    layers: int = 6
    roughness_nm: float = 0.6
    slope: float = 0.08

    def __call__(self, places: NDArray[np.float64], blur_nm: float) -> Found:
        """Return thickness and atoms at places; the layers are centred on row 0."""
        rows, across = places[:, 0], places[:, 1]
        top = -self.layers * self.layer_nm / 2
        # a sphere that the cone touches: its radius is that of the needle at the top of the layers
        sine = self.slope / math.hypot(1, self.slope)
        tip = self.diameter_nm / 2
        touches = top + tip * (1 - sine)
        middle = top + tip
        ball = np.sqrt(np.maximum(tip**2 - (rows - middle) ** 2, 0))
        cone = tip * math.sqrt(1 - sine**2) + self.slope * (rows - touches)
        radius = np.where(rows < touches, np.where(rows < top, 0.0, ball), np.maximum(cone, 0))
        length = 2 * np.sqrt(np.maximum(radius**2 - across**2, 0))
        width = math.sqrt(2) * math.hypot(self.roughness_nm, blur_nm)
        edges = top + self.layer_nm * np.arange(1, self.layers + 1)
        past = [np.ones_like(rows)] + [0.5 * (1 + special.erf((rows - edge) / width)) for edge in edges]
        shares = [past[layer] - past[layer + 1] for layer in range(self.layers)]
        share = np.stack([sum(shares[0::2]), sum(shares[1::2]), past[-1]], axis=1)
        thickness: NDArray[np.float64] = share * length[:, None]
        return thickness, _even(self.phases, thickness)
