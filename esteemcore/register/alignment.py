"""Where every sample of a series really was taken."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import Provenance, record

MODELS = ("scanline", "rigid")


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """A series registered on one common grid; all arrays are read-only.

    Sample (k, i, j) really was taken at (i + dy, j + dx) of the common grid, which has the size of a frame. The grid
    lies so that the mean displacement of the accepted frames is zero.

    Attributes
    ----------
    shifts : ndarray of float64, shape (n, 2)
        Mean displacement (dy, dx) of each frame in px. NaN never occurs: frames that could not be placed carry the best
        guess, and are not accepted.
    field : ndarray of float32, shape (n, y, 2) or (n, y, x, 2)
        **Total** displacement (dy, dx) in px, `shifts` included: one per line of each frame, or one per sample.
    common_region : ndarray of bool, shape (y, x)
        Part of the common grid that every accepted frame covers.
    quality : ndarray of float64, shape (n,)
        0 to 1: correlation of the frame, corrected, with the mean of the others, both smoothed; see `align`.
    accepted : ndarray of bool, shape (n,)
        Frames whose place is sure; only these belong into a sum.
    reasons : tuple of str
        Why a frame is not accepted, in words; empty for accepted frames.
    model : {"scanline", "rigid"}
        What was fitted.
    shape : (int, int)
        Rows and columns of a frame, and of the common grid.
    mean : ndarray of float32, shape (y, x)
        Mean of the accepted frames on the common grid; NaN where there is none.
    provenance : Provenance
        How the alignment was made.

    Raises
    ------
    ParameterError
        If the arrays do not belong together.
    """

    shifts: NDArray[np.float64]
    field: NDArray[np.float32]
    common_region: NDArray[np.bool_]
    quality: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    reasons: tuple[str, ...]
    model: str
    shape: tuple[int, int]
    mean: NDArray[np.float32]
    provenance: Provenance = dataclasses.field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        ny, nx = checks.shape_2d("shape", self.shape)
        shifts = np.array(self.shifts, np.float64)
        if shifts.ndim != 2 or shifts.shape[1] != 2:
            raise ParameterError(f"shifts have shape {shifts.shape}; expected one (dy, dx) per frame, (n, 2)")
        n = len(shifts)
        field = np.array(self.field, np.float32)
        if field.shape not in ((n, ny, 2), (n, ny, nx, 2)):
            raise ParameterError(f"field has shape {field.shape}; expected {(n, ny, 2)} or {(n, ny, nx, 2)}")
        if not (np.isfinite(shifts).all() and np.isfinite(field).all()):
            raise ParameterError("shifts and field must be finite; frames that could not be placed are not accepted")
        arrays: dict[str, NDArray[Any]] = {
            "shifts": shifts,
            "field": field,
            "common_region": checks.boolean_mask("common_region", self.common_region, (ny, nx)).copy(),
            "quality": np.array(self.quality, np.float64),
            "accepted": checks.boolean_mask("accepted", self.accepted, (n,)).copy(),
            "mean": np.array(self.mean, np.float32),
        }
        for name, shape in (("quality", (n,)), ("mean", (ny, nx))):
            if arrays[name].shape != shape:
                raise ParameterError(f"{name} has shape {arrays[name].shape}; expected {shape}")
        reasons = tuple(str(reason) for reason in self.reasons)
        if len(reasons) != n:
            raise ParameterError(f"there are {len(reasons)} reasons for {n} frames; give an empty text if accepted")
        checks.choice("model", self.model, MODELS)
        for name, array in arrays.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "shape", (ny, nx))
        object.__setattr__(self, "reasons", reasons)
        if self.provenance is None:
            object.__setattr__(self, "provenance", record("register.Alignment", {"model": self.model}))

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.shifts)

    def displacement(self, frame: int) -> NDArray[np.float32]:
        """Return the total displacement of every sample of a frame, shape (y, x, 2), in px; read-only."""
        field: NDArray[np.float32] = self.field[checks.integer("frame", frame, minimum=0, maximum=len(self) - 1)]
        if field.ndim == 2:
            field = np.broadcast_to(field[:, None], (*self.shape, 2))
        return field
