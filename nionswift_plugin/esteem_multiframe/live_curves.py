"""Line plots of a running series: drift by frame, signal-to-noise ratio and components against dose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from numpy.typing import ArrayLike, NDArray

from esteemcore.multiframe import LiveState

XData = DataAndMetadata.DataAndMetadata
SAMPLES = 400
"""Points of a curve against dose; Nion's line plots have even steps, frames that were left out and looks have not."""


def by_frame(values: ArrayLike, unit: str, metadata: Mapping[str, Any]) -> XData:
    """Return a value of each frame."""
    return _curve(np.asarray(values, np.float64), Calibration.Calibration(0.0, 1.0, "frame"), unit, metadata)


def snr(state: LiveState, name: str, metadata: Mapping[str, Any]) -> XData:
    """Return the signal-to-noise ratio of a map against dose, from look to look along straight lines."""
    dose, found = state.snr[name].T
    return _against_dose(dose, found, "", metadata)


def components(state: LiveState, metadata: Mapping[str, Any]) -> XData:
    """Return the components above noise against dose, in steps; the least where they cannot be told."""
    counts = [count for count in state.components if count.dose > 0]
    dose = np.array([count.dose for count in counts])
    found = np.array([count.sure for count in counts], np.float64)
    return _against_dose(dose, found, "components", metadata, in_steps=True)


def _against_dose(
    dose: NDArray[np.float64],
    values: NDArray[np.float64],
    unit: str,
    metadata: Mapping[str, Any],
    in_steps: bool = False,
) -> XData:
    step = float(dose[-1]) / (SAMPLES - 1)
    at = np.arange(SAMPLES) * step
    if in_steps:
        last = np.searchsorted(dose, at * (1 + 1e-9), side="right")
        curve = np.concatenate([[0.0], values])[last]
    else:
        curve = np.interp(at, np.concatenate([[0.0], dose]), np.concatenate([[0.0], values]))
    return _curve(curve, Calibration.Calibration(0.0, step, "e/Å²"), unit, metadata)


def _curve(values: NDArray[np.float64], axis: Calibration.Calibration, unit: str, metadata: Mapping[str, Any]) -> XData:
    return DataAndMetadata.new_data_and_metadata(
        values,
        intensity_calibration=Calibration.Calibration(0.0, 1.0, unit),
        dimensional_calibrations=[axis],
        metadata=dict(metadata),
    )
