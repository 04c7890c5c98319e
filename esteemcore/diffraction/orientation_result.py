"""Orientations of a crystal at every position, and their way to orix."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import DependencyError, ParameterError
from esteemcore._core.provenance import Provenance
from esteemcore.diffraction.orientation_library import TemplateLibrary

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Orientations:
    """The best orientations of every position, the best first, each far from the better ones of its phase.

    Attributes
    ----------
    rotations : ndarray of float64, shape (y, x, n, 4)
        Unit quaternions (w, x, y, z) that take vectors from the axes of the scan (x along columns, y along rows, z
        completes them) to those of the crystal, as in orix; NaN where there is none.
    correlation : ndarray of float64, shape (y, x, n)
        0 (no disk lies on a spot) to 1 (all disks and spots lie on each other, with equal relative weights); NaN where
        there is none.
    confidence : ndarray of float64, shape (y, x)
        One minus the correlation of the second orientation over that of the first: 0 where two orientations explain
        the disks as well.
    phase : ndarray of int64, shape (y, x, n)
        Number of the phase, -1 where there is none.
    template : ndarray of int64, shape (y, x, n)
        Number in the library, -1 where there is none.
    mirrored : ndarray of bool, shape (y, x, n)
        Whether the template was mirrored.
    matched : ndarray of int64, shape (y, x, n)
        Disks that lie on a spot.
    disks : ndarray of int64, shape (y, x)
        Disks that took part, the direct beam left out.
    library : TemplateLibrary
    notes : tuple of str
        What is wrong, in words: first with the frames, as the table of disks tells it.
    provenance : Provenance
    """

    rotations: Floats
    correlation: Floats
    confidence: Floats
    phase: NDArray[np.int64]
    template: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    matched: NDArray[np.int64]
    disks: NDArray[np.int64]
    library: TemplateLibrary = dataclasses.field(repr=False)
    notes: tuple[str, ...]
    provenance: Provenance

    def to_orix(self, *, rank: int = 0, scan_step_nm: float = 1.0) -> Any:
        """Return the map as `orix.crystal_map.CrystalMap`, which plots, selects and saves it.

        Parameters
        ----------
        rank : int
            0 for the best orientation, 1 for the second, and so on.
        scan_step_nm : float
            Distance of the positions in nm.

        Returns
        -------
        orix.crystal_map.CrystalMap
            With the properties ``correlation``, ``confidence`` and ``disks``. Positions without an orientation are
            not indexed (phase -1).

        Raises
        ------
        DependencyError
            Without orix, the extra ``diffraction``.
        """
        try:
            from orix.crystal_map import CrystalMap, Phase, PhaseList
            from orix.quaternion import Rotation
        except ImportError:
            raise DependencyError("orix", "diffraction") from None
        number = checks.integer("rank", rank, minimum=0, maximum=self.rotations.shape[2] - 1)
        step = checks.positive("scan_step_nm", scan_step_nm, "nm")
        ny, nx = self.disks.shape
        phase = self.phase[:, :, number].ravel()
        if (phase < 0).all():
            raise ParameterError("no position has an orientation; the notes say why")
        quaternion = np.where((phase < 0)[:, None], [1.0, 0, 0, 0], self.rotations[:, :, number].reshape(-1, 4))
        crystals = self.library.crystals or tuple(Phase(name) for name in self.library.names)
        y, x = np.divmod(np.arange(ny * nx), nx)
        return CrystalMap(
            Rotation(quaternion),
            phase_id=phase,
            x=x * step,
            y=y * step,
            phase_list=PhaseList(list(crystals), ids=list(range(len(crystals)))),
            prop={
                "correlation": np.nan_to_num(self.correlation[:, :, number].ravel()),
                "confidence": np.nan_to_num(self.confidence.ravel()),
                "disks": self.disks.ravel(),
            },
            scan_unit="nm",
        )
