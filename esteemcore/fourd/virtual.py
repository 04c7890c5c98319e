"""Images from any masks on the detector."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.fourd.geometry import Geometry
from esteemcore.fourd.statistics import dense, mean_per_visit, sum_dtype
from esteemcore.stream import AdditiveReducer, Chunk, Spec, Sums


@dataclasses.dataclass(frozen=True)
class VirtualDetectorsResult:
    """Images of virtual detectors.

    Attributes
    ----------
    images : dict of str to ndarray of float32, shape (y, x)
        Mean counts per visit inside each mask; NaN where there is no frame.
    visits : ndarray of uint32, shape (y, x)
        Frames at each position.
    provenance : Provenance
    """

    images: dict[str, NDArray[np.float32]]
    visits: NDArray[np.uint32]
    provenance: Provenance


class VirtualDetectors(AdditiveReducer):
    """Sum the electrons inside masks, one image per mask; masks may overlap.

    Parameters
    ----------
    masks : mapping of str to array_like of bool, shape (ky, kx)
        Pixels that count, by the name of the image.
    """

    def __init__(self, masks: Mapping[str, ArrayLike]) -> None:
        if not isinstance(masks, Mapping) or not masks:
            raise ParameterError("no mask was given; give at least one, e.g. {'bf': mask}")
        shapes = {np.shape(mask) for mask in masks.values()}
        if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2:
            raise ParameterError(f"masks have shapes {sorted(shapes)}; expected one shape (ky, kx) for all")
        self.masks = {str(name): checks.boolean_mask(f"mask {name!r}", mask, shape) for name, mask in masks.items()}
        self._weight = np.stack([mask.ravel() for mask in self.masks.values()], axis=1).astype(np.int32)

    def zeros(self, spec: Spec) -> dict[str, NDArray[Any]]:
        """Return empty images."""
        shape = next(iter(self.masks.values())).shape
        if shape != spec.frame_shape:
            raise ParameterError(f"masks have shape {shape}, but the frames of this stream have {spec.frame_shape}")
        return {"sums": np.zeros((spec.positions, len(self.masks)), sum_dtype(spec))}

    def add(self, state: Sums, chunk: Chunk) -> None:
        """Add each electron to the masks that hold its pixel."""
        add_projection(state["sums"], self._weight, state.spec, chunk)

    def result(self, state: Sums) -> VirtualDetectorsResult:
        """Return the images of what has come so far."""
        means = mean_per_visit(state["sums"], state).astype(np.float32)
        return VirtualDetectorsResult(
            {name: np.ascontiguousarray(means[..., j]) for j, name in enumerate(self.masks)},
            state["visits"].reshape(state.spec.scan_shape).copy(),
            record("fourd.VirtualDetectors", {"masks": self.masks}, input_digest=digest(*state.arrays.values())),
        )


def add_projection(sums: NDArray[Any], weight: NDArray[np.int32], spec: Spec, chunk: Chunk) -> None:
    """Add ``frames @ weight`` of a chunk to ``sums[index]``; weight (pixels, m), sums (positions, m)."""
    from esteemcore.fourd import _kernels

    events = chunk.electrons(spec)
    if events is not None:
        _kernels.project_events(events.offset, events.pixel, events.count, chunk.index, weight, sums)
    else:
        _kernels.project_frames(dense(chunk, spec), chunk.index, weight, sums)


def annular_mask(
    geometry: Geometry, frame_shape: tuple[int, int], inner_mrad: float, outer_mrad: float
) -> NDArray[np.bool_]:
    """Return the pixels (ky, kx) between two angles, inner one included.

    Parameters
    ----------
    geometry : Geometry
        Pixel size and centre of the detector.
    frame_shape : tuple of int
        ``(ky, kx)``.
    inner_mrad, outer_mrad : float
        Angles from the optical axis in mrad; the outer one may be infinite.
    """
    inner = checks.not_negative("inner_mrad", inner_mrad, "mrad")
    if not outer_mrad > inner:
        raise ParameterError(f"outer_mrad is {outer_mrad}; expected more than inner_mrad, {inner:g}")
    angle = np.hypot(*geometry.detector_mrad(checks.shape_2d("frame_shape", frame_shape)))
    return (angle >= inner) & (angle < outer_mrad)
