"""Visits of the beam: where, when, with how many electrons, and what the specimen has suffered there."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from esteemcore import simulate


@dataclasses.dataclass(frozen=True, eq=False)
class Visits:
    """Some visits in the order of time.

    Attributes
    ----------
    places_nm : ndarray of float64, shape (n, 2)
        Where the beam really is on the specimen, (row, column) in nm.
    electrons : float
        Electrons of each; 0 without beam.
    time_s : ndarray of float64, shape (n,)
        When each begins, in s of the monotonic clock.
    damage : Damage or None
        How the specimen suffers; None if nothing harms it.
    harm : ndarray of float64, shape (n,), or None
        What the places have suffered, in e/Å²; with ``damage``.
    """

    places_nm: NDArray[np.float64]
    electrons: float
    time_s: NDArray[np.float64]
    damage: simulate.Damage | None = None
    harm: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.places_nm)

    def changed(self, composition: simulate.Composition) -> simulate.Content | None:
        """Return what lies under the places if damage has changed any of it, else None."""
        if self.damage is None or self.harm is None:
            return None
        extent = self.damage.extent(self.harm)
        return self.damage.content(composition, self.places_nm, extent) if extent.any() else None

    def content(self, composition: simulate.Composition) -> simulate.Content:
        """Return what lies under the places now."""
        changed = self.changed(composition)
        return composition.at(self.places_nm) if changed is None else changed
