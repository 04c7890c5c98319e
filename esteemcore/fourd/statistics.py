"""Mean and variance of the frames, and the sum of each."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.stream import AdditiveReducer, Chunk, Spec, Sums


@dataclasses.dataclass(frozen=True)
class FrameStatisticsResult:
    """What the frames are like.

    Attributes
    ----------
    mean, variance : ndarray of float64, shape (ky, kx)
        Mean and (population) variance of every pixel over all frames; NaN before the first frame.
    sum : ndarray of float64, shape (y, x)
        Mean counts per frame at each position; NaN where there is none.
    visits : ndarray of uint32, shape (y, x)
        Frames at each position.
    provenance : Provenance
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    sum: NDArray[np.float64]
    visits: NDArray[np.uint32]
    provenance: Provenance


class FrameStatistics(AdditiveReducer):
    """Mean and variance of every detector pixel over the frames, and mean counts of every position.

    Sums of counts are integers for integer frames up to 32 bits, and so are those of their squares up to 16 bits: the
    order of such frames changes nothing.
    """

    def zeros(self, spec: Spec) -> dict[str, NDArray[Any]]:
        """Return empty sums over frames and over pixels."""
        dtype = sum_dtype(spec)
        return {
            "first": np.zeros(spec.pixels, dtype),
            "second": np.zeros(spec.pixels, dtype if spec.dtype.itemsize <= 2 else np.float64),
            "total": np.zeros(spec.positions, dtype),
        }

    def add(self, state: Sums, chunk: Chunk) -> None:
        """Add every pixel."""
        from esteemcore.fourd import _kernels

        sums = state["first"], state["second"], state["total"]
        events = chunk.electrons(state.spec)
        if events is not None and sums[0].dtype == np.int64:
            _kernels.moments_events(events.offset, events.pixel, events.count, chunk.index, *sums)
        else:
            _kernels.moments_frames(dense(chunk, state.spec), chunk.index, sums[1].dtype.type(1), *sums)

    def result(self, state: Sums) -> FrameStatisticsResult:
        """Return the statistics of what has come so far."""
        frames = int(state["visits"].sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = state["first"] / np.float64(frames)
            variance = np.maximum(state["second"] / np.float64(frames) - mean**2, 0.0)
        return FrameStatisticsResult(
            mean.reshape(state.spec.frame_shape),
            variance.reshape(state.spec.frame_shape),
            mean_per_visit(state["total"], state),
            state["visits"].reshape(state.spec.scan_shape).copy(),
            record("fourd.FrameStatistics", {}, input_digest=digest(*state.arrays.values())),
        )


def sum_dtype(spec: Spec) -> type[np.int64] | type[np.float64]:
    """Return the dtype in which frames add up without loss."""
    whole = spec.packed or (spec.dtype.kind in "bui" and spec.dtype.itemsize <= 4)
    return np.int64 if whole else np.float64


def dense(chunk: Chunk, spec: Spec) -> NDArray[Any]:
    """Return the frames of a chunk as (n, pixels), in a dtype that compiled loops take."""
    if chunk.frames is None:
        return chunk.events.to_frames(spec.frame_shape).reshape(len(chunk), spec.pixels)  # type: ignore[union-attr]
    frames = np.ascontiguousarray(chunk.frames).reshape(len(chunk), spec.pixels)
    if frames.dtype.kind == "f" and frames.dtype.itemsize not in (4, 8):
        return frames.astype(np.float64)
    return frames.view(np.uint8) if frames.dtype == np.bool_ else frames


def mean_per_visit(total: NDArray[Any], state: Sums) -> NDArray[np.float64]:
    """Return sums per position (positions, ...) as means per visit (y, x, ...), NaN where there is no frame."""
    visits = state["visits"].astype(np.float64).reshape(-1, *[1] * (total.ndim - 1))
    mean = np.full(total.shape, np.nan)
    np.divide(total, visits, out=mean, where=visits > 0)
    return mean.reshape(*state.spec.scan_shape, *total.shape[1:])
