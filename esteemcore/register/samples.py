"""Images as they are registered: float32 in a usual range, with weights for what was measured."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.register.grid import Image

USUAL_COUNTS = 5.0
"""Frames are brought to about this mean before they are registered."""
LARGEST = 1e30
"""Larger values count as not measured, like infinite ones."""
LEAST_SAMPLES = 16
"""A frame with fewer measured samples is not used."""


def usual_range(frames: Any, masks: Any) -> tuple[float, float]:
    """Return the usual least value of a frame, and a scale that brings the mean to `USUAL_COUNTS`; 0, 1 without frames.

    ``masks`` is None or one mask per frame.
    """
    least, mean = [], []
    for k, frame in enumerate(frames):
        values = frame if masks is None else frame[masks[k]]
        if values.dtype.kind == "f":
            values = values[_sensible(values)]
        if values.size and (low := float(values.min())) < float(values.max()):
            least.append(low)
            mean.append(float(values.mean(dtype=np.float64)) - low)
    return (float(np.median(least)), float(np.median(mean)) / USUAL_COUNTS) if least else (0.0, 1.0)


@functools.lru_cache(maxsize=4)
def _everywhere(shape: tuple[int, ...]) -> Image:
    """Return weights of a frame that was measured everywhere; one array for all frames, never written to."""
    return np.ones(shape, np.float32)


def _sensible(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which floating-point values are neither NaN nor infinite nor beyond `LARGEST`."""
    result: NDArray[np.bool_] = np.abs(values) < min(LARGEST, float(np.finfo(values.dtype).max))
    return result


def sampled(
    frame: NDArray[Any], mask: NDArray[np.bool_] | None, offset: float, scale: float
) -> tuple[Image, Image, str]:
    """Return image and weights of a frame, and why it cannot be used, if so."""
    known = np.ones(1, np.bool_) if frame.dtype.kind != "f" else _sensible(frame)
    if mask is not None:
        known = known & mask
    everything = bool(known.all())
    weight = _everywhere(frame.shape) if everything else known.astype(np.float32)
    values = frame if everything else frame[weight > 0]
    reason = ""
    if values.size < LEAST_SAMPLES:
        reason = f"only {values.size} of its samples were measured" if values.size else "no sample was measured"
    elif values.max() == values.min():
        reason = f"it is constant ({float(values.flat[0]):g} everywhere)"
    if not everything:
        frame = np.where(known, frame, offset)
    return ((frame.astype(np.float64) - offset) / scale).astype(np.float32), weight, reason
