"""Beam damage: mass loss and mixing above a critical dose, worse where many electrons come within a short time."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.simulate import _damage_kernels
from esteemcore.simulate.composition import BLUR_NM, Composition, Content
from esteemcore.simulate.phases import ELEMENTS
from esteemcore.simulate.sampler import scan_to_specimen
from esteemcore.simulate.spectra_eels import per_place

_TILE = 32
_FIRST_TILES = 16
# Gauss-Hermite nodes and weights of a normal distribution, exact up to the fifth power
_NODES = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))


@dataclasses.dataclass(frozen=True)
class Damage:
    r"""How a specimen suffers.

    A place that has had the dose D and was visited lately by u (electrons per area that have come within the recovery
    time, older ones fading exponentially) comes to harm as

    .. math:: dH = \left( 1 + \frac{u}{u_e} \right) dD, \quad \frac{du}{dt} = \frac{dD}{dt} - \frac{u}{\tau}

    so that few electrons at a time harm by their number only, H = D, and the same dose in one long dwell harms more.
    Beyond the critical dose the extent of the damage is

    .. math:: x = 1 - \exp \left( -\frac{H - H_c}{H_s} \right)

    Of each element the part x times its volatile fraction is gone, and the rest is mixed by x with its surroundings.
    It is a model with the features of radiolysis and of displacement, not that of a certain material.

    Parameters
    ----------
    critical_dose : float
        :math:`H_c` in e/Å²; less leaves no trace.
    scale_dose : float
        :math:`H_s` in e/Å².
    volatile : mapping of str to float
        Part of each element that can be lost, 0 to 1; 0 for those not named.
    mixing_nm : float
        Standard deviation in nm of the surroundings with which a place mixes; 0 for none.
    recovery_s : float
        :math:`\tau` in s.
    excited_dose : float
        :math:`u_e` in e/Å²: the recent dose that doubles the harm of each electron. Infinite: the dose rate does not
        matter.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> damage = simulate.Damage(critical_dose=1e6, scale_dose=1e7)
    >>> damage.extent([0.0, 1e6, 1.1e7]).round(2)
    array([0.  , 0.  , 0.63])
    """

    critical_dose: float = 1e6
    scale_dose: float = 1e7
    volatile: Mapping[str, float] = dataclasses.field(default_factory=lambda: {"O": 0.5, "C": 0.3})
    mixing_nm: float = 0.3
    recovery_s: float = 1e-3
    excited_dose: float = 1e5

    def __post_init__(self) -> None:
        checks.not_negative("critical_dose", self.critical_dose, "e/Å²")
        checks.positive("scale_dose", self.scale_dose, "e/Å²")
        checks.not_negative("mixing_nm", self.mixing_nm, "nm")
        checks.positive("recovery_s", self.recovery_s, "s")
        if self.excited_dose != math.inf:
            checks.positive("excited_dose", self.excited_dose, "e/Å²")
        for element, part in self.volatile.items():
            checks.choice("volatile element", element, tuple(ELEMENTS))
            if not 0 <= checks.finite(f"volatile part of {element}", part) <= 1:
                raise ParameterError(f"the volatile part of {element} is {part:g}; expected 0 to 1")
        object.__setattr__(self, "volatile", MappingProxyType(dict(self.volatile)))

    def extent(self, harm: ArrayLike) -> NDArray[np.float64]:
        """Return how far the damage of places has gone, 0 to 1, for their harm in e/Å²."""
        above = np.maximum(np.asarray(harm, np.float64) - self.critical_dose, 0)
        found: NDArray[np.float64] = -np.expm1(-above / self.scale_dose)
        return found

    def content(
        self, specimen: Composition, places_nm: ArrayLike, extent: ArrayLike, blur_nm: float = BLUR_NM
    ) -> Content:
        """Return what lies under places that are damaged.

        Parameters
        ----------
        specimen : Composition
        places_nm : array_like, shape (n, 2)
            Places (row, column) on the specimen in nm.
        extent : float or array_like, shape (n,)
            How far the damage has gone, see `extent`. Where it is 0, the content is that of ``specimen.at``.
        blur_nm : float
            See `Composition.at`.
        """
        places = scan_to_specimen(places_nm)
        own = specimen.at(places, blur_nm)
        extents = per_place("extent", extent, len(places))
        hit = np.flatnonzero(extents > 0)
        if not len(hit):
            return own
        x = extents[hit, None]
        thickness, atoms = own.thickness_nm[hit], own.atoms[hit]
        if self.mixing_nm:
            around = [np.zeros_like(thickness), np.zeros_like(atoms)]
            for dy, weight_y in _NODES:
                for dx, weight_x in _NODES:
                    beside = specimen.at(places[hit] + np.array([dy, dx]) * self.mixing_nm, blur_nm)
                    around[0] += weight_y * weight_x * beside.thickness_nm
                    around[1] += weight_y * weight_x * beside.atoms
            thickness, atoms = (1 - x) * thickness + x * around[0], (1 - x) * atoms + x * around[1]
        left = 1 - x * np.array([self.volatile.get(element, 0.0) for _, element in own.components])
        weights = np.array([ELEMENTS[element][1] for _, element in own.components])
        masses = atoms * weights
        thinner = np.ones_like(thickness)
        for index, phase in enumerate(own.phases):
            of_phase = [column for column, (name, _) in enumerate(own.components) if name == phase.name]
            before = masses[:, of_phase].sum(axis=1)
            after = (masses * left)[:, of_phase].sum(axis=1)
            np.divide(after, before, out=thinner[:, index], where=before > 0)
        new_thickness, new_atoms = own.thickness_nm.copy(), own.atoms.copy()
        new_thickness[hit], new_atoms[hit] = thickness * thinner, atoms * left
        return dataclasses.replace(own, thickness_nm=new_thickness, atoms=new_atoms)


class DamageMap:
    """What each place of a specimen has suffered so far.

    The map has square cells, in tiles that are made where the beam goes. A visit is spread over the four nearest cells,
    and what it meets is read in the same way: the size of a cell is how far the harm of an electron reaches.

    Parameters
    ----------
    damage : Damage
    cell_nm : float
        Side of a cell in nm.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> suffered = simulate.DamageMap(simulate.Damage(excited_dose=1e9), cell_nm=0.5)
    >>> _ = suffered.expose([[0.0, 0.0]], electrons=1000.0, dwell_s=1e-3)
    >>> float(suffered.harm([[0.0, 0.0]])[0].round(3))
    40.0
    """

    def __init__(self, damage: Damage, cell_nm: float = 0.5) -> None:
        self.damage = damage
        self.cell_nm = checks.positive("cell_nm", cell_nm, "nm")
        self._slots: dict[tuple[int, int], int] = {}
        self._harm, self._recent, self._last_s = (np.zeros(_FIRST_TILES * _TILE**2) for _ in range(3))
        self._lock = threading.Lock()

    def expose(
        self, places_nm: ArrayLike, electrons: ArrayLike, dwell_s: float, start_s: ArrayLike = 0.0
    ) -> NDArray[np.float64]:
        """Expose places one after the other, and return the harm that each visit meets.

        Parameters
        ----------
        places_nm : array_like, shape (n, 2)
            Places (row, column) on the specimen in nm, in the order of the visits.
        electrons : float or array_like, shape (n,)
            Electrons per visit.
        dwell_s : float
            Time of a visit in s.
        start_s : float or array_like, shape (n,)
            When each visit begins, in s, in rising order.

        Returns
        -------
        ndarray of float64, shape (n,)
            Harm in e/Å² in the middle of each visit. It does not depend on how the calls are cut.
        """
        places = scan_to_specimen(places_nm)
        n = len(places)
        dose = per_place("electrons", electrons, n)
        if n and dose.min() < 0:
            raise ParameterError(f"electrons are {dose.min():g}; expected zero or more")
        starts = per_place("start_s", start_s, n)
        dwell = checks.positive("dwell_s", dwell_s, "s")
        seen = np.empty(n)
        with self._lock:
            cells, weights = self._cells(places, make=True)
            _damage_kernels.expose(
                cells, weights, dose / (self.cell_nm * 10) ** 2, dwell, np.ascontiguousarray(starts),
                self.damage.recovery_s, self.damage.excited_dose, self._harm, self._recent, self._last_s, seen,
            )  # fmt: skip
        return seen

    def harm(self, places_nm: ArrayLike) -> NDArray[np.float64]:
        """Return the harm in e/Å² at places (n, 2) in nm, and expose nothing."""
        with self._lock:
            cells, weights = self._cells(scan_to_specimen(places_nm), make=False)
            found: NDArray[np.float64] = (np.where(cells >= 0, self._harm[cells], 0.0) * weights).sum(axis=1)
        return found

    def _cells(self, places: NDArray[np.float64], *, make: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return index (-1 where there is no tile) and weight of the four cells around each place, (n, 4)."""
        at = places / self.cell_nm
        first = np.floor(at).astype(np.int64)
        part = at - first
        corner = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        cell = first[:, None] + corner
        weights = np.where(corner[:, 0], part[:, :1], 1 - part[:, :1]) * np.where(
            corner[:, 1], part[:, 1:], 1 - part[:, 1:]
        )
        tiles, inside = np.divmod(cell.reshape(-1, 2), _TILE)
        distinct, which = np.unique(tiles, axis=0, return_inverse=True)
        slots = np.array([self._slot(int(y), int(x), make) for y, x in distinct], np.int64)[which.reshape(-1)]
        index = np.where(slots >= 0, (slots * _TILE + inside[:, 0]) * _TILE + inside[:, 1], -1)
        return index.reshape(-1, 4), weights

    def _slot(self, row: int, column: int, make: bool) -> int:
        slot = self._slots.get((row, column), -1)
        if slot < 0 and make:
            slot = self._slots[row, column] = len(self._slots)
            if (slot + 1) * _TILE**2 > len(self._harm):
                self._harm, self._recent, self._last_s = (
                    np.concatenate([state, np.zeros_like(state)]) for state in (self._harm, self._recent, self._last_s)
                )
        return slot
