"""What the disks of a position leave open, its neighbours settle: half turns about the beam above all."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import record
from esteemcore.diffraction._settle_kernels import support
from esteemcore.diffraction.orientation_result import Orientations


def settle_orientations(
    orientations: Orientations, *, reach: int = 2, unsure: float = 0.05, near_deg: float = 5.0
) -> Orientations:
    """Choose among orientations that explain a position nearly as well the one that explains its neighbours too.

    Parameters
    ----------
    orientations : Orientations
        Of `orientation`.
    reach : int
        Positions along rows and columns, on either side, that are asked.
    unsure : float
        Only orientations whose correlation falls short of the best by less than this part are chosen from: what the
        disks decide, neighbours do not change.
    near_deg : float
        Angle in degrees, symmetry included, within which orientations of neighbours are the same.

    Returns
    -------
    Orientations
        With the n best in another order where another one was chosen. There the confidence is one minus the support of
        the next over that of the chosen one, the correlations of like orientations round the position added up.

    Raises
    ------
    ParameterError
        If a parameter does not fit.

    Notes
    -----
    In a thin crystal the pattern hardly changes by half a turn about the beam; what little changes depends on the tilt
    and drowns in the noise of one position, but not in that of a grain. A grain that is one position wide keeps its
    orientation where its disks alone tell it by more than ``unsure``.

    Examples
    --------
    Of five patterns of one crystal the middle one looks as if it were turned by half a turn:

    >>> from esteemcore import diffraction
    >>> spots = np.array([[0, 2], [2, 0], [0, -2], [-2, 0.0]])  # (row, column) in 1/nm
    >>> library = diffraction.TemplateLibrary([0, 4], spots, [9, 4, 7, 4], [[1, 0, 0, 0]])
    >>> place = np.tile(32 + 10 * np.concatenate([[[0, 0]], spots]), (5, 1))
    >>> bright = np.tile([99, 9, 4, 7, 4.0], 5)
    >>> bright[10:15] = 99, 7, 4, 9, 4
    >>> one = np.ones(25)
    >>> table = diffraction.DiskTable(np.repeat(np.arange(5), 5), *place.T, bright, one, one)
    >>> found = diffraction.orientation(table, (1, 5), library, 0.1, mirrored=False)
    >>> settled = diffraction.settle_orientations(found)
    >>> for each in (found, settled):
    ...     print(np.degrees(2 * np.arcsin(np.abs(each.rotations[0, :, 0, 3]))).round())
    [  0.   0. 180.   0.   0.]
    [0. 0. 0. 0. 0.]
    """
    if not isinstance(orientations, Orientations):
        raise ParameterError(f"orientations is a {type(orientations).__name__}; expected those of orientation()")
    size = checks.integer("reach", reach, minimum=1, maximum=20)
    part = checks.not_negative("unsure", unsure)
    near = checks.positive("near_deg", near_deg, "degrees")
    if part >= 1 or near >= 60:
        raise ParameterError(f"unsure is {part:g} and near_deg {near:g}; expected less than 1 and 60")
    symmetries = orientations.library.symmetries
    at = np.concatenate([[0], np.cumsum([len(s) for s in symmetries])]).astype(np.int64)
    correlation = np.nan_to_num(orientations.correlation)
    together = np.empty(correlation.shape)
    support(
        orientations.rotations, correlation, orientations.phase, np.concatenate(symmetries), at,
        math.cos(math.radians(near) / 2), size, together,
    )  # fmt: skip
    possible = (correlation > 0) & (correlation >= (1 - part) * correlation[..., :1])
    chosen = np.where(possible, together, -1).argmax(axis=-1)
    rank = np.arange(correlation.shape[-1])
    order = np.argsort(np.where(rank == chosen[..., None], -1, rank), axis=-1, kind="stable")
    changed = chosen > 0
    ahead = np.take_along_axis(together, order, axis=-1)
    surer = np.clip(1 - ahead[..., 1:].max(axis=-1) / np.maximum(ahead[..., 0], 1e-12), 0, 1)
    notes = orientations.notes
    if changed.any():
        notes += (f"at {int(changed.sum())} positions the neighbours chose another orientation than the disks alone",)
    parts: dict[str, Any] = {
        name: np.take_along_axis(getattr(orientations, name), order, axis=-1)
        for name in ("correlation", "phase", "template", "mirrored", "matched")
    }
    return dataclasses.replace(
        orientations,
        **parts,
        rotations=np.take_along_axis(orientations.rotations, order[..., None], axis=2),
        confidence=np.where(changed, surer, orientations.confidence),
        notes=notes,
        provenance=record(
            "diffraction.settle_orientations",
            {"reach": size, "unsure": part, "near_deg": near, "orientations": orientations.provenance.as_dict()},
            input_digest=orientations.provenance.input_digest,
        ),
    )
